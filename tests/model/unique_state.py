"""The state of the model of unique constraints: logs, chains of entries, records; and what must hold of them.

A value's chain is a log, too: an entry takes one numbered place in it. A record names one slot for each item that it
binds, and one place in the chain of each value that the item's event brings in.
"""

from enum import StrEnum
from typing import NamedTuple

from tests.model.search import Violation

AGGREGATES, VALUES = "ABCD", "vw"
"""The names of all aggregates, and of all values. A value belongs to one constraint; two values are two constraints."""

REJECTED = 0
"""The slot of a binding that rejects its item."""

OVER, PENDING = -1, -2
"""Verdicts on an entry; the third is the aggregate that holds the value by it."""


class Kind(StrEnum):
    """The kinds of an item. COVER is an empty update, which brings an instance under the constraint."""

    CREATE = "create"
    UPDATE = "update"
    DELETE = "delete"
    COVER = "cover"


class Item(NamedTuple):
    """A command's change of one aggregate. ``values``: all that the aggregate holds afterwards."""

    kind: Kind
    aggregate: int
    values: tuple[int, ...] = ()


def has_constraint(definition: int) -> bool:
    """Definitions are numbered; every second one, from 1, has the constraint."""
    return definition % 2 == 1


class Order(NamedTuple):
    """A command that was given. ``attempts``: how many are alive at once; with 0, it came to its end before."""

    items: tuple[Item, ...]
    attempts: int = 1


class Event(NamedTuple):
    """An event, and the state after it. ``definition``: the class's definition that it was decided under."""

    command: int
    item: int
    exists: bool
    values: tuple[int, ...]
    definition: int

    @property
    def held(self) -> tuple[int, ...]:
        return self.values if has_constraint(self.definition) else ()


NOTHING = Event(-1, 0, exists=False, values=(), definition=0)
"""The state before the first event."""


class Binding(NamedTuple):
    """A record's part for one item: its slot, and its places as (value, place); or REJECTED, and the reason."""

    item: int
    aggregate: int
    slot: int
    places: tuple[tuple[int, int], ...] = ()
    definition: int = 1
    reason: str = ""

    def __str__(self) -> str:
        if self.slot == REJECTED:
            return f"{AGGREGATES[self.aggregate]} rejected, {self.reason}"
        places = "".join(f" with {VALUES[value]}/{place}" for value, place in self.places)
        return f"{AGGREGATES[self.aggregate]}/{self.slot}{places}"


Record = tuple[Binding, ...]


class Entry(NamedTuple):
    """The holder of a place: a command, by its record of this number, for this item."""

    command: int
    number: int
    item: int
    aggregate: int
    slot: int


