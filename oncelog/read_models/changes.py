"""The events of ``Changes``, one by one: those at hand, and all others from the log."""

from collections.abc import AsyncIterator, Callable
from typing import Any

from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import HandlerFailed
from oncelog.ports import Changes, DeadLetters, EventLog, Snapshots
from oncelog.replay.stream_reader import StateCache, StreamReader

EVENTS_PER_READ = 64


class ChangedEvents:
    """Reads the events that a read model of events has to apply, and hands each to the application's function."""

    def __init__(self, name: str, *, log: EventLog, snapshots: Snapshots, dead_letters: DeadLetters) -> None:
        self.name = name
        self._reader = StreamReader(log=log, snapshots=snapshots, cache=StateCache(aggregates_max=1))
        self._dead_letters = dead_letters

    async def events(self, changes: Changes, first: int) -> AsyncIterator[Event]:
        """Yield the events from ``first`` through the changes' number; raises StoreUnavailable, LogDamaged.

        An error in reading the log names the event in its details, where reading tells which.
        """
        aggregate_id = AggregateId.parse(changes.aggregate_id)
        for start in range(first, changes.sequence_number + 1, EVENTS_PER_READ):
            numbers = range(start, min(start + EVENTS_PER_READ, changes.sequence_number + 1))
            if all(number in changes.at_hand for number in numbers):
                for number in numbers:
                    yield changes.at_hand[number]
                continue
            missing = [number for number in numbers if number not in changes.at_hand]
            read = range(missing[0], missing[-1] + 1)
            found = {event.sequence_number: event for event in await self._reader.events(aggregate_id, read)}
            for number in numbers:
                yield changes.at_hand.get(number) or found[number]

    async def handled(self, event: Event, handle: Callable[[Event], Any]) -> Any:
        """Return what the function makes of the event, None for an event that it fails on and an operator skipped.

        Raises HandlerFailed.
        """
        try:
            return handle(event)
        except Exception as error:
            latest = await self._dead_letters.latest_dead_letter(self.name, event.aggregate)
            if latest is not None and event.sequence_number <= latest.given_up_through:
                return None
            raise HandlerFailed(self.name, event.aggregate_id, event.sequence_number, error) from error
