"""A verification beside others who write: work under way is pending, orphans are violations."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from io import StringIO

import pytest
from rich.console import Console

from oncelog.checks.verify import Report, Verdict, nothing_in_flight, verify
from oncelog.cli.verify import report_view
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.ports import TopicRecord
from oncelog.read_models.parking import Parking
from oncelog.stores.s3 import StoredObject
from oncelog.testing.memory.kafka import MEMORY_TOPIC
from oncelog.testing.memory.s3 import MemoryDeadLetters, MemoryTopicRecords
from oncelog.verification import reading
from oncelog.verification.findings import Code, Severity
from tests.classes import SECOND, define
from tests.commands import create, update
from tests.contract.chains import PLACE
from tests.verification import graph_damage
from tests.verification.damage import DESK, LAMP, drop_message, healthy, index_of, rewrite
from tests.write.sweeper import sweep
from tests.write.test_crashes import Crashed, crash_after
from tests.write.test_parking import dead_letter_service_of, park
from tests.write.world import World

LEFT = {"record": Code.COMMAND_UNFINISHED, "persist": Code.MESSAGE_MISSING, "publish": Code.DOCUMENT_MISSING}


#: Prefixes in the order in which a verification lists them.
LISTED = ("commands/", "events/shop/Product/")


def after_each_prefix(patch: pytest.MonkeyPatch, action: Callable[[str], Awaitable[None]]) -> None:
    """Do something whenever a verification has listed all objects with a prefix."""
    listed_objects = reading.listed_objects

    async def listed(bucket, prefix, **bounds):
        async for each in listed_objects(bucket, prefix, **bounds):
            yield each
        await action(prefix)

    patch.setattr(reading, "listed_objects", listed)


async def everything(command_ids: Collection[str]) -> Collection[str]:
    return command_ids


def codes(report: Report) -> dict[Code, Severity]:
    return {finding.code: finding.severity for finding in report.findings}


async def left_after(step: str) -> World:
    world = await healthy()
    with pytest.raises(Crashed):
        await world.process().commit(create("left", command_id="left-1"), after_step=crash_after(step))
    return world


async def test_a_healthy_installation_is_sound_and_counted():
    report = await verify((await healthy()).sources, in_flight=nothing_in_flight)
    assert (report.verdict, report.findings, report.run) == (Verdict.SOUND, [], None)
    read = report.read
    assert (read.aggregates, read.events, read.commands, read.documents) == (3, 15, 18, 3)
    assert (read.messages, read.duplicates, read.nodes) == (16, 1, 3)


@pytest.mark.parametrize("step", LEFT)
async def test_what_is_under_way_is_pending_and_no_violation(step: str):
    report = await verify((await left_after(step)).sources, in_flight=everything)
    assert codes(report)[LEFT[step]] is Severity.PENDING
    assert (report.verdict, set(codes(report).values())) == (Verdict.SOUND, {Severity.PENDING})
    assert report.summary.pending == len(report.findings)


@pytest.mark.parametrize("step", LEFT)
async def test_what_nobody_works_on_is_a_violation(step: str):
    report = await verify((await left_after(step)).sources, in_flight=nothing_in_flight)
    assert codes(report)[LEFT[step]] is Severity.VIOLATION
    assert report.verdict is Verdict.VIOLATED


@pytest.mark.parametrize("step", LEFT)
async def test_work_finished_during_the_check_is_no_finding(step: str):
    world = await left_after(step)

    async def finish(command_ids: Collection[str]) -> Collection[str]:
        assert command_ids == {"left-1"}
        await world.process().run(create("left", command_id="left-1"))
        return ()

    report = await verify(world.sources, in_flight=finish)
    assert report.findings == []


async def test_what_is_written_while_it_reads_is_no_finding():
    """Messages and documents of events that the log did not have yet, of known and of new aggregates."""
    world = await healthy()
    written: list[str] = []

    async def write_on(what: str) -> None:
        if what in written:
            return
        written.append(what)
        for command in (update("lamp", {what: 1}), create(f"new-{what}"), create("lamp")):
            await world.process().run(command)

    with pytest.MonkeyPatch.context() as patch:
        after_each_prefix(patch, write_on)
        report = await verify(world.sources, in_flight=nothing_in_flight)
    assert report.findings == []
    assert [prefix for prefix in written if prefix in LISTED] == list(LISTED)


async def test_damage_is_a_violation_whoever_is_at_work():
    world = await healthy()
    rewrite(world, LAMP, 2, data={"price": 9})
    drop_message(world, LAMP, 3)
    report = await verify(world.sources, in_flight=everything)
    assert report.verdict is Verdict.VIOLATED
    assert {Code.CHAIN_BROKEN, Code.MESSAGE_OUT_OF_ORDER} <= set(codes(report))


async def test_a_document_that_is_parked_is_pending_with_its_reason():
    world = await healthy()
    index_of(world).pop("lamp")
    dead_letters = MemoryDeadLetters(world.bucket)
    parking = Parking(read_model="documents", dead_letters=dead_letters, failures=world.failures)
    await parking.park(AggregateId.parse(LAMP), sequence_number=1, error=InputInvalid("never to be held"))
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert codes(report) == {Code.DOCUMENT_PARKED: Severity.PENDING}
    assert report.verdict is Verdict.SOUND
    assert "never to be held" in report.findings[0].found


async def test_skipped_version_is_pending_and_a_later_one_is_not():
    world = World()
    process = world.process()
    await process.complete(create())
    world.documents.clear()
    await park(world)
    await dead_letter_service_of(world).skip(PLACE, by="ann", reason="of no use")
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert codes(report) == {Code.DOCUMENT_PARKED: Severity.PENDING}
    assert "SKIPPED by ann: of no use" in report.findings[0].found
    await process.commit(update())
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert codes(report)[Code.DOCUMENT_MISSING] is Severity.VIOLATION


async def test_parked_node_is_pending_in_its_own_read_model_only():
    world = await healthy()
    for read_model, lamp in (("graph", LAMP), ("documents", DESK)):
        world.graph.nodes.pop(AggregateId.parse(lamp))
        parking = Parking(read_model=read_model, dead_letters=MemoryDeadLetters(world.bucket), failures=world.failures)
        await parking.park(AggregateId.parse(lamp), sequence_number=1, error=InputInvalid("too many references"))
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert {(finding.code, finding.severity, finding.where) for finding in report.findings} == {
        (Code.NODE_PARKED, Severity.PENDING, f"node {LAMP}"),
        (Code.NODE_MISSING, Severity.VIOLATION, f"node {DESK}"),
    }


async def test_nodes_wait_for_the_definition_that_is_under_way():
    world = await graph_damage.healthy()
    await world.process().run(define(SECOND, command_id="second"))
    asked: list[str] = []

    async def watched(command_ids: Collection[str]) -> Collection[str]:
        asked.extend(command_ids)
        return command_ids

    report = await verify(world.sources, in_flight=watched)
    assert (codes(report), asked) == ({Code.NODE_STALE: Severity.PENDING}, ["second"])
    left = await verify(world.sources, in_flight=nothing_in_flight)
    assert codes(left) == {Code.NODE_STALE: Severity.VIOLATION}

    async def regraphed(_: Collection[str]) -> Collection[str]:
        await world.process().pipeline.graph_rebuilder.run(graph_damage.CLASS)
        return ()

    assert (await verify(world.sources, in_flight=regraphed)).findings == []


async def test_class_redefined_while_it_is_read_is_no_finding():
    world = await graph_damage.healthy()
    again = iter([graph_damage.redefine(world, SECOND, command_id="second")])

    async def redefine(prefix: str) -> None:
        if prefix == "events/shop/Product/":
            for redefining in again:
                await redefining

    with pytest.MonkeyPatch.context() as patch:
        after_each_prefix(patch, redefine)
        report = await verify(world.sources, in_flight=nothing_in_flight)
    assert report.findings == []
    assert {node.definition_sequence for node in world.graph.nodes.values()} == {3}


async def test_nodes_of_a_class_with_a_damaged_log_are_not_judged():
    world = await graph_damage.healthy()
    del world.bucket.objects[f"events/shop/_class/Product/{1:020d}.json"]
    world.graph.nodes.pop(graph_damage.DESK)
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert set(codes(report)) & {Code.NODE_MISSING, Code.NODE_WRONG, Code.NODE_STALE} == {Code.NODE_MISSING}


@dataclass
class Projecting:
    """Projectors of both read models, which have come to an offset of the one partition there is."""

    offset: int
    asked: list[str] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None

    async def reached(self, read_model: str) -> Mapping[int, int]:
        self.asked.append(read_model)
        self.meanwhile()
        return {0: self.offset}


async def unshown() -> tuple[World, int]:
    """Lamp is in no read model; the offset of its head's first delivery."""
    world = await healthy()
    index_of(world).pop("lamp")
    world.graph.nodes.pop(AggregateId.parse(LAMP))
    head = world.logs()[LAMP][-1].canonical
    return world, min(message.offset for message in world.publisher.messages if message.value == head)


