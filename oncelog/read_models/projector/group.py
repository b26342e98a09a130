"""Messages become work per aggregate: new events in order, each number once, despite duplicates and disorder.

Pure. A message is a hint that its aggregate went on; the truth is the log. So an unreadable message is no failure
yet: its aggregate is then looked up in the log.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from oncelog.domain.events import Event, read_event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import SEQUENCE_NUMBER_HEADER
from oncelog.errors import OncelogError
from oncelog.ports import Delivery


@dataclass(slots=True)
class Work:
    """The events of one aggregate in a batch. ``events``: the readable ones, by number; all of them are new.

    ``first``, ``target``: the lowest and the highest number that any message names, 0 where none does.
    ``target_unknown``: a message could not be read and names none, so that only the log knows how far it goes.
    ``messages``: how many of the batch's are done once it is projected.
    """

    aggregate_id: AggregateId
    events: dict[int, Event] = field(default_factory=dict)
    first: int = 0
    target: int = 0
    target_unknown: bool = False
    messages: int = 0


@dataclass
class GroupedBatch:
    """A batch grouped by aggregate. ``skipped``: how many messages held nothing new. ``unroutable``: messages of
    no aggregate.
    """

    work: dict[AggregateId, Work] = field(default_factory=dict)
    skipped: int = 0
    unroutable: list[Delivery] = field(default_factory=list)


def group_by_aggregate(deliveries: Iterable[Delivery], *, projected: Callable[[AggregateId], int]) -> GroupedBatch:
    """Group a batch by aggregate. ``projected``: the number through which an aggregate is known to be projected, 0
    where unknown.
    """
    found = GroupedBatch()
    for delivery in deliveries:
        aggregate_id = _aggregate_of(delivery.key)
        if aggregate_id is None:
            found.unroutable.append(delivery)
            continue
        known = projected(aggregate_id)
        if known and 0 < _named_number(delivery) <= known:  # most late duplicates end here, unread
            found.skipped += 1
            continue
        event = _event_of(delivery, aggregate_id)
        number = event.sequence_number if event else _named_number(delivery)
        if 0 < number <= known:
            found.skipped += 1
            continue
        work = found.work.get(aggregate_id)
        if work is None:
            work = found.work[aggregate_id] = Work(aggregate_id)
        work.messages += 1
        work.first = min(work.first or number, number or work.first)
        work.target = max(work.target, number)
        work.target_unknown |= number == 0
        if event:
            work.events.setdefault(number, event)
    return found


def _aggregate_of(key: bytes | None) -> AggregateId | None:
    try:
        return AggregateId.parse((key or b"").decode())
    except (OncelogError, UnicodeDecodeError):
        return None


def _named_number(delivery: Delivery) -> int:
    for name, value in delivery.headers:
        if name == SEQUENCE_NUMBER_HEADER and value.isdigit() and len(value) < 20:
            return int(value)
    return 0


def _event_of(delivery: Delivery, aggregate_id: AggregateId) -> Event | None:
    """Return the event if it is whole and its key's; None leaves it to the log, which distinguishes damage from a later
    release.
    """
    try:
        event = read_event(delivery.value or b"", where=f"message {delivery.offset} of partition {delivery.partition}")
    except OncelogError:
        return None
    return event if event.aggregate_id == str(aggregate_id) else None
