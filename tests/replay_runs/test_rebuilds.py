"""Documents rebuilt beside those that readers see, on servers in memory: live writes, crashes, the way back."""

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from oncelog.composition.replays import assemble_index_rebuild
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid, RebuildSuperseded, StoreUnavailable
from oncelog.ports import Document
from oncelog.read_models.names import ReadModelName
from oncelog.replay_runs.partitions import PlanTotals
from oncelog.replay_runs.request import ReplayEnd, ReplayMode, ReplayRequest, ReplayScope
from tests.classes import FIRST, define
from tests.commands import create, delete, update
from tests.replay_runs.runs import filled, replay, runner
from tests.write.world import World

CLASS = AggregateId.of_class("shop", "Product")
SCOPE = ReplayScope(db_name="shop", class_id="Product")
REBUILD = ReplayRequest(mode=ReplayMode.REBUILD, scope=SCOPE, partition_events=2)
INDEX = "shop.product"


def spoil(world: World, name: str) -> None:
    """Let a document say something else at its right version, which no projection puts right."""
    documents = world.documents.indices[INDEX]
    documents[name] = replace(documents[name], body={**documents[name].body, "data": {"forged": True}})


async def current_name(world: World) -> str:
    index = await world.documents.current_index(CLASS)
    assert index is not None
    return index.name


async def test_wrong_document_is_put_right_by_a_rebuild():
    world = await filled(["p1", "p2", "p3"])
    before = await current_name(world)
    spoil(world, "p2")
    counts, end = await replay(world, "r", REBUILD)
    assert counts.projected == 3
    assert [(each.index, each.kept) for each in end.switched] == [(await current_name(world), before)]
    assert await current_name(world) != before
    world.check_shown()


async def test_document_without_a_log_is_not_taken_along():
    world = await filled(["p1"])
    stranger = AggregateId("shop", "Product", "stranger")
    known = world.documents.indices[INDEX]["p1"]
    body = {**known.body, "aggregate_id": str(stranger), "instance_id": "stranger"}
    world.documents.indices[INDEX]["stranger"] = Document(stranger, 1, body)
    await replay(world, "r", REBUILD)
    assert sorted(world.documents.indices[INDEX]) == ["p1"]


async def test_live_writes_reach_both_indices():
    world = await filled(["p1", "p2", "p3"])
    run, process = runner(world), world.process()
    totals = await run.plan("r", REBUILD)
    await process.run(update("p1", {"live": 1}))
    for number in range(totals.partitions):
        await run.partition("r", REBUILD, number)
        await process.run(update("p2", {"live": number}))
        await process.run(create(f"new-{number}"))
    await process.run(delete("p3"))
    old = world.documents.indices[INDEX]
    await run.end("r", REBUILD, totals)
    assert world.documents.indices[INDEX] is not old
    assert world.documents.indices[INDEX].keys() == old.keys()
    world.check_shown()
    await world.process().run(update("p1", {"after": 1}))
    world.check_shown()


async def test_rebuild_writes_documents_that_were_never_projected():
    world = await filled(["p1"])
    await world.process().commit(create("p2"))
    await replay(world, "r", REBUILD)
    assert sorted(world.documents.indices[INDEX]) == ["p1", "p2"]


async def test_end_writes_documents_that_the_new_index_lost():
    world = await filled(["p1", "p2"])
    run = runner(world)
    totals = await run.plan("r", REBUILD)
    for number in range(totals.partitions):
        await run.partition("r", REBUILD, number)
    (filling,) = world.documents.others.values()
    del filling.documents["p2"]
    listed = world.bucket.requests["ListObjectsV2"]
    end = await run.end("r", REBUILD, totals)
    assert [each.completed for each in end.switched] == [1]
    assert world.bucket.requests["ListObjectsV2"] == listed
    world.check_shown()


async def test_lost_index_is_rebuilt():
    world = await filled(["p1", "p2"])
    world.documents.clear()
    await replay(world, "r", REBUILD)
    world.check_shown()


async def test_defined_class_is_rebuilt_in_its_form():
    world = World()
    await world.process().run(define(FIRST))
    await world.process().run(create("p1", {"name": "Lamp"}))
    await world.process().pipeline.reindexer.run(CLASS)
    spoil(world, "p1")
    await replay(world, "r", ReplayRequest(mode=ReplayMode.REBUILD, scope=ReplayScope(db_name="shop")))
    index = await world.documents.current_index(CLASS)
    assert index is not None
    assert index.definition is not None
    world.check_shown()


