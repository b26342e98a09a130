"""Damage to the indices and aliases of a healthy installation."""

from oncelog.errors import UnusableReason
from oncelog.verification.findings import Code
from tests.verification.damage import Damage, healthy, make_stale
from tests.write.world import World

__all__ = ["PLANTED", "healthy"]

PRODUCTS = "shop.product"


def make_unusable(world: World, reason: UnusableReason) -> None:
    world.documents.unusable[PRODUCTS] = reason


def block_and_fall_behind(world: World) -> None:
    make_stale(world)
    make_unusable(world, UnusableReason.WRITE_BLOCKED)


PLANTED = [
    Damage("an index is closed", lambda w: make_unusable(w, UnusableReason.CLOSED), Code.INDEX_CLOSED),
    Damage("an index takes no writes", block_and_fall_behind, Code.INDEX_BLOCKED),
    Damage(
        "an index has a shard on no node",
        lambda w: make_unusable(w, UnusableReason.SHARDS_UNASSIGNED),
        Code.INDEX_UNASSIGNED,
    ),
    Damage("an alias is lost", lambda w: w.documents.lose_alias(PRODUCTS), Code.ALIAS_LOST),
    Damage(
        "an alias leads to two indices",
        lambda w: make_unusable(w, UnusableReason.ALIAS_AMBIGUOUS),
        Code.ALIAS_AMBIGUOUS,
    ),
]
