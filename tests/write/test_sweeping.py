"""Incomplete work of a gone workflow is finished, beside zombies."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from oncelog.domain.commands import Command
from oncelog.domain.events import content_of
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import EDGES_MAX
from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.ports import DocumentIndex, Stage, StreamProgress, Watermark
from oncelog.read_models.document_schema import index_schema_of
from oncelog.reconcile.summary import FINDINGS_MAX, Finding, FindingKind, ReconcileSummary
from oncelog.stores.s3.bucket import StoredObject
from tests.classes import FIRST, SECOND, WIDER, define
from tests.commands import create, delete, update
from tests.write.sweeper import ANY_AGE, LOOK_ONLY, sweep
from tests.write.test_parking import dead_letter_service_of, park
from tests.write.world import World

PLACE = AggregateId.parse("shop/Product/p1")
CLASS = AggregateId.of_class("shop", "Product")
FITTING = {"name": "Lamp", "maker": "acme"}
MANY_PARTS = {
    "version": "1.0.0",
    "schema": {"type": "object", "properties": {"parts": {"type": "array", "items": {"type": "string"}}}},
    "relationships": {"made_of": {"target_class": "Part", "cardinality": "many", "path": "/parts"}},
}
RECORDED = ("record", "persist", "publish")


class Crashed(BaseException):
    """A process is gone."""


@pytest.fixture
def world() -> World:
    return World()


async def die(world: World, command: Command, step: str, *, publish: bool = True) -> None:
    """Let a worker die after a step, and its workflow with it."""

    async def after_step(done: str) -> None:
        if done == step:
            raise Crashed

    with pytest.raises(Crashed):
        await world.process().commit(command, after_step=after_step, publish=publish)


async def nothing_incomplete(world: World) -> None:
    """Hold all promises, and that another look finds nothing."""
    world.check()
    world.check_shown()
    again = await sweep(world, LOOK_ONLY)
    assert (again.found, again.damaged, again.unfinished) == (0, 0, 0)


def dead_letters_of(world: World) -> list[bytes]:
    return [stored.body for key, stored in world.bucket.objects.items() if key.startswith("dead-letters/")]


def sweep_counts(tally: ReconcileSummary) -> dict[str, int]:
    return {name: value for name, value in tally.model_dump().items() if isinstance(value, int) and value}


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("step", RECORDED)
async def test_a_command_that_died_after_any_step_is_finished(world: World, step: str, *, forgetful: bool):
    await world.process().complete(create())
    command = update(payload={"a": 1})
    await die(world, command, step)
    if forgetful:
        world.redis.flush()
    looked = await sweep(world, LOOK_ONLY)
    assert looked.found >= 1
    assert (looked.finished, looked.closed, looked.published, looked.projected) == (0, 0, 0, 0)
    done = await sweep(world)
    assert done.found == done.finished + done.closed + done.published + done.projected
    assert 1 <= done.found <= looked.found  # finishing a command delivers what it found undelivered, too
    await nothing_incomplete(world)
    (events,) = world.logs().values()
    assert [event.command_id for event in events][1:] == [command.command_id]
    assert (await world.process().complete(command)).sequence_number == 2


async def test_looking_changes_nothing(world: World):
    await world.process().complete(create())
    await die(world, update(), "record")
    world.documents.clear()
    world.redis.flush()
    before = dict(world.bucket.objects)
    world.redis.calls.clear()
    assert (await sweep(world, LOOK_ONLY)).found == 3
    assert world.bucket.objects == before
    assert len(world.publisher.messages) == 1
    assert not world.documents.indices
    assert set(world.redis.calls) == {"hget", "hgetall"}


async def test_a_finished_orphan_has_its_status(world: World):
    await world.process().complete(create())
    command = update()
    await die(world, command, "record")
    await sweep(world)
    status = await world.process().ports.statuses.read_status(command.command_id)
    assert status is not None
    assert status.result is not None
    assert [stage for stage, _ in status.history] == [
        Stage.ACCEPTED,
        Stage.PERSISTED,
        Stage.PUBLISHED,
        Stage.PROJECTED,
        Stage.COMPLETED,
    ]


async def test_a_recorded_refusal_gets_its_status(world: World):
    command = update()
    await die(world, command, "record")
    tally = await sweep(world)
    assert sweep_counts(tally) == {"commands": 1, "found": 1, "closed": 1}
    status = await world.process().ports.statuses.read_status(command.command_id)
    assert status is not None
    assert status.result is not None
    assert (status.stage, status.result.outcome) == (Stage.REJECTED, Outcome.REJECTED)
    await nothing_incomplete(world)


async def test_what_has_ended_and_was_forgotten_is_whole(world: World):
    for command in (create(), update(), create()):
        await world.process().complete(command)
    world.redis.flush()
    tally = await sweep(
        world, replace(LOOK_ONLY, settled_through=datetime.now(UTC), published_through=datetime.now(UTC))
    )
    assert sweep_counts(tally) == {"commands": 3, "aggregates": 1}


async def test_an_intent_whose_slot_another_took_moves_on(world: World):
    """The holder of the turn dies after its record; its lease runs out and another command takes the slot."""
    await world.process().complete(create())
    orphan, other = update(payload={"orphan": True}), update(payload={"other": True})
    await die(world, orphan, "record")
    world.redis.flush()
    assert (await world.process().complete(other)).sequence_number == 2
    assert (await sweep(world)).finished == 1
    (events,) = world.logs().values()
    assert [event.command_id for event in events][1:] == [other.command_id, orphan.command_id]
    await nothing_incomplete(world)


async def test_an_intent_that_the_winner_made_pointless_is_refused(world: World):
    orphan = create(payload={"orphan": True})
    await die(world, orphan, "record")
    world.redis.flush()
    await world.process().complete(create())
    assert (await sweep(world)).finished == 1
    answer = await world.process().commit(orphan)
    assert answer.rejection is not None
    await nothing_incomplete(world)


async def test_an_orphan_is_decided_under_the_definition_of_its_record(world: World):
    """A newer definition, under which the command would be refused, changes nothing for one that was bound before."""
    definition = define(FIRST)
    await die(world, definition, "record")
    assert (await sweep(world)).finished == 1
    orphan = create(payload={"name": "Lamp", "price": "7"})
    await die(world, orphan, "record")
    await world.process().complete(define(SECOND))
    assert (await sweep(world)).finished == 1
    await nothing_incomplete(world)
    (event,) = world.logs()[str(PLACE)]
    reference = content_of(event).definition
    assert reference is not None
    assert reference.version == "1.0.0"


async def test_an_unpublished_range_is_published_in_order(world: World):
    process = world.process()
    world.publisher.available = False
    for command in (create(), *(update() for _ in range(6)), delete()):
        await process.commit(command)
    world.publisher.available = True
    tally = await sweep(world)
    assert (tally.published, tally.projected) == (0, 0)  # the first command sent all before it, and wrote the document
    assert tally.closed == 8
    await nothing_incomplete(world)


async def test_events_of_ended_commands_are_published_and_projected(world: World):
    process = world.process()
    for command in (create(), update()):
        await process.complete(command)
    world.redis.flush()
    world.publisher.messages.clear()
    world.documents.clear()
    tally = await sweep(world)
    assert sweep_counts(tally) == {"commands": 2, "aggregates": 1, "found": 2, "published": 1, "projected": 1}
    assert [message.offset for message in world.publisher.messages] == [0]
    assert len(world.publisher.messages) == 1  # the head's own object says that what is before it was published
    world.check_document(PLACE)


async def test_a_document_behind_is_written_and_one_ahead_is_damage(world: World):
    for command in (create(), update()):
        await world.process().complete(command)
    behind = world.documents.indices["shop.product"]["p1"]
    await world.process().complete(update())
    world.documents.indices["shop.product"]["p1"] = behind
    assert sweep_counts(await sweep(world)) == {"commands": 3, "aggregates": 1, "found": 1, "projected": 1}
    await nothing_incomplete(world)
    world.documents.indices["shop.product"]["p1"] = replace(behind, sequence_number=9)
    tally = await sweep(world)
    (finding,) = tally.findings
    assert (tally.damaged, finding.kind, finding.place) == (1, FindingKind.DAMAGE, f"aggregate {PLACE}")
    assert "at version 9" in finding.what


async def test_a_node_behind_is_written_and_one_ahead_is_damage(world: World):
    for command in (create(), update()):
        await world.process().complete(command)
    behind = world.graph.nodes[PLACE]
    await world.process().complete(update())
    head = world.graph.nodes[PLACE]
    for node in (behind, None):
        world.graph.nodes = {PLACE: node} if node else {}
        looked = await sweep(world, LOOK_ONLY)
        assert (looked.found, "graph " + ("at version 2" if node else "missing") in looked.findings[0].what) == (
            1,
            True,
        )
        assert sweep_counts(await sweep(world)) == {"commands": 3, "aggregates": 1, "found": 1, "projected": 1}
        assert world.graph.nodes == {PLACE: head}
        await nothing_incomplete(world)
    world.graph.nodes[PLACE] = replace(behind, sequence_number=9)
    tally = await sweep(world)
    assert (tally.damaged, "the graph show it at version 9" in tally.findings[0].what) == (1, True)


async def test_both_read_models_behind_are_one_finding(world: World):
    await world.process().complete(create())
    world.documents.clear()
    world.graph.nodes.clear()
    tally = await sweep(world)
    assert (tally.found, tally.projected) == (1, 1)
    assert tally.findings[0].what == "head 1, shown in: documents missing, graph missing"
    await nothing_incomplete(world)


async def test_what_is_parked_in_one_read_model_is_shown_in_the_other(world: World):
    await world.process().complete(create())
    world.documents.clear()
    node = world.graph.nodes.pop(PLACE)
    await park(world)
    tally = await sweep(world)
    assert (tally.found, tally.projected, tally.parked) == (1, 1, 1)
    assert [finding.what.partition(":")[0] for finding in tally.findings] == [
        "documents",
        "head 1, shown in",
    ]
    assert (world.graph.nodes, world.documents.indices) == ({PLACE: node}, {})


async def test_unprojectable_state_is_parked_in_one_read_model_alone(world: World, monkeypatch: pytest.MonkeyPatch):
    await world.process().complete(create())
    world.documents.clear()
    world.graph.nodes.clear()
    monkeypatch.setattr(world.graph, "_write", lambda _node, **_: InputInvalid("too many references"))
    tally = await sweep(world)
    assert (tally.found, tally.projected, tally.parked) == (1, 0, 1)
    assert [json.loads(dead_letter)["read_model"] for dead_letter in dead_letters_of(world)] == ["graph"]
    world.check_document(PLACE)
    assert sweep_counts(await sweep(world)) == {"commands": 1, "aggregates": 1, "parked": 1}


async def test_resolved_dead_letter_keeps_nothing_back(world: World):
    await world.process().complete(create())
    await park(world)
    await dead_letter_service_of(world).retry(PLACE, by="ann")
    world.documents.clear()
    tally = await sweep(world)
    assert (tally.projected, tally.parked) == (1, 0)
    await nothing_incomplete(world)


async def test_a_watermark_beyond_the_log_is_not_believed(world: World):
    await world.process().commit(create(), publish=False)
    await world.process().ports.leases.save_progress([StreamProgress(PLACE, published=Watermark(1, 7))], "")
    assert (await sweep(world)).found >= 1
    await nothing_incomplete(world)


async def test_the_running_and_the_young_are_left_to_themselves(world: World):
    await world.process().complete(create())
    command = update()
    await die(world, command, "publish")
    world.workflows.running.add(command.command_id)
    tally = await sweep(world)
    assert (tally.found, tally.running) == (0, 2)  # as a command, and as the last one of its aggregate
    assert tally.oldest_left is not None
    world.workflows.running.clear()
    young = replace(ANY_AGE, before=datetime.now(UTC) - timedelta(minutes=10))
    tally = await sweep(world, young)
    assert (tally.found, tally.recent) == (0, 3)
    assert (await sweep(world)).found == 1


async def test_what_is_settled_is_not_read_again(world: World):
    for command in (create(), update()):
        await world.process().complete(command)
    await die(world, create("p2"), "record")
    world.redis.flush()
    world.bucket.requests.clear()
    tally = await sweep(
        world, replace(LOOK_ONLY, settled_through=datetime.now(UTC), published_through=datetime.now(UTC))
    )
    assert sweep_counts(tally) == {"commands": 3, "aggregates": 1}
    looked = {"commands": 1, "databases": 2, "classes": 1, "aggregates": 1, "definition": 1}
    assert world.bucket.requests == {"ListObjectsV2": sum(looked.values())}


async def test_a_scope_leaves_others_alone(world: World):
    inside, outside = create("p1"), create("o1", class_id="Order")
    for command in (inside, outside):
        await die(world, command, "record")
    tally = await sweep(world, replace(ANY_AGE, db_name="shop", class_id="Order"))
    assert (tally.finished, tally.aggregates) == (1, 1)
    assert list(world.logs()) == [str(outside.aggregate_id)]


async def redefined(world: World) -> None:
    """Two instances, one of them deleted, and a definition whose workflow ended before it brought their nodes along."""
    await defined(world)
    process = world.process()
    await process.complete(define(WIDER, command_id="wider"))
    await process.pipeline.reindexer.run(CLASS)


async def defined(world: World) -> None:
    process = world.process()
    for command in (define(FIRST), create("p1", FITTING), create("p2", FITTING), delete("p2")):
        assert (await process.complete(command)).outcome is Outcome.APPLIED


async def left_by_a_definition(world: World, step: str) -> None:
    """Remains of a definition's workflow that is terminated after a step of reindexing."""
    await defined(world)
    process = world.process()
    await process.complete(define(SECOND, command_id="second"))
    class_schema = await process.pipeline.class_schemas.newest(PLACE)
    old = await process.ports.indices.current_index(CLASS)
    assert old is not None
    if step != "define":
        await process.ports.indices.create_index(CLASS, index_schema_of(class_schema), first=False)
    if step == "close":
        await process.ports.index_contents.changed_documents(old, after=-1, close=True)


