"""The memory of one group under reconciliation: slots that are read once, watermarks that are raised once.

Several steps need the same slot, to publish an event and to fold it. One request raises the watermarks of all.
"""

from collections.abc import Sequence

from cachetools import LRUCache

from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.ports import EventLog, Leases, StoredEvent, StreamProgress, Watermark

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

    async def append_event(self, event: Event, *, published_through: Watermark) -> StoredEvent:
        return await self._log.append_event(event, published_through=published_through)

    async def read_event(self, aggregate_id: AggregateId, sequence_number: int) -> StoredEvent | None:
        slot = (aggregate_id, sequence_number)
        stored = self._slots.get(slot) or await self._log.read_event(aggregate_id, sequence_number)
        if stored is not None and len(stored.event.canonical) <= self._slots.maxsize:
            self._slots[slot] = stored
        return stored

    async def last_sequence_number(self, aggregate_id: AggregateId, *, after: int = 0) -> int:
        return await self._log.last_sequence_number(aggregate_id, after=after)

    def clear(self) -> None:
        """Forget all slots: they may have changed since, so the log is asked again."""
        self._slots.clear()


class GroupWatermarks:
    """The ``Watermarks`` of a publication, for aggregates with a watermark that the caller has at hand.

    A watermark that is a little old, or raised a little late, publishes an event twice and loses none.
    """

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._known: dict[AggregateId, Watermark] = {}
        self._raised: dict[AggregateId, StreamProgress] = {}

    def know(self, aggregate_id: AggregateId, watermark: Watermark) -> None:
        """Answer with this watermark when it is asked for."""
        self._known[aggregate_id] = watermark

    async def published(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Watermark | None]:
        if all(aggregate_id in self._known for aggregate_id in aggregate_ids):
            return [self._known[aggregate_id] for aggregate_id in aggregate_ids]
        return await self._leases.published(aggregate_ids)

    async def save_progress(self, progress: Sequence[StreamProgress], _holder: str) -> None:
        """Keep the watermarks until ``flush``; of a long stream, of which the next part is sent, raise it at once."""
        later = [each for each in progress if each.aggregate_id in self._raised]
        self._raised.update({each.aggregate_id: each for each in progress})
        if later:
            await self._leases.save_progress(later, "")

    async def flush(self) -> None:
        """Raise the watermarks that were kept, and forget all known ones; raises StoreUnavailable."""
        raised, self._raised, self._known = list(self._raised.values()), {}, {}
        if raised:
            await self._leases.save_progress(raised, "")