LAMP_MISSING = (Code.DOCUMENT_MISSING, Code.NODE_MISSING)


@pytest.mark.parametrize("ever_seen", [True, False])
async def test_what_projectors_are_yet_to_come_to_is_pending(*, ever_seen: bool):
    world, head = await unshown()
    projectors = Projecting(head if ever_seen else 0)
    report = await verify(world.sources, in_flight=nothing_in_flight, projectors=projectors)
    assert (codes(report), report.verdict) == (dict.fromkeys(LAMP_MISSING, Severity.PENDING), Verdict.SOUND)
    assert projectors.asked == ["documents", "graph"]
    assert report.unattended == ([] if ever_seen else ["documents", "graph"])
    for finding in report.findings:
        assert ("was ever seen" in finding.found) == (not ever_seen)
    told = Console(width=200, record=True, file=StringIO())
    told.print(report_view(report))
    assert ("ONCELOG_PROJECTOR_READ_MODEL=graph" in told.export_text()) == (not ever_seen)
    assert codes(await verify(world.sources, in_flight=nothing_in_flight)) == dict.fromkeys(
        LAMP_MISSING, Severity.VIOLATION
    )


async def test_what_projectors_have_passed_and_is_not_shown_is_lost():
    world, head = await unshown()
    report = await verify(world.sources, in_flight=nothing_in_flight, projectors=Projecting(head + 1))
    assert codes(report) == dict.fromkeys(LAMP_MISSING, Severity.VIOLATION)


