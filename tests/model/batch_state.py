"""The state of the model of batches: commands of many items, records, slots; and what must hold of them."""

from collections.abc import Iterator
from typing import NamedTuple

from tests.model.protocol import Kind
from tests.model.search import Violation

REJECTED = 0
"""The entry of a record instead of a slot."""

NOT_ATTEMPTED = -1
"""The end of an item that a closing record cut off."""


class Order(NamedTuple):
    """A command that was given. ``items``: each one's aggregate. ``chunkings``: lengths of chunks a release may choose.

    A single command has one item, no plan, and cannot be closed. ``attempts``: how many are alive at once.
    ``cancelled``: it may be asked to stop; ``terminated``: its workflow may go, and reconciliation has the rest.
    """

    kind: Kind
    items: tuple[int, ...]
    chunkings: tuple[tuple[int, ...], ...] = ((1,),)
    attempts: int = 1
    cancelled: bool = False
    terminated: bool = False

    @property
    def bulk(self) -> bool:
        return self.chunkings != ((1,),)


class Slot(NamedTuple):
    """An event in S3. ``published_through``: the watermark that its metadata carries."""

    command: int
    item: int
    kind: Kind
    published_through: int = 0


class Entry(NamedTuple):
    """A record's entry for one item: its slot, or REJECTED."""

    item: int
    end: int


Record = tuple[Entry, ...]
CLOSED: Record = ()
"""A closing record binds nothing."""


class Look(NamedTuple):
    """An attempt's knowledge of an aggregate. ``seen``: whether S3 showed ``head`` to be the head."""

    aggregate: int
    head: int
    seen: bool
    mark: int = 0


class Progress(NamedTuple):
    """How far the slots that a record names on one aggregate are known. ``displaced``: which items lost theirs."""

    aggregate: int
    passed: int = 0
    displaced: tuple[int, ...] = ()


class Attempt(NamedTuple):
    """One attempt at a command, or (``sweep``) the reconciler's. ``at``: the next request it makes."""

    at: str = "plan"
    sweep: bool = False
    plan: tuple[int, ...] = ()
    chunk: int = 0
    number: int = 0  # of the record in hand, from 0
    looks: tuple[Look, ...] = ()
    progress: tuple[Progress, ...] = ()
    open: tuple[int, ...] = ()  # the items that the record to be written binds
    ahead: tuple[Look, ...] = ()  # at the next chunk's aggregates
    sent: tuple[tuple[int, int], ...] = ()  # aggregate and through which slot this attempt knows it to be published


class State(NamedTuple):
    """Everything there is; per aggregate or per command."""

    slots: tuple[tuple[Slot, ...], ...]
    stream: tuple[int, ...]  # how many are published, always a first stretch
    marks: tuple[int | None, ...]  # the watermark as Redis knows it
    plans: tuple[tuple[int, ...], ...]
    records: tuple[tuple[tuple[Record, ...], ...], ...]  # of each chunk, in order
    attempts: tuple[tuple[Attempt, ...], ...]
    answers: tuple[tuple[int, ...] | None, ...]
    gone: tuple[bool, ...]  # whose workflow was terminated
    swept: tuple[bool, ...]  # and was seen to after the last attempt had died
    stale: int  # how often an attempt may still go by what is out of date
    losses: int
    deaths: int
    sweeps: int  # how many more reconciliations may begin beside zombies


def items_of(plan: tuple[int, ...], chunk: int) -> range:
    start = sum(plan[:chunk])
    return range(start, start + plan[chunk])


def exists(slots: tuple[Slot, ...], head: int) -> bool:
    return head > 0 and slots[head - 1].kind is not Kind.DELETE


def ends_of(state: State, command: int, order: Order) -> tuple[int, ...]:
    """The end of every item, from the records alone: its entry in the last record that binds it."""
    ends = [NOT_ATTEMPTED] * len(order.items)
    for entry in _entries(state, command):
        ends[entry.item] = entry.end
    return tuple(ends)


def _entries(state: State, command: int) -> Iterator[Entry]:
    for records in state.records[command]:
        for record in records:
            yield from record


def check_slots(state: State) -> None:
    """One event per item; none beyond the close."""
    made = [(slot.command, slot.item) for slots in state.slots for slot in slots]
    if len(made) != len(set(made)):
        raise Violation("one item has two events")
    for command, chunks in enumerate(state.records):
        closed = next((chunk for chunk, records in enumerate(chunks) if records and records[0] == CLOSED), None)
        if closed is None:
            continue
        if any(chunks[closed + 1 :]):
            raise Violation("a chunk was begun beyond the close")
        cut = sum(state.plans[command][:closed])
        if any(slot.command == command and slot.item >= cut for slots in state.slots for slot in slots):
            raise Violation("there is an event beyond the close")


def check_answer(state: State, command: int, order: Order, ends: tuple[int, ...]) -> None:
    """Hold an answer against the slots, and against the answer that another attempt gave."""
    first = state.answers[command]
    if first is not None and first != ends:
        raise Violation(f"command {command} answered {first} first, and then {ends}")
    last_slots: dict[int, int] = {}
    for item, (aggregate, end) in enumerate(zip(order.items, ends, strict=True)):
        if end <= REJECTED:
            continue
        slots = state.slots[aggregate]
        if end > len(slots) or (slots[end - 1].command, slots[end - 1].item) != (command, item):
            raise Violation(f"item {item} is answered with slot {end}, which does not hold its event")
        if end < last_slots.get(aggregate, 0):
            raise Violation(f"item {item} overtook an earlier item of its aggregate")
        last_slots[aggregate] = end
    made = {slot.item for slots in state.slots for slot in slots if slot.command == command}
    if made != {item for item, end in enumerate(ends) if end > REJECTED}:
        raise Violation(f"command {command} answers {ends}, and has events for items {sorted(made)}")
    _check_rejections(state, command, order, ends)


def _check_rejections(state: State, command: int, order: Order, ends: tuple[int, ...]) -> None:
    """A rejection that rests on an earlier item of its record is true only if that one has the slot named for it.

    The others were checked when they were recorded, on a state that was seen to be the head.
    """
    for records in state.records[command]:
        for record in records:
            own: dict[int, int] = {}
            for entry in record:
                aggregate = order.items[entry.item]
                slots = state.slots[aggregate]
                if entry.end > REJECTED:
                    own[aggregate] = entry.end
                    continue
                if ends[entry.item] != REJECTED or aggregate not in own or _bound_again(records, record, entry.item):
                    continue
                basis = own[aggregate]
                if slots[basis - 1].command != command or exists(slots, basis) != (order.kind is Kind.CREATE):
                    raise Violation(f"item {entry.item} is rejected for what never was")


def _bound_again(records: tuple[Record, ...], record: Record, item: int) -> bool:
    later = records[records.index(record) + 1 :]
    return any(entry.item == item for each in later for entry in each)


def check_left(state: State, orders: tuple[Order, ...]) -> None:
    """Nothing is left over at the end."""
    for command, order in enumerate(orders):
        if any(attempt.at != "done" for attempt in state.attempts[command]):
            raise Violation("an attempt is stuck")
        if state.answers[command] is None and not state.gone[command]:
            raise Violation(f"command {command} has no answer")
        if any(state.records[command]) or (order.bulk and state.plans[command]):
            check_answer(state, command, order, ends_of(state, command, order))
            if state.answers[command] is None:
                raise Violation(f"command {command} was begun and nobody brought it to its end")