async def test_damaged_stream_keeps_the_document_it_has():
    world = await filled(["p1", "p2"])
    key = min(key for key in world.bucket.objects if key.startswith("events/shop/Product/p1/"))
    before = world.documents.indices[INDEX]["p1"]
    del world.bucket.objects[key]
    counts, _ = await replay(world, "r", REBUILD)
    assert (counts.projected, counts.parked) == (1, 1)
    assert world.documents.indices[INDEX]["p1"] == before


class Killed(Exception):
    """The process ends here."""


async def rebuilt(world: World) -> ReplayEnd:
    run = runner(world)
    totals = await run.plan("r", REBUILD)
    for number in range(totals.partitions):
        await run.partition("r", REBUILD, number)
    return await run.end("r", REBUILD, totals)


@pytest.mark.parametrize("seed", range(20))
async def test_killed_rebuild_resumes_or_changes_nothing(seed: int):
    world = await filled(["p1", "p2", "p3", "p4"])
    spoil(world, "p2")
    chance = random.Random(seed)
    whole = world.documents.pause
    kills = 0
    while True:
        world.documents.pause = _killing(chance.randrange(1, 25), whole)
        seen = world.documents.indices[INDEX]
        try:
            end = await rebuilt(world)
        except Killed:
            kills += 1
            world.documents.pause = whole
            assert world.documents.indices[INDEX].keys() == seen.keys()
            if kills == 5:
                end = await rebuilt(world)
                break
        else:
            break
    world.documents.pause = whole
    assert end.switched[0].index == await current_name(world)
    world.check_shown()
    await world.process().run(update("p1", {"after": seed}))
    world.check_shown()


def _killing(after: int, whole: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[None]]:
    left = after

    async def pause() -> None:
        nonlocal left
        left -= 1
        if left <= 0:
            raise Killed
        await whole()

    return pause


async def test_closed_index_of_a_dead_rebuild_is_opened_again():
    world = await filled(["p1"])
    index = await world.documents.current_index(CLASS)
    assert index is not None
    await world.documents.changed_documents(index, after=-1, close=True)
    reindexer = world.process().pipeline.reindexer
    assert "closed" in str(await reindexer.stale_reason(CLASS))
    await reindexer.run(CLASS)
    assert await reindexer.stale_reason(CLASS) is None
    await world.process().run(update("p1", {"after": 1}))
    world.check_shown()


async def test_rebuild_that_was_overtaken_says_so():
    world = await filled(["p1", "p2"])
    run = runner(world)
    totals = await run.plan("r", REBUILD)
    await replay(world, "faster", REBUILD)
    with pytest.raises(RebuildSuperseded, match="rebuild again"):
        await run.partition("r", REBUILD, 0)
    with pytest.raises(RebuildSuperseded):
        await run.end("r", REBUILD, PlanTotals(partitions=0, aggregates=0, events=0))
    assert totals.partitions
    world.check_shown()


async def test_outage_ends_a_step_and_the_next_attempt_goes_on():
    world = await filled(["p1", "p2"])
    run = runner(world)
    totals = await run.plan("r", REBUILD)
    world.documents.available = False
    with pytest.raises(StoreUnavailable):
        await run.partition("r", REBUILD, 0)
    world.documents.available = True
    for number in range(totals.partitions):
        await run.partition("r", REBUILD, number)
    await run.end("r", REBUILD, totals)
    world.check_shown()


async def test_readers_go_back_to_the_kept_index_with_later_writes():
    world = await filled(["p1", "p2"])
    before = await current_name(world)
    await replay(world, "r", REBUILD)
    process = world.process()
    await process.run(update("p1", {"later": 1}))
    await process.run(create("p3"))
    back = await assemble_index_rebuild(world.ports()).roll_back(CLASS, name="back-1")
    assert (back.index, back.caught_up) == (f"{before}.back-1".removeprefix("instances."), 2)
    world.check_shown()
    await world.process().run(update("p2", {"after": 1}))
    world.check_shown()


async def test_no_kept_index_to_go_back_to_is_named():
    world = await filled(["p1"])
    with pytest.raises(InputInvalid, match="expected an index that readers saw before"):
        await assemble_index_rebuild(world.ports()).roll_back(CLASS, name="back-1")


async def test_nodes_that_are_missing_are_written_again():
    world = await filled(["p1", "p2"])
    world.graph.nodes.clear()
    request = REBUILD.model_copy(update={"read_model": ReadModelName.GRAPH})
    counts, end = await replay(world, "r", request)
    assert (counts.projected, end.switched) == (2, ())
    world.check_shown()


async def test_documents_of_definitions_are_rebuilt():
    world = World()
    await world.process().run(define(FIRST))
    scope = ReplayScope(db_name="shop", class_id="_class")
    _, end = await replay(world, "r", ReplayRequest(mode=ReplayMode.REBUILD, scope=scope))
    assert [each.class_name for each in end.switched] == ["shop/_class"]
    world.check_shown()