async def index_of_class(world: World) -> DocumentIndex:
    current = await world.process().ports.indices.current_index(CLASS)
    assert current is not None
    return current


@pytest.mark.parametrize("step", ["define", "create", "close"])
async def test_documents_follow_after_a_terminated_definition(world: World, step: str):
    await left_by_a_definition(world, step)
    looked = await sweep(world, LOOK_ONLY)
    (first, *_) = looked.findings
    assert (first.place, "closed for writing" in first.what) == ("class shop/Product", step == "close")
    assert (await index_of_class(world)).closed == (step == "close")
    done = await sweep(world)
    assert (done.reindexed, done.projected, done.unfinished) == (1, 2, 0)
    assert done.found == 3
    current = await index_of_class(world)
    assert (current.definition and current.definition.version, current.closed) == ("2.0.0", False)
    await nothing_incomplete(world)


@pytest.mark.parametrize("orphaned_after", [None, *RECORDED])
async def test_stuck_class_is_released_before_its_documents(world: World, orphaned_after: str | None):
    await left_by_a_definition(world, "close")
    waiting = update("p1", {"cost": 7})
    if orphaned_after:
        await die(world, waiting, orphaned_after)
    else:
        await world.process().commit(waiting)
    tally = await sweep(world)
    assert (tally.reindexed, tally.unfinished, tally.damaged) == (1, 0, 0)
    await nothing_incomplete(world)
    (shown,) = await world.documents.read_documents([PLACE])
    assert shown is not None
    assert (shown.sequence_number, shown.body["data"]["cost"]) == (2, 7)


