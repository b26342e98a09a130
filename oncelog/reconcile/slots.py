"""Slots that a check reads once, although several of its steps need them: to publish an event, and to fold it."""

from cachetools import LRUCache

from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.ports import EventLog, StoredEvent, Watermark

BYTES_MAX = 64 * 1024 * 1024


class RememberedSlots:
    """An ``EventLog`` that remembers the slots it read last: a slot never changes once it is taken.

    ``bytes_max`` bounds the events remembered; the least recently used go first. A slot that was free is read again.
    """

    def __init__(self, log: EventLog, *, bytes_max: int = BYTES_MAX) -> None:
        self._log = log
        self._slots: LRUCache[tuple[AggregateId, int], StoredEvent] = LRUCache(
            bytes_max, getsizeof=lambda stored: len(stored.event.canonical)
        )

    async def append(self, event: Event, *, published_through: Watermark) -> StoredEvent:
        return await self._log.append(event, published_through=published_through)

    async def read(self, aggregate_id: AggregateId, sequence_number: int) -> StoredEvent | None:
        slot = (aggregate_id, sequence_number)
        stored = self._slots.get(slot) or await self._log.read(aggregate_id, sequence_number)
        if stored is not None and len(stored.event.canonical) <= self._slots.maxsize:
            self._slots[slot] = stored
        return stored

    async def head(self, aggregate_id: AggregateId, *, after: int = 0) -> int:
        return await self._log.head(aggregate_id, after=after)

    def clear(self) -> None:
        """Forget all slots: what was altered since is for the log to say."""
        self._slots.clear()
