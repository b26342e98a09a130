"""Conflicts and invalidations follow from the slots alone, whichever attempt reads them and however far each came."""

from collections.abc import Callable
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from oncelog.domain.bulk.binding import (
    ConflictOutcome,
    bind,
    by_aggregate,
    conflict_outcomes,
    last_bindings,
    to_retry,
)
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.items import ItemChange, change_of
from oncelog.domain.bulk.plan import ItemsScanner
from oncelog.domain.bulk.records import Binding, BulkRecord, ChunkRecord, Closed, bulk_record, chunk_record
from oncelog.domain.commands import Command
from oncelog.domain.events import Event
from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.instance import Instance, decide, evolve
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.domain.unique.entry import UniqueEntry
from tests.bulks import bulk_create, bulk_delete, bulk_update, item, ndjson
from tests.commands import create, delete, update

NOON = "2026-01-01T12:00:00.000000Z"


def no_entries(_entry: UniqueEntry) -> bool:
    raise AssertionError("no item here brings in a unique value")


class Log:
    """The slots of all aggregates."""

    def __init__(self) -> None:
        self.events: dict[str, list[Event]] = {}

    def state(self, aggregate_id: str, sequence_number: int | None = None) -> Instance:
        state = Instance(aggregate_id=aggregate_id)
        for event in self.events.get(aggregate_id, [])[:sequence_number]:
            state = evolve(state, event)
        return state

    def event_in(self, aggregate_id: str, slot: int) -> str | None:
        events = self.events.get(aggregate_id, [])
        return events[slot - 1].event_id if slot <= len(events) else None

    def put(self, event: Event) -> None:
        events = self.events.setdefault(event.aggregate_id, [])
        if len(events) == event.sequence_number - 1:  # else it is taken, and a conditional PUT changes nothing
            evolve(self.state(event.aggregate_id), event)
            events.append(event)

    def apply(self, command: Command) -> None:
        decision = decide(self.state(str(command.aggregate_id)), command, occurred_at=NOON)
        if isinstance(decision, Event):
            self.put(decision)


def opened(bulk: Bulk) -> BulkRecord:
    scanner = ItemsScanner()
    scanner.feed(ndjson(bulk.payload.items or []))
    return bulk_record(bulk, occurred_at=NOON, end=scanner.finish()[0])


def changes(bulk: Bulk) -> dict[int, ItemChange | Rejection]:
    return {index: change_of(bulk, index, value) for index, value in enumerate(bulk.payload.items or [])}


def bound(log: Log, record: BulkRecord, indices: list[int], number: int) -> ChunkRecord:
    """Bind these items on the states that the log shows."""
    asked = changes(record.bulk)
    bindings: list[Binding] = []
    groups: dict[str, list[ItemChange]] = {}
    for index in indices:
        change = asked[index]
        if isinstance(change, Rejection):
            bindings.append(Binding(index=index, rejection=change))
        else:
            groups.setdefault(str(change.aggregate_id), []).append(change)
    for aggregate_id, group in groups.items():
        bindings += bind(log.state(aggregate_id), group, occurred_at=NOON)
    return chunk_record(record, 1, number, sorted(bindings, key=lambda binding: binding.index))


def write_next(log: Log, record: BulkRecord, chunk: ChunkRecord, aggregate_id: str) -> bool:
    """Do what an attempt does next on one aggregate: write into the first slot that is open, if it is free."""
    became = conflict_outcomes(chunk, log.event_in, no_entries)
    for binding in by_aggregate(chunk.bindings)[aggregate_id]:
        if became[binding.index] is ConflictOutcome.OPEN and binding.slot is not None:
            change = changes(record.bulk)[binding.index]
            assert isinstance(change, ItemChange)
            event = decide(log.state(aggregate_id, binding.slot - 1), change, occurred_at=NOON)
            assert isinstance(event, Event)
            assert event.sequence_number == binding.slot
            log.put(event)
            return True
    return False


def test_items_of_one_aggregate_take_consecutive_slots():
    bulk = bulk_update(*(item("p1", {"n": number}) for number in range(3)))
    log = Log()
    log.apply(create())
    chunk = bound(log, opened(bulk), [0, 1, 2], 1)
    assert [binding.slot for binding in chunk.bindings] == [2, 3, 4]
    assert chunk.bindings[0].rejection is None


def test_a_later_item_is_decided_on_what_an_earlier_one_makes():
    bulk = bulk_create(item("p1"), item("p1"), item("p2"))
    chunk = bound(Log(), opened(bulk), [0, 1, 2], 1)
    assert [binding.slot for binding in chunk.bindings] == [1, None, 1]
    rejection = chunk.bindings[1].rejection
    assert rejection is not None
    assert rejection.code is RejectionCode.INSTANCE_EXISTS