class Bucket(NamedTuple):
    """Everything in S3. Nothing is ever deleted."""

    logs: tuple[tuple[Event, ...], ...]  # per aggregate
    chains: tuple[tuple[Entry, ...], ...]  # per value
    records: tuple[tuple[Record, ...], ...]  # per command
    definition: int  # the newest of the class

    def event_at(self, aggregate: int, slot: int) -> Event:
        log = self.logs[aggregate]
        return log[slot - 1] if 0 < slot <= len(log) else NOTHING

    def aggregates_beyond(self, heads: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
        """Return the aggregates whose log is longer than ``heads`` say."""
        return tuple(aggregate for aggregate, head in heads if head < len(self.logs[aggregate]))

    def binding_of(self, entry: Entry) -> Binding | None:
        """Return the part of a record that an entry was written for; None if the record was never written."""
        for record in self.records[entry.command][entry.number - 1 : entry.number]:
            return next((binding for binding in record if binding.item == entry.item), None)
        return None


class Target(NamedTuple):
    """An item whose entries and event are being written. ``written``: places that are known to be its own."""

    entry: Entry
    written: tuple[int, ...] = ()


class Attempt(NamedTuple):
    """One attempt at a command. ``at``: the next request it makes; the rest is what it knows."""

    at: str = "begin"
    number: int = 0  # of its command's records that it has read or written
    open: tuple[int, ...] = ()  # the items that the next record binds
    heads: tuple[tuple[int, int], ...] = ()  # aggregates, and the slot that each is decided on
    definition: int = 1  # of the class, as it knows it
    ends: tuple[tuple[int, int, int], ...] = ()  # values, the place after the last, and OVER or the holder
    last: tuple[Entry, int] | None = None  # the last entry of a chain and its place, to be judged
    seen: tuple[int, ...] = ()  # aggregates that S3 showed to be where they are decided on
    late: tuple[int, ...] = ()  # for the check only: aggregates whose log was longer, when that mattered
    targets: tuple[Target, ...] = ()  # being written, at most one of each aggregate; another's, if ``number`` is 0


DONE = Attempt("done")


def entry_of(command: int, number: int, binding: Binding) -> Entry:
    return Entry(command, number, binding.item, binding.aggregate, binding.slot)


def event_after(before: Event, item: Item, binding: tuple[int, int], *, definition: int) -> Event:
    """Return the event that an item leads to. ``binding``: its command, and its number among the command's items."""
    values = before.values if item.kind is Kind.COVER else item.values
    return Event(*binding, item.kind is not Kind.DELETE, values, definition)


def holder_by(bucket: Bucket, value: int, entry: Entry, *, lost_is_over: bool = True) -> int:
    """Return the aggregate that holds the value by this entry; PENDING while its slot is empty; or else OVER.

    Over is over for good: the aggregate let the value go, or the event can never be written.
    """
    events = bucket.logs[entry.aggregate][entry.slot - 1 :]
    if any(value not in event.held for event in events) or (lost_is_over and _lost_another_place(bucket, entry)):
        return OVER
    return entry.aggregate if events else PENDING


def _lost_another_place(bucket: Bucket, entry: Entry) -> bool:
    """Return whether a place that the entry's record names for the same event holds another's entry."""
    binding = bucket.binding_of(entry)
    places = binding.places if binding else ()
    rivals = (bucket.chains[value][place - 1 : place] for value, place in places)
    return any(rival not in ((), (entry,)) for rival in rivals)


def last_bindings(bucket: Bucket, command: int) -> dict[int, tuple[int, Binding]]:
    """Return, by item, the last record that binds it, and what that record says of it."""
    records = enumerate(bucket.records[command], 1)
    return {binding.item: (number, binding) for number, record in records for binding in record}


def outcome_of(bucket: Bucket, command: int) -> Record:
    """Return what every item came to, or nothing as long as that is not definite for all."""
    bindings = tuple(binding for _, binding in last_bindings(bucket, command).values())
    for binding in bindings:
        event = bucket.event_at(binding.aggregate, binding.slot)
        if binding.slot != REJECTED and (event.command, event.item) != (command, binding.item):
            return ()
    return bindings


def check_holders(bucket: Bucket) -> None:
    """At most one instance holds a value at the head of its log."""
    for value, name in enumerate(VALUES):
        holders = [AGGREGATES[each] for each, log in enumerate(bucket.logs) if log and value in log[-1].held]
        if len(holders) > 1:
            raise Violation(f"{' and '.join(holders)} hold {name} at the same time")


def check_events(bucket: Bucket) -> None:
    """Each event is where its command's last record says, and none takes its aggregate back to an older definition."""
    for aggregate, log in enumerate(bucket.logs):
        for slot, (before, event) in enumerate(zip((NOTHING, *log), log, strict=False), 1):
            _, binding = last_bindings(bucket, event.command)[event.item]
            place = f"{AGGREGATES[aggregate]}/{slot}"
            if binding.slot != slot:
                raise Violation(f"{place} has an event of C{event.command}, whose last record says otherwise")
            if event.definition < before.definition:
                raise Violation(f"{place} goes back to definition {event.definition}")


def audit(bucket: Bucket) -> None:
    """An auditor who reads S3 alone finds it sound: each event has its entries, each entry that is followed is over."""
    for value, chain in enumerate(bucket.chains):
        if any(holder_by(bucket, value, entry) != OVER for entry in chain[:-1]):
            raise Violation(f"audit: an entry of {VALUES[value]} is followed and not over")
    for aggregate, log in enumerate(bucket.logs):
        for slot, (before, event) in enumerate(zip((NOTHING, *log), log, strict=False), 1):
            number, binding = last_bindings(bucket, event.command)[event.item]
            entry = (entry_of(event.command, number, binding),)
            own = {value for value, place in binding.places if bucket.chains[value][place - 1 : place] == entry}
            if own != set(event.held) - set(before.held):
                raise Violation(f"audit: {AGGREGATES[aggregate]}/{slot} has its event and not its entries")