@pytest.mark.parametrize("step", ["define", "create", "close"])
async def test_running_definition_is_left_alone(world: World, step: str):
    await left_by_a_definition(world, step)
    world.workflows.running.add("second")
    tally = await sweep(world)
    assert (tally.reindexed, tally.running, tally.found) == (0, 3, 0)
    world.workflows.running.clear()
    living = world.process().pipeline
    await asyncio.gather(sweep(world), living.reindexer.run(CLASS), sweep(world), living.graph_rebuilder.run(CLASS))
    await nothing_incomplete(world)


async def test_pinned_index_is_left_by_reconciliation(world: World):
    await left_by_a_definition(world, "define")
    world.documents.generations["shop.product"].pinned = True
    tally = await sweep(world)
    assert (tally.reindexed, tally.projected) == (0, 2)  # the nodes
    assert (await index_of_class(world)).name.endswith(".d000001")


async def test_a_scope_holds_for_classes_too(world: World):
    await left_by_a_definition(world, "close")
    other = await sweep(world, replace(ANY_AGE, db_name="shop", class_id="Order"))
    assert (other.reindexed, other.found) == (0, 0)
    assert (await sweep(world, replace(ANY_AGE, db_name="stock"))).found == 0
    own = await sweep(world, replace(ANY_AGE, db_name="shop", class_id="Product"))
    assert own.reindexed == 1
    await nothing_incomplete(world)