async def test_unpublished_event_is_not_expected_of_projectors():
    world = await left_after("persist")
    report = await verify(world.sources, in_flight=nothing_in_flight, projectors=Projecting(0))
    assert set(codes(report).values()) == {Severity.VIOLATION}


async def test_what_projectors_show_while_they_are_asked_is_no_finding():
    world, _ = await unshown()
    sound = await healthy()

    def show() -> None:
        index_of(world)["lamp"] = index_of(sound)["lamp"]
        world.graph.nodes[AggregateId.parse(LAMP)] = sound.graph.nodes[AggregateId.parse(LAMP)]

    projectors = Projecting(len(world.publisher.messages), meanwhile=show)
    assert (await verify(world.sources, in_flight=nothing_in_flight, projectors=projectors)).findings == []


async def test_one_database_is_looked_at_alone():
    world = await healthy()
    await world.process().run(create("DE", db_name="geo", class_id="Country", command_id="geo-1"))
    index_of(world).clear()
    alone = await verify(world.sources, in_flight=nothing_in_flight, db_name="geo")
    assert (alone.findings, alone.read.events, alone.read.commands, alone.read.messages) == ([], 1, 1, 1)
    assert alone.read.nodes == 1
    both = await verify(world.sources, in_flight=nothing_in_flight)
    assert set(codes(both)) == {Code.DOCUMENT_MISSING}


async def lose_topic(world: World) -> None:
    """Lose the topic and make it anew, as workers record it."""
    world.publisher.make_anew()
    records = MemoryTopicRecords(world.bucket)
    for generation in (1, 2):
        await records.write_topic_record(MEMORY_TOPIC, TopicRecord(generation, str(generation - 1), partitions=6))


async def test_lost_topic_has_to_hold_the_whole_log_again():
    world = await healthy()
    await lose_topic(world)
    await world.process().run(update("lamp", {"on": True}))
    before = await verify(world.sources, in_flight=nothing_in_flight)
    assert set(codes(before)) == {Code.MESSAGE_MISSING}, "only a command's own aggregate is whole again"
    await sweep(world)
    assert (await verify(world.sources, in_flight=nothing_in_flight)).findings == []


async def test_early_event_in_a_topic_made_anew_comes_again():
    """A worker that has not noticed yet sends event 3 into the new topic, where consumers drop it."""
    world = await healthy()
    process = world.process()
    for number in (1, 2):
        await process.run(update("lamp", {"n": number}))
    early = world.publisher.messages[-1]
    await lose_topic(world)
    world.publisher.messages.append(replace(early, offset=0))
    alone = await verify(world.sources, in_flight=nothing_in_flight)
    assert set(codes(alone)) == {Code.MESSAGE_MISSING}
    await sweep(world)
    assert (await verify(world.sources, in_flight=nothing_in_flight)).findings == []


async def test_early_event_in_a_topic_never_lost_is_a_violation():
    world = await healthy()
    await world.process().run(update("lamp", {"n": 1}))
    world.publisher.messages.insert(0, world.publisher.messages[-1])
    found = await verify(world.sources, in_flight=nothing_in_flight)
    assert Code.MESSAGE_OUT_OF_ORDER in codes(found)


async def test_a_server_that_hiccups_is_asked_again(monkeypatch: pytest.MonkeyPatch):
    world = await healthy()
    monkeypatch.setattr(reading, "FIRST_PAUSE_S", 0)
    tries: Counter[tuple[str, str]] = Counter()

    def before(operation: str, key: str) -> None:
        tries[operation, key] += 1
        if tries[operation, key] <= 2:
            raise StoreUnavailable("S3", operation, "hiccup")

    world.bucket.before = before
    assert (await verify(world.sources, in_flight=nothing_in_flight)).findings == []


async def test_a_server_that_is_down_is_no_verdict(monkeypatch: pytest.MonkeyPatch):
    world = await healthy()
    monkeypatch.setattr(reading, "FIRST_PAUSE_S", 0)
    world.bucket.available = False
    with pytest.raises(StoreUnavailable):
        await verify(world.sources, in_flight=nothing_in_flight)


async def test_findings_are_kept_in_bounded_memory_and_all_counted():
    world = World()
    for number in range(1_200):
        world.bucket.objects[f"events/shop/Product/p{number}/{1:020d}.json"] = StoredObject(b"{}")
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert report.counts == {Severity.VIOLATION: {Code.OBJECT_UNREADABLE: 1_200}}
    assert len(report.findings) == 1_000
