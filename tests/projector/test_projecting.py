"""The log comes to be projected, whatever the stream, the servers and other projectors do."""

import asyncio
import random
from collections.abc import Callable, Sequence

import pytest
import structlog

from oncelog.domain.dead_letters import DeadLetterKind
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.projector import loop
from oncelog.read_models.projector.loop import IN_FLIGHT_MAX
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.stores.s3.bucket import StoredObject
from oncelog.testing.memory.kafka import MemoryPublisher
from tests.contract.chains import PLACE, chain
from tests.domain.former_events import forget_versions
from tests.projector.world import UNTIL_S, Running, Stream

STEPS = ("fetch", "fold", "show", "park", "commit")


@pytest.fixture
def stream() -> Stream:
    return Stream()


async def test_the_newest_of_each_aggregate_is_written_once_per_batch(stream: Stream):
    chains = [chain(5, f"p{number}") for number in range(20)]
    for events in chains:
        await stream.told(events)
    reads = stream.bucket.requests["GetObject"]
    async with stream.projector() as running:
        await stream.caught_up()
        stream.check_all_shown()
    assert running.count("events_processed_total") == 100
    assert stream.bucket.requests["GetObject"] == reads, "whole streams from their first event on need no log"


@pytest.mark.parametrize("seed", range(5))
async def test_duplicates_gaps_and_any_order_come_to_the_same(stream: Stream, seed: int):
    dice = random.Random(seed)
    chains = [chain(12, f"p{number}") for number in range(10)]
    sent = []
    for events in chains:
        await stream.write(events)
        kept = [event for event in events[:-1] if dice.random() > 0.3]
        sent += [*kept, *dice.choices(events, k=6), events[-1]]
    dice.shuffle(sent)
    await stream.send(sent)
    async with stream.projector(batch_messages_max=7):
        await stream.caught_up()
        stream.check_all_shown()


async def test_late_duplicates_are_counted_and_not_written(stream: Stream):
    events = chain(3)
    await stream.told(events)
    async with stream.projector() as running:
        await stream.caught_up()
        stream.documents.clear()  # so that a write would be seen
        await stream.send([*events, *events])
        await stream.caught_up()
        assert running.count("events_skipped_total") == 6
    assert stream.document() is None


async def test_nothing_is_committed_before_it_is_acknowledged(stream: Stream):
    await stream.told(chain(1))
    stream.documents.available = False
    asked = asyncio.Event()

    class Asked(DocumentsModel):
        async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
            outcomes = await super().project_states(states)
            asked.set()
            return outcomes

    running = stream.start(read_model=Asked(stream.documents))
    await asked.wait()
    assert stream.group.committed == {}
    await running.stop()
    assert stream.group.committed == {}
    stream.documents.available = True
    async with stream.projector():
        await stream.caught_up()
    stream.check_all_shown()


