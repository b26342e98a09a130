"""The listing that a plan keeps: partitions list no slots again, and later events are neither lost nor damage."""

from datetime import UTC, datetime

import pytest

from oncelog.archive.archiver import Archiver
from oncelog.domain.state_digest import StateDigest
from oncelog.replay_runs.digests import read_digests
from oncelog.replay_runs.request import ReplayCounts, ReplayMode, ReplayRequest, ReplayScope
from oncelog.replay_runs.run import ReplayRunner
from tests.commands import create, delete, update
from tests.replay_runs.runs import filled, replay_with, runner
from tests.write.world import World

REQUEST = ReplayRequest(scope=ReplayScope(db_name="shop", class_id="Product"), partition_events=4)


async def archive(world: World) -> None:
    assert (await Archiver(world.ports()).pack("shop", "Product")).position is None


async def partitions(run: ReplayRunner, count: int, replay_id: str = "r") -> ReplayCounts:
    return sum([await run.partition(replay_id, REQUEST, number) for number in range(count)], ReplayCounts())


async def folded(run: ReplayRunner, count: int) -> list[StateDigest]:
    return [digest async for digest in read_digests(run.files("r"), range(count))]


async def test_partitions_of_archived_events_list_no_slots(monkeypatch: pytest.MonkeyPatch):
    world = await filled(["p1", "p2", "p3", "p4"])
    await archive(world)
    run = runner(world)
    listed: list[str] = []
    list_after = world.bucket.list_after

    async def noted(prefix: str, after: str, **options: int):
        listed.append(prefix)
        return await list_after(prefix, after, **options)

    monkeypatch.setattr(world.bucket, "list_after", noted)
    totals = await run.plan("r", REQUEST)
    assert "events/shop/Product/" in listed
    listed.clear()
    counts = await partitions(run, totals.partitions)
    assert totals.partitions == 2
    assert (counts.events, counts.archived, counts.findings_count) == (8, 8, 0)
    assert [prefix for prefix in listed if prefix == "events/shop/Product/"] == []


async def test_later_events_are_left_out_until_they_are_archived():
    world = await filled(["p1", "p3", "p4"])
    process, run = world.process(), runner(world)
    for replay_id in ("r", "archived"):
        totals = await run.plan(replay_id, REQUEST)
    await process.run(update("p1", {"later": 1}))
    await process.run(create("p2"))  # between two that were listed
    await process.run(create("p5"))  # after all of them
    counts = await partitions(run, totals.partitions)
    assert (counts.aggregates, counts.events, counts.findings_count) == (3, 6, 0)
    await archive(world)
    counts = await partitions(run, totals.partitions, "archived")
    assert (counts.aggregates, counts.events, counts.archived, counts.findings_count) == (5, 9, 9, 0)


async def test_rebuild_has_what_was_written_after_its_listing():
    world = await filled(["p1", "p2", "p3"])
    await archive(world)
    run, process = runner(world), world.process()
    request = REQUEST.model_copy(update={"mode": ReplayMode.REBUILD})
    totals = await run.plan("r", request)
    await process.run(update("p1", {"live": 1}))
    await process.run(create("p0"))
    await process.run(create("p4"))
    await process.run(delete("p3"))
    counts = sum([await run.partition("r", request, number) for number in range(totals.partitions)], ReplayCounts())
    assert (counts.events, counts.projected) == (6, 3)
    (filling,) = world.documents.others.values()
    assert sorted(filling.documents) == ["p1", "p2", "p3"]
    end = await run.end("r", request, totals)
    assert [each.caught_up for each in end.switched] == [4]
    assert {name: document.sequence_number for name, document in world.documents.indices["shop.product"].items()} == {
        "p0": 1,
        "p1": 3,
        "p2": 2,
        "p3": 3,
        "p4": 1,
    }
    world.check_shown()


async def test_archived_events_without_slots_are_damage_still():
    world = await filled(["p1", "p2", "p3"])
    await archive(world)
    lost = [key for key in world.bucket.objects if key.startswith("events/shop/Product/p2/")]
    for key in lost:
        del world.bucket.objects[key]
    run = runner(world)
    totals = await run.plan("r", REQUEST)
    counts = await partitions(run, totals.partitions)
    assert [finding.code for finding in counts.findings] == ["ArchiveDamaged"]
    assert "p2" in counts.findings[0].where
    assert [digest.aggregate_id[-2:] for digest in await folded(run, totals.partitions)] == ["p1", "p3"]


async def test_plan_of_an_earlier_release_without_listings_lists_anew():
    world = await filled(["p1", "p2", "p3"])
    run = runner(world)
    totals = await run.plan("r", REQUEST)
    for key in [key for key in world.bucket.objects if "/listed/" in key]:
        del world.bucket.objects[key]
    counts = await partitions(run, totals.partitions)
    assert (counts.aggregates, counts.events, counts.findings_count) == (3, 6, 0)


async def test_listing_of_another_attempt_at_the_plan_is_not_used():
    world = await filled(["p1", "p2", "p3", "p4"])
    run = runner(world)
    await run.plan("r", REQUEST.model_copy(update={"partition_events": 2}))
    late = {key: value for key, value in world.bucket.objects.items() if "/listed/" in key}
    totals = await run.plan("r", REQUEST)
    world.bucket.objects.update(late)  # by a worker that was thought dead
    counts = await partitions(run, totals.partitions)
    assert (counts.aggregates, counts.events, counts.findings_count) == (4, 8, 0)


async def test_unreadable_listing_is_made_again():
    world = await filled(["p1", "p2", "p3", "p4"])
    run = runner(world)
    totals = await run.plan("r", REQUEST)
    for key in [key for key in world.bucket.objects if "/listed/" in key]:
        await world.bucket.put(key, b'{"of": "a later release"}')
    counts = await partitions(run, totals.partitions)
    assert (counts.aggregates, counts.events, counts.findings_count) == (4, 8, 0)


async def test_replay_is_not_compared_with_one_that_ended_while_it_ran():
    world = await filled(["p1", "p2"])
    run, request = runner(world), ReplayRequest(scope=REQUEST.scope)
    totals = await run.plan("slow", request)
    await world.process().run(update("p1", {"later": 1}))
    await replay_with(run, "fast", request)
    await partitions(run, totals.partitions, "slow")
    assert (await run.end("slow", request, totals)).comparison is None
    _, end = await replay_with(run, "next", request)
    assert end.comparison is not None
    assert (end.comparison.replay_id, end.comparison.findings_count) == ("fast", 0)


async def test_replay_since_a_time_keeps_no_listing():
    world = await filled(["p1"])
    scope = REQUEST.scope.model_copy(update={"since": datetime(2000, 1, 1, tzinfo=UTC)})
    await runner(world).plan("r", REQUEST.model_copy(update={"scope": scope}))
    assert not [key for key in world.bucket.objects if "/listed/" in key]