def test_items_after_a_conflict_are_invalidated():
    bulk = bulk_delete(
        item("p1", expected_version=9), item("p1"), item("p1"), item("p2"), {"rubbish": True}, command_id="b"
    )
    log = Log()
    for command in (create("p1"), create("p2")):
        log.apply(command)
    record = opened(bulk)
    chunk = bound(log, record, [0, 1, 2, 3, 4], 1)
    assert [binding.slot for binding in chunk.bindings] == [None, 2, None, 2, None]
    assert by_aggregate(chunk.bindings)["shop/Product/p1"][0].rejection is not None
    log.apply(update("p1"))  # another command is faster
    while write_next(log, record, chunk, "shop/Product/p2"):
        pass
    became = conflict_outcomes(chunk, log.event_in, no_entries)
    assert list(became.values()) == [
        ConflictOutcome.REJECTED,
        ConflictOutcome.CONFLICTED,
        ConflictOutcome.INVALIDATED,
        ConflictOutcome.APPLIED,
        ConflictOutcome.REJECTED,
    ]
    assert to_retry(became) == [1, 2]
    second = bound(log, record, [1, 2], 2)
    assert [binding.slot for binding in second.bindings] == [3, None]
    assert [binding.slot for binding in last_bindings([chunk, second])] == [None, 3, None, 2, None]


def test_nothing_is_bound_anew_while_an_item_is_open():
    log = Log()
    record = opened(bulk_create(item("p1"), item("p2")))
    chunk = bound(log, record, [0, 1], 1)
    log.apply(create("p1"))
    became = conflict_outcomes(chunk, log.event_in, no_entries)
    assert list(became.values()) == [ConflictOutcome.CONFLICTED, ConflictOutcome.OPEN]
    with pytest.raises(ValueError, match="definite"):
        to_retry(became)


@pytest.mark.parametrize(
    "wrong",
    [
        {"bindings": (), "closed": None},
        {"bindings": (Binding(index=0, aggregate_id="a/b/c", slot=1),), "closed": Closed.CANCELLED},
        {"number": 2, "closed": Closed.CANCELLED},
        {"bindings": (Binding(index=1, aggregate_id="a/b/c", slot=1), Binding(index=0, aggregate_id="a/b/c", slot=2))},
    ],
)
def test_a_record_that_says_two_things_or_none_is_no_record(wrong: dict[str, object]):
    with pytest.raises(ValidationError):
        ChunkRecord.model_validate({"command_id": "b", "command_hash": "0", "chunk": 1, "number": 1, **wrong})


_numbers = count(1)


@st.composite
def bulks(draw: st.DrawFn) -> Bulk:
    make: Callable[..., Bulk] = draw(st.sampled_from([bulk_create, bulk_update, bulk_delete]))
    versions = st.none() | st.integers(0, 3)
    names = draw(st.lists(st.tuples(st.sampled_from(["p1", "p2"]), versions), min_size=1, max_size=7))
    return make(*(item(name, expected_version=version) for name, version in names))


@given(data=st.data(), bulk=bulks())
def test_concurrent_attempts_apply_each_item_once(data: st.DataObject, bulk: Bulk):
    """Attempts write in any interleaving beside single commands; a definite end never changes again."""
    log = Log()
    others = [create, update, delete]

    def disturb() -> None:
        name = data.draw(st.sampled_from(["p1", "p2"]))
        log.apply(data.draw(st.sampled_from(others))(name))

    for _ in range(data.draw(st.integers(0, 3))):
        disturb()
    record = opened(bulk)
    records: list[ChunkRecord] = []
    indices = list(range(len(bulk.payload.items or [])))
    for number in range(1, 6):
        chunk = bound(log, record, indices, number)
        records.append(chunk)
        groups = by_aggregate(chunk.bindings)
        seen: dict[int, ConflictOutcome] = {}
        busy = True
        while busy:
            if number < 5 and data.draw(st.integers(0, 3)) == 0:
                disturb()
            order = data.draw(st.permutations(sorted(groups)))
            busy = sum(write_next(log, record, chunk, name) for name in order) > 0
            became = conflict_outcomes(chunk, log.event_in, no_entries)
            for index, outcome in seen.items():
                assert became[index] is outcome, "a definite end has changed"
            seen = {index: outcome for index, outcome in became.items() if outcome is not ConflictOutcome.OPEN}
        indices = to_retry(conflict_outcomes(chunk, log.event_in, no_entries))
        if not indices:
            break
    assert indices == []
    _check_ends(log, bulk, records)


def _check_ends(log: Log, bulk: Bulk, records: list[ChunkRecord]) -> None:
    """Each item has one end, and an event exactly where it was applied."""
    ends = {binding.index: binding for binding in last_bindings(records)}
    assert sorted(ends) == list(range(len(bulk.payload.items or [])))
    slots = {event.event_id: event for events in log.events.values() for event in events}
    for index, binding in ends.items():
        event = slots.get(derive_event_id(bulk.command_id, index))
        if binding.slot is None:
            assert event is None, "a rejected item has an event"
        else:
            assert event is not None
            assert (event.aggregate_id, event.sequence_number) == (binding.aggregate_id, binding.slot)
    for bindings in by_aggregate(ends.values()).values():
        taken = [binding.slot for binding in bindings if binding.slot is not None]
        assert taken == sorted(taken), "items of one aggregate were applied out of their order"
