"""The events of an aggregate, one by one: those at hand, and all others from the log."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from functools import partial

from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import HandlerFailed
from oncelog.ports import Changes, DeadLetters, EventLog, Snapshots
from oncelog.replay.stream_reader import StateCache, StreamReader

EVENTS_PER_READ = 64

#: Reads events of one aggregate from the log, by their numbers.
ReadEvents = Callable[[range], Awaitable[Sequence[Event]]]


async def events_in(numbers: range, at_hand: Mapping[int, Event], read: ReadEvents) -> AsyncGenerator[Event, None]:
    """Yield the events with these numbers; those not at hand are read, ``EVENTS_PER_READ`` numbers at a time."""
    for start in range(numbers.start, numbers.stop, EVENTS_PER_READ):
        some = range(start, min(start + EVENTS_PER_READ, numbers.stop))
        missing = [number for number in some if number not in at_hand]
        found = await read(range(missing[0], missing[-1] + 1)) if missing else ()
        by_number = {event.sequence_number: event for event in found}
        for number in some:
            yield at_hand.get(number) or by_number[number]


class ChangedEvents:
    """Reads the events that a read model of events has to apply, and says which of them an operator skipped."""

    def __init__(self, name: str, *, log: EventLog, snapshots: Snapshots, dead_letters: DeadLetters) -> None:
        self.name = name
        self._reader = StreamReader(log=log, snapshots=snapshots, cache=StateCache(aggregates_max=1))
        self._dead_letters = dead_letters

    async def events(self, changes: Changes, first: int) -> AsyncIterator[Event]:
        """Yield the events from ``first`` through the changes' number; raises StoreUnavailable, LogDamaged.

        An error in reading the log names the event in its details, where reading tells which.
        """
        read = partial(self._reader.events, AggregateId.parse(changes.aggregate_id))
        async for event in events_in(range(first, changes.sequence_number + 1), changes.at_hand, read):
            yield event

    async def check_skipped(self, event: Event, error: Exception) -> None:
        """Return if an operator skipped the event, on which the application's function failed; raises HandlerFailed."""
        latest = await self._dead_letters.latest_dead_letter(self.name, event.aggregate)
        if latest is None or event.sequence_number > latest.given_up_through:
            raise HandlerFailed(self.name, event.aggregate_id, event.sequence_number, error) from error


def events_at_hand(changes: Changes, first: int) -> list[Event] | None:
    """Return the events from ``first`` through the changes' number, None where some have to be read from the log."""
    try:
        return [changes.at_hand[number] for number in range(first, changes.sequence_number + 1)]
    except KeyError:
        return None
