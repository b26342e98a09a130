"""Replay runs on servers in memory: partitions, digests, damage, proofs."""

import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.merkle import is_included, leaf_hash, root_of
from oncelog.domain.signed_note import Checkpoint, Signer
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.replay_runs.digests import read_digests
from oncelog.replay_runs.partitions import PlanTotals
from oncelog.replay_runs.plan import keep_plan, plan_replay
from oncelog.replay_runs.request import ReplayRequest, ReplayScope
from oncelog.stores.s3.bucket import StoredObject
from tests.commands import create, update
from tests.replay_runs.runs import LATER, filled, replay, runner
from tests.write.world import World


@pytest.mark.parametrize("events_per_partition", [1, 2, 3, 1_000])
async def test_partitions_hold_each_aggregate_once(events_per_partition: int):
    world = await filled(["p", "p-1", "p.1", "p1", "p10", "q"])
    world.bucket.list_after = _short_pages(world)  # type: ignore[method-assign]
    run = runner(world)
    plan = await plan_replay(world.ports().catalogue, ReplayScope(), events_per_partition=events_per_partition)
    await keep_plan(run.files("r"), plan)
    for number in range(len(plan.partitions)):
        await run.partition("r", ReplayRequest(), number)
    digests = [digest async for digest in read_digests(run.files("r"), range(len(plan.partitions)))]
    names = [digest.aggregate_id for digest in digests]
    assert sorted(names) == sorted(str(aggregate_id) for aggregate_id in world.logs())
    assert names == sorted(names, key=lambda name: f"{name}/")
    assert plan.totals == PlanTotals(partitions=len(plan.partitions), aggregates=6, events=12)


def _short_pages(world: World):
    whole = world.bucket.list_after

    async def list_after(prefix: str, after: str, *, count_max: int = 3):
        return await whole(prefix, after, count_max=min(count_max, 3))

    return list_after


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.sampled_from(["a", "a-b", "a.b", "b", "é"]), min_size=1, unique=True), st.integers(1, 5))
async def test_root_is_independent_of_the_partitions(names: list[str], events_per_partition: int):
    world = await filled(names)
    run = runner(world)
    plan = await plan_replay(world.ports().catalogue, ReplayScope(), events_per_partition=events_per_partition)
    await keep_plan(run.files("r"), plan)
    for number in reversed(range(len(plan.partitions))):
        await run.partition("r", ReplayRequest(), number)
    divided = await run.end("r", ReplayRequest(), plan.totals)
    _, whole = await replay(world, "whole")
    assert divided.databases == whole.databases
    assert divided.classes == whole.classes


async def test_next_replay_is_compared_with_the_last_one():
    world = await filled(["p1", "p2"])
    await replay(world, "first")
    await world.process().run(update("p2", {"m": 2}))
    await world.process().run(create("p3"))
    _, end = await replay(world, "second")
    assert end.comparison is not None
    found = end.comparison
    assert (found.replay_id, found.same, found.changed, found.added) == ("first", 1, 1, 1)
    assert found.findings_count == 0


async def test_lost_and_shortened_streams_are_found():
    world = await filled(["p1", "p2"])
    await replay(world, "first")
    events = sorted(key for key in world.bucket.objects if key.startswith("events/"))
    for key in (events[0], events[1], events[3]):
        del world.bucket.objects[key]
    _, end = await replay(world, "second")
    assert end.comparison is not None
    assert [finding.code for finding in end.comparison.findings] == ["AggregateGone", "StreamShorter"]


async def test_forged_history_changes_the_digest():
    world = await filled(["p1"])
    other = World()
    await other.process().run(create("p1", {"n": 3}))
    await other.process().commit(update("p1", {"m": 1}), occurred_at=LATER)
    await replay(world, "first")
    for key, stored in other.bucket.objects.items():
        if key.startswith("events/"):
            world.bucket.objects[key] = stored
    _, end = await replay(world, "second")
    assert end.comparison is not None
    assert [finding.code for finding in end.comparison.findings] == ["DigestChanged"]


@pytest.mark.parametrize("damage", ["gap", "altered", "moved"])
async def test_damaged_stream_is_a_finding_and_others_are_folded(damage: str):
    world = await filled(["p1", "p2", "p3"])
    first, second = sorted(key for key in world.bucket.objects if "/p2/" in key and key.startswith("events/"))
    if damage == "gap":
        del world.bucket.objects[first]
    elif damage == "altered":
        world.bucket.objects[first] = StoredObject(world.bucket.objects[first].body.replace(b'"n":2', b'"n":9'))
    else:
        world.bucket.objects[second] = world.bucket.objects[first]
    counts, end = await replay(world)
    assert [finding.code for finding in counts.findings] == ["LogDamaged"]
    assert "p2" in counts.findings[0].where
    assert [tree.size for tree in end.classes] == [2]


