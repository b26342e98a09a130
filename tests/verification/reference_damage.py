"""A healthy installation with references that must exist, and targets that are gone or never were."""

from collections.abc import Callable

from oncelog.domain.commands import Command
from oncelog.domain.results import Outcome
from oncelog.settings import Settings
from oncelog.verification.findings import Code, Severity
from tests.commands import create, delete, update
from tests.required_references import PRODUCTS, define_products, delete_maker, maker
from tests.verification.damage import Damage, drop_log, rewrite
from tests.write.world import World

DESK = "shop/Product/desk"


async def complete(world: World, *commands: Command) -> None:
    for command in commands:
        result = await world.process().complete(command)
        assert result.outcome is Outcome.APPLIED, result.rejection


async def healthy() -> World:
    """References to others and to itself; an optional one; one of a deleted instance; a target made again."""
    world = World(settings=Settings(snapshot_interval_events=10))
    await complete(world, define_products(), maker("m1"), maker("m2"), maker("m3"), create("bulb"))
    await complete(world, create("lamp", {"maker": "m1", "parts": ["bulb", "lamp"], "alike": ["nothing"]}))
    await complete(world, create("desk", {"maker": "m2"}), delete_maker("m2"), maker("m2"))
    await complete(world, create("shelf", {"maker": "m3"}), delete("shelf"), delete_maker("m3"))
    return world


async def require_later(world: World) -> None:
    """Let a reference to nothing be older than ``must_exist``."""
    lax = {name: {**each, "must_exist": False} for name, each in PRODUCTS["relationships"].items()}
    await complete(world, define_products(version="1.0.1", relationships=lax), create("chair", {"maker": "m9"}))
    await complete(world, define_products(version="1.0.2"), update("chair", {"n": 1}))


def gone(name: str, plant: Callable[[World], object]) -> Damage:
    return Damage(name, plant, Code.REFERENCE_DANGLING, Severity.PENDING)


PLANTED = [
    gone("a target was deleted", lambda w: complete(w, delete_maker("m1"))),
    gone("one of two targets was deleted", lambda w: complete(w, delete("bulb"))),
    gone("a target that was made again was deleted", lambda w: complete(w, delete_maker("m2"))),
    gone("a target's log is dropped", lambda w: drop_log(w, "shop/Maker/m1")),
    gone("a reference to nothing is forged", lambda w: rewrite(w, DESK, 1, data={"maker": "m9"})),
    gone("a reference is older than its rule", require_later),
]