async def test_orphaned_definition_is_finished_with_its_documents(world: World):
    await defined(world)
    await die(world, define(SECOND), "record")
    scope = replace(ANY_AGE, db_name="shop", class_id="Product")
    tally = await sweep(world, scope)
    assert (tally.finished, tally.reindexed, tally.projected) == (1, 1, 2)
    await nothing_incomplete(world)


async def test_a_damaged_class_is_told_and_holds_up_no_other(world: World):
    await left_by_a_definition(world, "close")
    process = world.process()
    await process.complete(define(FIRST, class_id="Maker"))
    world.bucket.objects[f"events/shop/_class/Maker/{1:020d}.json"] = StoredObject(b"?")
    tally = await sweep(world)
    assert (tally.reindexed, tally.damaged) == (1, 1)


async def test_outdated_nodes_are_found_and_rebuilt(world: World):
    await redefined(world)
    looked = await sweep(world, LOOK_ONLY)
    assert (looked.found, looked.projected) == (2, 0)
    assert {finding.what for finding in looked.findings} == {
        "head 1, shown in: graph at version 1 under an earlier definition",
        "head 2, shown in: graph at version 2 under an earlier definition",
    }
    done = await sweep(world)
    assert (done.found, done.projected) == (2, 2)
    assert {node.definition_sequence for node in world.graph.nodes.values()} == {2}
    await nothing_incomplete(world)


