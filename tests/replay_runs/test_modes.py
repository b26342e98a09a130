"""The modes of a replay that compare and send, on servers in memory: verify, republish, restore."""

from dataclasses import replace

import pytest
from pydantic import ValidationError

from oncelog.archive.log_part import LogPosition
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.replay_runs.request import ReplayMode, ReplayRequest, ReplayScope
from oncelog.replay_runs.run import PartitionProgress
from tests.classes import FIRST, define
from tests.commands import create, update
from tests.replay_runs.runs import filled, replay, runner
from tests.write.world import World

REPUBLISH = ReplayRequest(mode=ReplayMode.REPUBLISH, topic="new", partition_events=3)
RESTORE = ReplayRequest(mode=ReplayMode.RESTORE, partition_events=3)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oncelog.replay_runs.comparison.LOOK_AGAIN_S", 0)
    monkeypatch.setattr("oncelog.replay_runs.comparison.LOOKS", 2)


async def codes(world: World) -> list[str]:
    counts, _ = await replay(world, "v")
    return sorted(finding.code for finding in counts.findings)


async def test_sound_read_models_give_no_finding():
    assert await codes(await filled(["p1", "p2"])) == []


async def test_wrong_missing_and_stale_documents_are_found():
    world = await filled(["p1", "p2", "p3", "p4"])
    documents = world.documents.indices["shop.product"]
    documents["p1"] = replace(documents["p1"], body={**documents["p1"].body, "data": {"forged": True}})
    del documents["p2"]
    documents["p3"] = replace(documents["p3"], sequence_number=1)
    assert await codes(world) == ["DocumentMissing", "DocumentStale", "DocumentWrong"]


async def test_wrong_missing_and_stale_nodes_are_found():
    world = await filled(["p1", "p2", "p3", "p4"])
    nodes = world.graph.nodes
    names = {name: AggregateId("shop", "Product", name) for name in ("p1", "p2", "p3")}
    nodes[names["p1"]] = replace(nodes[names["p1"]], deleted=True)
    del nodes[names["p2"]]
    nodes[names["p3"]] = replace(nodes[names["p3"]], sequence_number=1)
    assert await codes(world) == ["NodeMissing", "NodeStale", "NodeWrong"]


async def test_documents_are_compared_as_migrated():
    world = World()
    await world.process().run(create("p1", {"name": "Lamp"}))
    await world.process().run(define(FIRST))
    await world.process().pipeline.reindexer.run(AggregateId.of_class("shop", "Product"))
    await world.process().pipeline.graph_rebuilder.run(AggregateId.of_class("shop", "Product"))
    assert await codes(world) == []


async def test_every_event_reaches_the_topic_in_order():
    world = await filled(["p1", "p2", "p3", "p-1"])
    world.topics.topics["new"] = []
    counts, _ = await replay(world, "r", REPUBLISH)
    sent: dict[str, list[int]] = {}
    for event in world.topics.topics["new"]:
        sent.setdefault(event.aggregate_id, []).append(event.sequence_number)
    assert sent == {str(name): [1, 2] for name in world.logs()}
    assert counts.published == 8


async def test_republishing_goes_on_where_the_attempt_before_was(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("oncelog.replay.fold.BATCH_STATES", 1)
    world = await filled(["p1", "p2", "p3"])
    world.topics.topics["new"] = []
    request = REPUBLISH.model_copy(update={"partition_events": 100})
    run = runner(world)
    await run.plan("r", request)
    reached: list[LogPosition] = []

    def count(progress: PartitionProgress) -> None:
        assert progress.position is not None
        reached.append(progress.position)
        if len(reached) == 2:
            world.topics.available = False

    with pytest.raises(StoreUnavailable):
        await run.partition("r", request, 0, counted=count)
    world.topics.available = True
    before = len(world.topics.topics["new"])
    await run.partition("r", request, 0, done=reached[-1])
    again = [(event.aggregate_id, event.sequence_number) for event in world.topics.topics["new"][before:]]
    assert (reached[-1].aggregate_id, reached[-1].sequence_number) not in again
    everything = {(event.aggregate_id, event.sequence_number) for event in world.topics.topics["new"]}
    assert everything == {(str(name), number) for name in world.logs() for number in (1, 2)}
    assert before + len(again) == 6


async def test_topic_that_is_missing_is_refused():
    world = await filled(["p1"])
    with pytest.raises(InputInvalid, match="topic new: expected it to exist"):
        await runner(world).plan("r", REPUBLISH)
    with pytest.raises(ValidationError, match="expected a topic"):
        ReplayRequest(mode=ReplayMode.REPUBLISH)


async def test_all_derived_from_the_log_is_restored():
    world = await filled(["p1", "p2"])
    await world.process().run(define(FIRST))
    lose_all_but_s3(world)
    counts, _ = await replay(world, "r", RESTORE)
    assert counts.published == 5
    world.check()
    world.check_shown()
    heads = await world.ports().leases.heads([AggregateId("shop", "Product", name) for name in ("p1", "p2")])
    assert heads == [2, 2]
    await world.process().run(update("p1", {"name": "after"}))
    world.check()
    world.check_shown()


async def test_second_restore_publishes_nothing_again():
    world = await filled(["p1", "p2"])
    lose_all_but_s3(world)
    await replay(world, "first", RESTORE)
    sent = len(world.publisher.messages)
    counts, _ = await replay(world, "second", RESTORE)
    assert (counts.published, len(world.publisher.messages)) == (0, sent)


def lose_all_but_s3(world: World) -> None:
    world.documents.clear()
    world.graph.nodes.clear()
    world.redis.flush()
    world.publisher.make_anew()


async def test_only_whole_classes_are_rebuilt():
    with pytest.raises(ValidationError, match="expected a database or a class"):
        ReplayRequest(mode=ReplayMode.REBUILD, scope=ReplayScope(aggregate_id="shop/Product/p1"))