async def test_partition_written_again_gives_the_same_files():
    world = await filled(["p1", "p2"])
    await replay(world)
    before = {key: stored.body for key, stored in world.bucket.objects.items() if "/replay-1/digests" in key}
    await runner(world).partition("replay-1", ReplayRequest(), 0)
    after = {key: stored.body for key, stored in world.bucket.objects.items() if "/replay-1/digests" in key}
    assert before == after


async def test_outage_ends_a_partition_with_an_error():
    world = await filled(["p1"])
    run = runner(world)
    await run.plan("r", ReplayRequest())
    world.bucket.available = False
    with pytest.raises(StoreUnavailable):
        await run.partition("r", ReplayRequest(), 0)


async def test_inclusion_of_an_aggregate_is_proven():
    world = await filled(["p1", "p2", "p3"])
    signer = Signer("oncelog/0a1b2c3d", bytes(range(32)))
    _, end = await replay(world, signer=signer)
    run = runner(world)
    proof = await run.prove("replay-1", AggregateId.of("shop", "Product", "p2"))
    assert proof is not None
    class_root = bytes.fromhex(end.classes[0].root)
    assert is_included(proof.digest.leaf, proof.index, proof.path, size=proof.tree.size, root=class_root)
    assert proof.tree.line in proof.classes
    assert proof.checkpoint is not None
    checkpoint = Checkpoint.parse(signer.verifier.opened(proof.checkpoint))
    assert checkpoint.origin == "oncelog/0a1b2c3d/shop"
    assert checkpoint.root == root_of(leaf_hash(line.encode()) for line in proof.classes)
    assert await run.prove("replay-1", AggregateId.of("shop", "Product", "p9")) is None


async def test_proof_by_an_unknown_replay_is_refused():
    world = await filled(["p1"])
    with pytest.raises(InputInvalid, match="expected its plan in S3, found none"):
        await runner(world).prove("unknown", AggregateId.of("shop", "Product", "p1"))


async def test_only_aggregates_written_since_a_time_are_replayed():
    world = await filled(["p1"])
    now = datetime(2026, 6, 1, tzinfo=UTC)
    for key in list(world.bucket.written_at):
        world.bucket.written_at[key] = datetime(2026, 5, 1, tzinfo=UTC)
    world.bucket.clock = lambda: now
    await world.process().run(create("p2"))
    counts, end = await replay(world, "since", ReplayRequest(scope=ReplayScope(since=now)))
    assert (counts.aggregates, end.comparison) == (1, None)


async def test_replay_outlives_the_files_of_the_one_before():
    world = await filled(["p1"])
    await replay(world, "before")
    folder = runner(world).files("before").folder
    for key in [key for key in world.bucket.objects if key.startswith(folder)]:
        del world.bucket.objects[key]
    _, end = await replay(world, "after")
    assert end.comparison is None
    _, end = await replay(world, "again")
    assert end.comparison is not None
    assert (end.comparison.replay_id, end.comparison.same) == ("after", 1)


async def test_replay_to_compare_with_is_looked_for_first():
    world = await filled(["p1"])
    with pytest.raises(InputInvalid, match="expected its plan in S3, found none"):
        await runner(world).plan("later", ReplayRequest(compare_with="unknown"))
    assert not any(key.startswith(runner(world).files("later").folder) for key in world.bucket.objects)


@pytest.mark.parametrize(
    "fields",
    [
        {"class_id": "Product"},
        {"aggregate_id": "shop/Product/p1", "db_name": "shop"},
        {"as_of_version": 1, "as_of_time": datetime(2026, 1, 1, tzinfo=UTC)},
        {"as_of_version": 0},
        {"since": datetime(2026, 1, 1)},  # noqa: DTZ001 - a time without an offset, which is refused
    ],
)
def test_contradictory_scope_is_refused(fields: dict[str, object]):
    with pytest.raises(ValueError, match="validation error"):
        ReplayScope(**fields)


class Killed(Exception):
    """The process ends here."""


@pytest.mark.parametrize("seed", range(20))
async def test_killed_replay_ends_with_the_same_digest(seed: int):
    world = await filled(["p1", "p2", "p3", "p4"])
    _, undisturbed = await replay(world, "undisturbed", ReplayRequest(partition_events=2))
    chance, whole, kills = random.Random(seed), world.bucket.pause, 0
    while kills < 5:
        world.bucket.pause = _killing(chance.randrange(1, 15), whole)
        try:
            await replay(world, "killed", ReplayRequest(partition_events=2, compare_with="undisturbed"))
        except Killed:
            kills += 1
        else:
            pytest.fail("expected the replay to reach the request at which it is killed")
    world.bucket.pause = whole
    _, end = await replay(world, "killed", ReplayRequest(partition_events=2, compare_with="undisturbed"))
    assert (end.databases, end.classes) == (undisturbed.databases, undisturbed.classes)
    assert end.comparison is not None
    assert (end.comparison.same, end.comparison.findings_count) == (4, 0)


def _killing(after: int, whole: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    left = after

    async def pause() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed
        await whole()

    return pause