async def test_outdated_nodes_are_left_to_a_running_definition(world: World):
    await redefined(world)
    world.workflows.running.add("wider")
    tally = await sweep(world)
    assert (tally.found, tally.running) == (0, 2)
    assert {node.definition_sequence for node in world.graph.nodes.values()} == {1}
    await world.process().complete(update("p1", {"price": "2"}))  # which is shown all the same, and under the newest
    tally = await sweep(world)
    assert (tally.found, tally.running) == (0, 1)
    world.workflows.running.clear()
    await sweep(world)
    await nothing_incomplete(world)


async def test_node_too_large_under_a_new_definition_is_parked_once(world: World):
    process = world.process()
    await process.complete(create("p1", {"parts": [f"part-{number}" for number in range(EDGES_MAX + 1)]}))
    await process.complete(define(MANY_PARTS))
    await process.pipeline.reindexer.run(CLASS)
    tally = await sweep(world)
    assert (tally.found, tally.projected, tally.parked) == (1, 0, 1)
    assert "references" in tally.findings[-1].what
    again = await sweep(world)
    assert (again.found, again.parked) == (0, 1)


async def test_damage_is_told_with_its_place_and_holds_up_nobody(world: World):
    await world.process().complete(create())
    orphans = [update("p2"), create("p3"), create("p4")]
    for orphan in orphans[1:]:
        await die(world, orphan, "record")
    for number in range(3):
        await world.process().complete((create if number == 0 else update)("p5"))
    world.bucket.objects["commands/broken/000001.json"] = StoredObject(b"?")
    del world.bucket.objects[f"events/shop/Product/p5/{2:020d}.json"]
    tally = await sweep(world)
    assert (tally.finished, tally.damaged) == (2, 2)
    places = {finding.place for finding in tally.findings if finding.kind is FindingKind.DAMAGE}
    assert places == {"record 1 of command broken", "slot shop/Product/p5 2"}
    assert tally.oldest_left is not None


async def test_record_of_an_altered_command_is_reported_unwritten(world: World):
    command = create()
    await die(world, command, "record")
    key = f"commands/{command.command_id}/000001.json"
    world.bucket.objects[key] = StoredObject(world.bucket.objects[key].body.replace(b"CREATE_INSTANCE", b"UPSERT"))
    tally = await sweep(world)
    assert (tally.damaged, tally.finished) == (1, 0)
    assert "command_hash" in tally.findings[0].what
    assert world.logs() == {}


@pytest.mark.parametrize("kind", ["parked", "skipped"])
async def test_what_waits_for_a_person_is_told_and_left_alone(world: World, kind: str):
    await world.process().complete(create())
    world.documents.clear()
    await park(world)
    if kind == "skipped":
        await dead_letter_service_of(world).skip(PLACE, by="tester", reason="give up")
    tally = await sweep(world)
    assert (tally.found, tally.projected, tally.parked) == (0, 0, 1)
    (finding,) = tally.findings
    assert (finding.kind, finding.place) == (FindingKind.PARKED, f"aggregate {PLACE}")
    assert ("never" if kind == "parked" else "give up") in finding.what
    assert not world.documents.indices


async def test_unprojectable_command_is_parked_and_ends(world: World, monkeypatch: pytest.MonkeyPatch):
    refused = InputInvalid("no such field")
    monkeypatch.setattr(world.documents, "_write", lambda _document, **_: refused)
    command = create()
    await die(world, command, "record")
    tally = await sweep(world)
    assert (tally.finished, tally.parked, tally.damaged) == (1, 1, 0)
    assert "no such field" in tally.findings[-1].what
    status = await world.process().ports.statuses.read_status(command.command_id)
    assert status is not None
    assert status.stage is Stage.COMPLETED


