"""Checks of a part of the log find what is wrong with unique values within their scope, and name what they left out."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from oncelog.checks.scope import CheckMode, ProofScope
from oncelog.domain.unique.entry import UniqueEntry
from oncelog.stores.s3 import StoredObject
from oncelog.verification.findings import Code
from tests.commands import create, update
from tests.verification.damage import Damage, drop, planted, rewrite
from tests.verification.modes import EVERYTHING, checked
from tests.verification.unique_damage import (
    PLANTED,
    E,
    add_unnamed_entry,
    change_refusal,
    entry_key,
    entry_of,
    first_of,
    healthy,
    put_entry,
)
from tests.write.world import World

#: The damage that a mode does not see though all is drawn, or new: a sample reads no command without an event.
UNSEEN = {
    CheckMode.SAMPLED: {
        "a refusal names another version",
        "a refusal names another holder",
        "a refusal names no instance",
        "an item's refusal names another holder",
        "an entry is pending",
    },
    CheckMode.INCREMENTAL: set[str](),
}
BEFORE, SINCE = datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)


def drawing(chosen: Callable[[ProofScope], bool]) -> ProofScope:
    """Return the scope of a sample whose seed draws as it is said."""
    scopes = (ProofScope(mode=CheckMode.SAMPLED, share=0.3, seed=seed) for seed in range(100_000))
    return next(scope for scope in scopes if chosen(scope))


def only(name: str) -> ProofScope:
    """Return the scope of a sample of one instance, and of no chain for its own sake."""
    names = {f"shop/Product/{each}" for each in "abcdefghkm"}
    place = f"shop/Product/{name}"
    folders = [entry.rpartition("/")[0] + "/" for entry in CHAINS]
    return drawing(
        lambda scope: {each for each in names if scope.covers(each)} == {place} and not any(map(scope.draws, folders))
    )


CHAINS: set[str] = set()


@pytest.fixture(autouse=True)
async def world() -> World:
    """A sound installation, all of it written before the last check."""
    world = await healthy()
    world.bucket.written_at = dict.fromkeys(world.bucket.objects, BEFORE)
    world.bucket.clock = lambda: SINCE + timedelta(hours=1)
    CHAINS.update(key for key in world.bucket.objects if key.startswith("unique/"))
    return world


async def codes(world: World, scope: ProofScope) -> set[tuple[Code, str]]:
    """Return what a check finds: codes and places."""
    report, _ = await checked(world, scope)
    found = [(finding.code, finding.where) for finding in report.findings.kept]
    assert len(found) == len(set(found)) == sum(map(sum, (each.values() for each in report.findings.counts.values())))
    return set(found)


def put_new(world: World, entry: UniqueEntry) -> None:
    put_entry(world, entry)
    world.bucket.written_at[entry.key] = SINCE


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
@pytest.mark.parametrize("mode", UNSEEN)
async def test_mode_finds_damage_within_its_scope(mode: CheckMode, damage: Damage, world: World):
    await planted(damage, world)
    report, _ = await checked(world, EVERYTHING[mode])
    is_seen = damage.code in {finding.code for finding in report.findings.kept}
    assert is_seen is (damage.name not in UNSEEN[mode]), report.findings.kept


@pytest.mark.parametrize("mode", UNSEEN)
async def test_nothing_is_found_where_nothing_is_wrong(mode: CheckMode, world: World):
    assert await codes(world, EVERYTHING[mode]) == set()
    assert await codes(world, only("b")) == set()


class TestSampled:
    async def test_whole_chain_of_a_drawn_instance_is_audited(self, world: World):
        """The first entry is that of another instance, which is not drawn."""
        forged = first_of(entry_of(world, "b-1").key)
        world.bucket.objects[forged] = StoredObject(b"{")
        assert await codes(world, only("b")) == {(Code.ENTRY_FORGED, forged)}
        assert await codes(world, only("d")) == set()

    async def test_entry_that_no_record_names_is_found(self, world: World):
        add_unnamed_entry(world)
        follower = entry_of(world, "b-1")
        found = await codes(world, only("a"))
        assert found == {(Code.ENTRY_UNFOUNDED, follower.chain.key_of(follower.n + 1))}

    async def test_second_holder_of_a_drawn_instance_is_found(self, world: World):
        """The drawn instance has no entry, and the other holder is not drawn."""
        rewrite(world, E, 1, data={"email": "x"})
        assert Code.UNIQUE_DOUBLED in {code for code, _ in await codes(world, only("e"))}
        assert await codes(world, only("b")) == set()

    async def test_gap_in_any_chain_is_found(self, world: World):
        missing = first_of(entry_of(world, "m-1").key)
        drop(world, missing)
        assert (Code.CHAIN_GAP, missing) in await codes(world, only("d"))

    async def test_drawn_chain_is_audited_without_its_instances(self, world: World):
        forged = entry_key(world, "d")
        folder = forged.rpartition("/")[0] + "/"
        world.bucket.objects[forged] = StoredObject(b"{")
        scope = drawing(lambda scope: scope.draws(folder) and not scope.covers("shop/Product/d"))
        assert (Code.ENTRY_FORGED, forged) in await codes(world, scope)

    async def test_coverage_says_what_was_left_out(self, world: World):
        _, coverage = await checked(world, only("b"))
        assert coverage.startswith("1 of 7 aggregates (30.000% drawn by seed")
        assert "; 1 chains of unique values, 2 entries read and 9 listed; no command without an event" in coverage


class TestIncremental:
    scope = ProofScope(mode=CheckMode.INCREMENTAL, since=SINCE)

    async def test_old_damage_is_left_to_a_full_check(self, world: World):
        world.bucket.objects[entry_key(world, "d")] = StoredObject(b"{")
        assert await codes(world, self.scope) == set()
        await world.process().run(update("b", {"n": 1}))
        assert await codes(world, self.scope) == set()

    async def test_chains_of_a_changed_instance_are_audited(self, world: World):
        forged = first_of(entry_of(world, "b-1").key)
        world.bucket.objects[forged] = StoredObject(b"{")
        await world.process().run(update("b", {"n": 1}))
        assert await codes(world, self.scope) == {(Code.ENTRY_FORGED, forged)}

    async def test_new_entry_of_an_unchanged_instance_is_found(self, world: World):
        entry = entry_of(world, "b-1")
        put_new(world, entry.model_copy(update={"n": entry.n + 1, "command_id": "nobody"}))
        found = await codes(world, self.scope)
        assert (Code.ENTRY_UNFOUNDED, entry.chain.key_of(entry.n + 1)) in found

    async def test_new_refusal_is_held_against_an_unchanged_holder(self, world: World):
        change_refusal(world, holder=E)
        assert await codes(world, self.scope) == set()
        world.bucket.written_at["commands/c-1/000001.json"] = SINCE
        assert (Code.REJECTION_UNFOUNDED, "command c-1") in await codes(world, self.scope)

    async def test_new_orphan_of_an_unchanged_instance_is_found(self, world: World):
        process = world.process()
        await process.run(create("new", {"email": "w"}, command_id="new-1"))
        assert await codes(world, self.scope) == set()
        await planted(next(each for each in PLANTED if each.name == "an entry is pending"), world)
        world.bucket.written_at["commands/dead-1/000001.json"] = SINCE
        assert (Code.COMMAND_UNFINISHED, "command dead-1") in await codes(world, self.scope)

    async def test_records_of_old_commands_are_not_read(self, world: World):
        await world.process().run(update("b", {"n": 1}, command_id="b-2"))
        report, coverage = await checked(world, self.scope)
        assert report.read.commands == 1
        assert "1 aggregates that were written since" in coverage