class Watched(DocumentsModel):
    """Documents that tell what is being written at the same time; ``gate`` holds a write up once it is under way."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream.documents)
        self.under_way: list[set[str]] = []
        self.most_at_once = 0
        self.written: list[tuple[str, int]] = []
        self.changed = asyncio.Condition()

    async def gate(self, _names: set[str]) -> None:
        await asyncio.sleep(0)

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        names = {state.aggregate_id for state in states}
        assert all(names.isdisjoint(others) for others in self.under_way), "one aggregate is written by one at a time"
        self.under_way.append(names)
        self.most_at_once = max(self.most_at_once, len(self.under_way))
        try:
            await self._tell()
            await self.gate(names)
            outcomes = await super().project_states(states)
            self.written += [(state.aggregate_id, state.sequence_number) for state in states]
            return outcomes
        finally:
            self.under_way.remove(names)
            await self._tell()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(UNTIL_S), self.changed:
            await self.changed.wait_for(condition)

    async def _tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()


class FirstHeld(Watched):
    """The writes of the first aggregate wait until they are let go."""

    def __init__(self, stream: Stream) -> None:
        super().__init__(stream)
        self.let_go = asyncio.Event()

    async def gate(self, names: set[str]) -> None:
        if "shop/Product/p0" in names:
            await self.let_go.wait()


async def test_batches_of_different_aggregates_are_written_in_parallel(stream: Stream):
    class Together(Watched):
        async def gate(self, _names: set[str]) -> None:
            await self.until(lambda: self.most_at_once == IN_FLIGHT_MAX)

    for number in range(20):
        await stream.told(chain(2, f"p{number}"))
    model = Together(stream)
    async with stream.projector(read_model=model, batch_messages_max=2):
        await stream.caught_up()
    assert model.most_at_once == IN_FLIGHT_MAX
    stream.check_all_shown()


@pytest.mark.parametrize("seed", range(3))
async def test_versions_of_one_aggregate_are_written_in_order(stream: Stream, seed: int):
    dice = random.Random(seed)

    class Dawdling(Watched):
        async def gate(self, _names: set[str]) -> None:
            for _ in range(dice.randrange(20)):
                await asyncio.sleep(0)

    chains = [chain(15, f"p{number}") for number in range(8)]
    for events in chains:
        await stream.write(events)
    waiting = [list(events) for events in chains]
    while waiting:  # each one's in order, all of them mixed
        events = dice.choice(waiting)
        await stream.send([events.pop(0)])
        waiting = [each for each in waiting if each]
    model = Dawdling(stream)
    async with stream.projector(read_model=model, batch_messages_max=3):
        await stream.caught_up()
    assert model.most_at_once > 1
    for events in chains:
        shown = [number for name, number in model.written if name == events[0].aggregate_id]
        assert shown == sorted(set(shown))
    stream.check_all_shown()


@pytest.mark.parametrize("dies", [True, False])
async def test_offset_of_an_unfinished_batch_is_not_committed(dies: bool):
    stream = Stream(publisher=MemoryPublisher(partitions=1))
    for number in range(IN_FLIGHT_MAX):
        await stream.told(chain(2, f"p{number}"))
    model = FirstHeld(stream)
    running = stream.start(read_model=model, batch_messages_max=2)
    await model.until(lambda: len(model.written) == IN_FLIGHT_MAX - 1)
    for _ in range(200):  # more than enough for a commit
        await asyncio.sleep(0)
    assert stream.group.committed == {}
    assert stream.document("p0") is None
    if dies:
        await running.crash()
        running = stream.start(batch_messages_max=2)
    model.let_go.set()
    await stream.caught_up()
    await running.stop()
    stream.check_all_shown()


@pytest.mark.parametrize("batch_bytes", [loop.BATCH_BYTES_MAX, 1])
async def test_revoked_partitions_with_batches_in_flight_lose_nothing(
    stream: Stream, monkeypatch: pytest.MonkeyPatch, batch_bytes: int
):
    monkeypatch.setattr(loop, "HAND_OVER_S", 0.01)  # held batches do not land in time
    monkeypatch.setattr(loop, "BATCH_BYTES_MAX", batch_bytes)
    for number in range(40):
        await stream.told(chain(2, f"p{number}"))
    model = FirstHeld(stream)
    async with stream.projector(read_model=model, batch_messages_max=3) as one:
        await model.until(lambda: len(model.under_way) == 1 and len(model.written) > 0)
        async with stream.projector(batch_messages_max=3) as two:
            await model.until(lambda: not model.under_way)  # called off
            model.let_go.set()
            await stream.caught_up()
            assert one.subscription.positions.keys().isdisjoint(two.subscription.positions)
    stream.check_all_shown()


async def test_fetch_during_a_revoke_is_not_committed_early(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(loop, "HAND_OVER_S", 0.2)
    monkeypatch.setattr(loop, "REFRESH_S", 0.01)
    stream = Stream(publisher=MemoryPublisher(partitions=1))
    await stream.told(chain(1, "p0"))
    model = FirstHeld(stream)
    async with stream.projector(read_model=model) as running:
        await model.until(lambda: len(model.under_way) == 1)
        async with stream.projector():  # gets nothing: there is one partition, and it stays where it was
            await stream.told(chain(1, "p1"))
            await model.until(lambda: not model.under_way)
            model.let_go.set()
            await stream.caught_up()
            await until_nothing_is_behind(running)
    stream.check_all_shown()


async def test_defect_ends_the_projector_without_a_commit_beyond_it():
    stream = Stream(publisher=MemoryPublisher(partitions=1))
    for number in range(6):
        await stream.told(chain(1, f"p{number}"))
    done = 0

    async def fail(step: str) -> None:
        nonlocal done
        done += step == "park"
        if step == "park" and done == 2:
            raise ZeroDivisionError("a defect")

    running = stream.start(after_step=fail, batch_messages_max=1)
    with pytest.raises(ZeroDivisionError):
        await running.task
    assert stream.group.committed == {0: (0, 1)}


async def until_nothing_is_behind(running: Running) -> None:
    """Wait until the projector counts no message that is not projected yet, in any of its partitions."""
    async with asyncio.timeout(UNTIL_S):
        while any(running.count("projection_lag_events", partition=str(number)) for number in range(4)):
            await asyncio.sleep(0.002)


async def test_nothing_is_behind_once_all_is_committed(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "REFRESH_S", 0.01)
    for number in range(8):
        await stream.told(chain(1, f"p{number}"))
    async with stream.projector(batch_messages_max=1) as running:
        await stream.caught_up()
        await until_nothing_is_behind(running)


def test_age_of_messages_that_were_not_taken_is_not_told():
    metrics = ProjectorMetrics("documents")
    metrics.lag({0: 3, 1: 2, 2: 0}, {1: 700.0})
    ages = [
        metrics.registry.get_sample_value("projection_lag_ms", {"read_model": "documents", "partition": str(number)})
        for number in range(3)
    ]
    assert ages == [None, 700.0, 0.0]


async def test_batches_in_flight_are_behind(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "REFRESH_S", 0.01)
    stream = Stream(publisher=MemoryPublisher(partitions=1))
    messages = 2 * IN_FLIGHT_MAX
    for number in range(messages):
        await stream.told(chain(1, f"p{number}"))
    model = FirstHeld(stream)
    async with stream.projector(read_model=model, batch_messages_max=1) as running:
        await model.until(lambda: len(model.written) == IN_FLIGHT_MAX - 1)
        running.metrics.lag({}, {})  # as it was measured before: all were behind then, too
        async with asyncio.timeout(UNTIL_S):
            while running.count("projection_lag_events", partition="0") != messages:
                await asyncio.sleep(0.002)
        model.let_go.set()
        await stream.caught_up()
        await until_nothing_is_behind(running)


async def test_batches_revoked_while_folded_are_not_behind(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "REFRESH_S", 0.01)
    monkeypatch.setattr(loop, "BATCH_BYTES_MAX", 1)
    folded, go_on = asyncio.Event(), asyncio.Event()

    async def hold(step: str) -> None:
        if step == "fold" and not go_on.is_set():
            folded.set()
            await go_on.wait()

    for number in range(8):
        await stream.told(chain(1, f"p{number}"))
    async with stream.projector(after_step=hold) as one:
        await folded.wait()
        async with stream.projector():
            go_on.set()
            await stream.caught_up()
            await until_nothing_is_behind(one)
    stream.check_all_shown()


async def test_messages_are_folded_in_batches_of_bounded_size(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    events = [chain(1, f"p{number}")[0] for number in range(9)]
    monkeypatch.setattr(loop, "BATCH_BYTES_MAX", 3 * max(len(event.canonical) for event in events))
    for event in events:
        await stream.told([event])
    sizes: list[int] = []

    class Counted(DocumentsModel):
        async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
            sizes.append(len(states))
            return await super().project_states(states)

    async with stream.projector(read_model=Counted(stream.documents)):
        await stream.caught_up()
    assert sizes == [3, 3, 3]
    stream.check_all_shown()


async def test_batch_waits_for_documents_out_of_reach(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    model = DocumentsModel(stream.documents)
    apply, outages = model.project_states, 2

    async def refuse(states: Sequence[Instance]) -> Sequence[Exception | None]:
        nonlocal outages
        if outages:
            outages -= 1
            raise StoreUnavailable("Elasticsearch in memory", "writing", "a test")
        return await apply(states)

    monkeypatch.setattr(model, "project_states", refuse)
    await stream.told(chain(2))
    async with stream.projector(read_model=model):
        await stream.caught_up()
    stream.check_all_shown()
    assert stream.failures.announced == []


class SomeRefused(DocumentsModel):
    """Documents of which some can never be shown."""

    def __init__(self, stream: Stream, refused: set[tuple[str, int]]) -> None:
        super().__init__(stream.documents)
        self.refused = refused

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        bad = [(state.aggregate_id.rpartition("/")[2], state.sequence_number) in self.refused for state in states]
        good = [state for state, is_bad in zip(states, bad, strict=True) if not is_bad]
        outcomes = iter(await super().project_states(good))
        return [InputInvalid("it can never be taken") if is_bad else next(outcomes) for is_bad in bad]


async def test_one_that_can_never_be_shown_waits_and_the_others_flow(stream: Stream):
    one, other = chain(4, "p1"), chain(4, "p2")
    for events in (one, other):
        await stream.write(events)
        await stream.send(events[:3])
    model = SomeRefused(stream, {("p1", 3), ("p1", 2)})
    async with stream.projector(read_model=model) as running:
        await stream.caught_up()
        document = stream.document("p1")
        assert document is not None
        assert document.sequence_number == 1, "the newest version that can be shown is"
        await stream.send([one[3], other[3]])
        await stream.caught_up()
        assert running.count("events_failed_total", code="InputInvalid") == 1
        assert running.count("events_waiting_total") == 1
    assert stream.document("p1") == document
    stream.check_document(AggregateId.parse("shop/Product/p2"))
    (told,) = stream.failures.announced
    assert told[0] == "shop/Product/p1"
    assert (told[1]["code"], told[1]["sequence_number"]) == ("InputInvalid", 3)


async def test_parked_aggregate_is_projected_after_a_retry(stream: Stream):
    events = chain(6)
    await stream.write(events)
    await stream.send(events[:3])
    model = SomeRefused(stream, {("p1", 3)})
    async with stream.projector(read_model=model):
        await stream.caught_up()
        await stream.send(events[3:5])
        await stream.caught_up()
        mended = await stream.dead_letter_service().retry(PLACE, by="ann")
        assert (mended.kind, mended.by) == (DeadLetterKind.RESOLVED, "ann")
        stream.check_all_shown()  # through 6, which the stream has not told yet
        await stream.send(events[5:])
        await stream.caught_up()
    stream.check_all_shown()


async def _damage(stream: Stream, number: int) -> StoredObject:
    key = f"events/{PLACE}/{number:020d}.json"
    whole = stream.bucket.objects[key]
    stream.bucket.objects[key] = StoredObject(whole.body.replace(b"INSTANCE", b"INSTANCF", 1), whole.metadata)
    return whole


async def test_damaged_event_is_not_folded_and_earlier_ones_are(stream: Stream):
    events = chain(5)
    await stream.write(events)
    whole = await _damage(stream, 4)
    await stream.send([events[4]])
    async with stream.projector() as running:
        await stream.caught_up()
        document = stream.document()
        assert document is not None
        assert document.sequence_number == 3
        assert running.count("events_failed_total", code="LogDamaged") == 1
        dead_letter = await running.parking.last_dead_letter(PLACE)
        assert dead_letter is not None
        assert (dead_letter.kind, dead_letter.sequence_number) == (DeadLetterKind.PARKED, 4)
        again = await stream.dead_letter_service().retry(PLACE, by="ann")
        assert (again.kind, again.number) == (DeadLetterKind.PARKED, 3)
        stream.bucket.objects[f"events/{PLACE}/{4:020d}.json"] = whole
        assert (await stream.dead_letter_service().retry(PLACE, by="ann")).kind is DeadLetterKind.RESOLVED
    stream.check_all_shown()


async def test_event_from_the_future_waits_for_an_upgrade(stream: Stream):
    future, known = chain(4), chain(1, "p2")
    await stream.write(future)
    with pytest.MonkeyPatch.context() as patch:
        forget_versions(patch, "INSTANCE_UPDATED", since="2.0.0")
        await stream.send(future[:2])
        async with stream.projector() as running:
            await stream.caught_up()
            dead_letter = await running.parking.last_dead_letter(PLACE)
            assert dead_letter is not None
            assert (dead_letter.kind, dead_letter.code, dead_letter.sequence_number) == (
                DeadLetterKind.PARKED,
                "EventFromFuture",
                2,
            )
            await stream.told(known)
            await stream.send(future[2:])
            await stream.caught_up()
            assert (running.count("events_waiting_total"), running.count("events_processed_total")) == (2, 1)
            again = await stream.dead_letter_service().retry(PLACE, by="ann")
            assert (again.kind, again.code) == (DeadLetterKind.PARKED, "EventFromFuture"), "not before the upgrade"
        document = stream.document()
        assert document is not None
        assert document.sequence_number == 1, "what can be read is shown"
        stream.check_document(AggregateId.parse("shop/Product/p2"))
    assert (await stream.dead_letter_service().retry(PLACE, by="ann")).kind is DeadLetterKind.RESOLVED
    stream.check_all_shown()


async def test_a_message_that_cannot_be_read_is_read_from_the_log(stream: Stream):
    events = chain(2)
    await stream.write(events)
    stream.publisher.append(str(PLACE).encode(), b"\xff", [("sequence_number", b"1")])
    stream.publisher.append(str(PLACE).encode(), events[1].canonical[:-9])
    async with stream.projector():
        await stream.caught_up()
    stream.check_all_shown()
    assert stream.failures.announced == []


async def test_gap_waits_for_a_log_out_of_reach(stream: Stream):
    events = chain(3)
    await stream.write(events)
    await stream.send(events[2:])
    outages = 3

    def refuse(operation: str, key: str) -> None:
        nonlocal outages
        if operation == "GetObject" and key.startswith("events/") and outages:
            outages -= 1
            raise StoreUnavailable("S3 in memory", f"{operation} {key}", "a test")

    stream.bucket.before = refuse
    async with stream.projector():
        await stream.caught_up()
    assert not outages
    stream.check_all_shown()
    assert stream.failures.announced == []


@pytest.mark.parametrize("key", [b"", b"\xff", b"shop", b"shop/Product/../x"])
async def test_a_message_of_no_aggregate_is_told_and_passed(stream: Stream, key: bytes):
    stream.publisher.append(key, b"hello")
    async with stream.projector() as running:
        await stream.caught_up()
        assert running.count("events_failed_total", code="MessageStray") == 1
    ((_, told),) = stream.failures.announced
    assert (told["code"], told["value"]) == ("MessageStray", "hello")


async def test_message_of_an_aggregate_without_events_is_parked_alone(stream: Stream):
    stream.publisher.append(b"shop/Product/ghost", b"{}")
    await stream.told(chain(1))
    async with stream.projector():
        await stream.caught_up()
    stream.check_all_shown()
    assert [key for key, _ in stream.failures.announced] == ["shop/Product/ghost"]


async def test_cached_state_that_does_not_fit_is_replaced_from_the_log(stream: Stream):
    forged, true = chain(2, n=1), chain(3)
    await stream.write(true)
    await stream.send(forged[:1])
    async with stream.projector():
        await stream.caught_up()
        await stream.send(true[1:])
        await stream.caught_up()
    stream.check_all_shown()
    assert stream.failures.announced == []


async def test_misfit_waits_for_a_log_out_of_reach(stream: Stream):
    forged, true = chain(2, n=1), chain(3)
    await stream.write(true)
    await stream.send(forged[:1])
    outages = 2

    def refuse(operation: str, key: str) -> None:
        nonlocal outages
        if operation == "GetObject" and key.startswith("events/") and outages:
            outages -= 1
            raise StoreUnavailable("S3 in memory", f"{operation} {key}", "a test")

    async with stream.projector():
        await stream.caught_up()
        stream.bucket.before = refuse
        await stream.send(true[1:])
        await stream.caught_up()
    assert not outages
    stream.check_all_shown()
    assert stream.failures.announced == []


@pytest.mark.parametrize("step", STEPS)
async def test_projector_dead_after_any_step_is_finished_by_the_next(step: str):
    stream = Stream(publisher=MemoryPublisher(partitions=1))
    chains = [chain(4, f"p{number}") for number in range(8)]
    for events in chains:
        await stream.write(events)
        await stream.send([event for event in events if event.sequence_number != 2])
    whole = await _damage(stream, 2)
    died = asyncio.Event()

    async def die(done: str) -> None:
        if done == step:
            died.set()
            await asyncio.Event().wait()

    running = stream.start(after_step=die, batch_messages_max=5)
    await died.wait()
    await running.crash()
    async with stream.projector(batch_messages_max=5):
        await stream.caught_up()
    stream.bucket.objects[f"events/{PLACE}/{2:020d}.json"] = whole
    for number in (0, *range(2, 8)):
        stream.check_document(AggregateId.parse(f"shop/Product/p{number}"))
    assert {key for key, _ in stream.failures.announced} == {str(PLACE)}
    dead_letters = [key for key in stream.bucket.objects if key.startswith("dead-letters/")]
    assert dead_letters == [f"dead-letters/documents/{PLACE}/000001.json"]


async def test_projectors_hand_over_in_the_middle_of_a_batch(stream: Stream):
    chains = [chain(6, f"p{number}") for number in range(60)]
    for events in chains:
        await stream.write(events)
        await stream.send(events[:3])
    async with stream.projector(batch_messages_max=10) as one:
        async with stream.projector(batch_messages_max=10) as two:
            for events in chains:
                await stream.send(events[3:])
            await stream.caught_up()
            assert len(one.subscription.positions) == len(two.subscription.positions) == 2
        assert len(one.subscription.positions) == 4
        await stream.send([events[0] for events in chains])
        await stream.caught_up()
    assert two.count("events_processed_total") > 0
    stream.check_all_shown()


async def test_a_topic_made_anew_is_read_from_its_start(stream: Stream):
    old, new = chain(9), chain(12, "p2")
    await stream.write([*old, *new])
    await stream.send(old)
    async with stream.projector():
        await stream.caught_up()
        stream.publisher.make_anew()
        await stream.send(new)
        await stream.caught_up()
        stream.check_all_shown()
        stream.publisher.make_anew()
    events = chain(30, "p3")
    await stream.told(events)
    async with stream.projector():
        await stream.caught_up()
    stream.check_all_shown()


async def test_it_stops_although_no_server_answers(stream: Stream):
    await stream.told(chain(1))
    for server in ("documents", "bucket"):
        getattr(stream, server).available = False
        with structlog.testing.capture_logs() as said:
            running = stream.start()
            async with asyncio.timeout(UNTIL_S):
                while not any(entry["event"] == "projector_waits" for entry in said):
                    await asyncio.sleep(0)
        async with asyncio.timeout(60):
            await running.stop()
        getattr(stream, server).available = True


async def test_a_defect_in_one_state_parks_that_aggregate_only(stream: Stream):
    class Defective(DocumentsModel):
        async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
            if any(state.aggregate_id == str(PLACE) for state in states):
                raise ZeroDivisionError("a defect")
            return await super().project_states(states)

    for name in ("p1", "p2"):
        await stream.told(chain(1, name))
    async with stream.projector(read_model=Defective(stream.documents)) as running:
        await stream.caught_up()
        dead_letter = await running.parking.last_dead_letter(PLACE)
    assert dead_letter is not None
    assert (dead_letter.code, dead_letter.reason) == ("Defect", "ZeroDivisionError: a defect")
    stream.check_document(AggregateId.parse("shop/Product/p2"))