@pytest.mark.parametrize("server", ["publisher", "documents", "graph"])
async def test_server_outage_leaves_the_rest_for_the_next_check(world: World, server: str):
    for instance_id in ("p1", "p2"):
        await world.process().complete(create(instance_id))
    await die(world, update(), "record")
    getattr(world, server).available = False
    if server != "publisher":
        with pytest.raises(StoreUnavailable):  # nothing can be compared at all
            await sweep(world)
    else:
        tally = await sweep(world)
        assert tally.unfinished == 2
        assert "Kafka" in tally.findings[-1].what
        assert tally.oldest_left is not None
    getattr(world, server).available = True
    await sweep(world)
    await nothing_incomplete(world)


@pytest.mark.parametrize("server", ["redis", "bucket"])
async def test_a_sweep_that_reaches_nothing_waits_for_the_server(world: World, server: str):
    await die(world, create(), "record")
    getattr(world, server).available = False
    with pytest.raises(StoreUnavailable):
        await sweep(world)


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("step", ["claim", "allocate", *RECORDED])
async def test_a_zombie_wakes_up_after_a_sweep_at_any_step(world: World, step: str, *, forgetful: bool):
    await world.process().complete(create())
    command = update(payload={"zombie": True})
    tallies: list[ReconcileSummary] = []

    async def sweep_meanwhile(done: str) -> None:
        if done == step:
            if forgetful:
                world.redis.flush()
            tallies.append(await sweep(world))

    result = await world.process().commit(command, after_step=sweep_meanwhile)
    assert (len(tallies), result.sequence_number) == (1, 2)
    assert tallies[0].finished == (step == "record")
    await sweep(world)
    await nothing_incomplete(world)
    (events,) = world.logs().values()
    assert len(events) == 2


@pytest.mark.parametrize("died_after", RECORDED)
@pytest.mark.parametrize("step", ["claim", "allocate", "persist", "publish", "project"])
@pytest.mark.parametrize("others", [False, True])
async def test_a_zombie_wakes_up_within_a_sweep_at_any_step(world: World, step: str, died_after: str, *, others: bool):
    await world.process().complete(create())
    command, other = update(payload={"zombie": True}), update(payload={"other": True})
    await die(world, command, died_after)
    answers: list[CommandResult] = []

    async def wake_up(done: str) -> None:
        if done == step and not answers:
            world.redis.leases.clear()
            if others:
                await world.process().complete(other)
            answers.append(await world.process().complete(command))

    await sweep(world, after_step=wake_up)
    await nothing_incomplete(world)
    (events,) = world.logs().values()
    assert len(events) == 2 + (others and bool(answers))
    for answer in answers:
        assert await world.process().commit(command) == answer


async def test_two_sweeps_at_once_are_one(world: World):
    await world.process().complete(create())
    commands = [update(payload={f"k{number}": 1}) for number in range(3)]
    for command, step in zip(commands, RECORDED, strict=True):
        await die(world, command, step)
        world.redis.leases.clear()
        if step == "record":
            world.redis.flush()

    async def once_more(done: str) -> None:
        if done == "allocate":
            await sweep(world)

    await sweep(world, after_step=once_more)
    await nothing_incomplete(world)
    (events,) = world.logs().values()
    assert sorted(event.command_id for event in events[1:]) == sorted(command.command_id for command in commands)


def test_tallies_add_up_and_keep_the_first_findings():
    def many(kind: FindingKind, count: int) -> Callable[[], ReconcileSummary]:
        return lambda: ReconcileSummary(
            found=count,
            findings=tuple(Finding(kind=kind, place=f"{number}", what="x") for number in range(count)),
            oldest_left=datetime(2026, 1, count % 28 + 1, tzinfo=UTC),
        )

    half, damage = many(FindingKind.HALF_DONE, 15), many(FindingKind.DAMAGE, 70)
    total = ReconcileSummary.sum([half(), half(), damage(), damage()])
    assert total.found == 170
    kept = [finding.kind for finding in total.findings]
    assert (kept.count(FindingKind.HALF_DONE), kept.count(FindingKind.DAMAGE)) == (
        FINDINGS_MAX[FindingKind.HALF_DONE],
        FINDINGS_MAX[FindingKind.DAMAGE],
    )
    assert total.oldest_left == datetime(2026, 1, 15, tzinfo=UTC)
    assert ReconcileSummary() + ReconcileSummary(found=1) == ReconcileSummary(found=1)
