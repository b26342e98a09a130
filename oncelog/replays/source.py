"""The source of a replay's events: slot by slot from the log, in the order of the keys, every checksum verified."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.events import Event
from oncelog.errors import LogDamaged, OncelogError, SchemaUnsupported
from oncelog.ports import EventLog, ListedStream, LogCatalogue
from oncelog.replays.plan import is_in, key_of, pages
from oncelog.replays.request import Partition, ReplayScope

#: Slots that are read at once, for each partition.
READS_IN_FLIGHT_MAX = 32
#: Events that are held at a time.
BATCH_EVENTS = 64


@dataclass(frozen=True)
class StreamDamage:
    """An aggregate whose next event cannot be read; nothing more of it follows."""

    aggregate_id: str
    sequence_number: int
    error: OncelogError


class EventSource(Protocol):
    """Where a replay's events come from."""

    def events(self, partition: Partition, scope: ReplayScope) -> AsyncIterator[Sequence[Event | StreamDamage]]:
        """Yield a partition's events in batches: aggregates in the order of their keys, each from its first event on.

        An aggregate may go on in the next batch. Raises StoreUnavailable.
        """
        ...


class SlotSource:
    """``EventSource`` by one GET for each event."""

    def __init__(self, catalogue: LogCatalogue, log: EventLog) -> None:
        self._catalogue = catalogue
        self._log = log

    async def events(self, partition: Partition, scope: ReplayScope) -> AsyncIterator[Sequence[Event | StreamDamage]]:
        """Read the slots up to the head that is listed now."""
        last = key_of(partition.through)
        slots: list[tuple[ListedStream, int]] = []
        async for page in pages(self._catalogue, scope, after=partition.after):
            for stream in page.items:
                if key_of(stream.aggregate_id) > last:
                    break
                if not is_in(stream, scope):
                    continue
                for number in range(1, stream.head + 1):
                    slots.append((stream, number))
                    if len(slots) == BATCH_EVENTS:
                        yield await self._read(slots)
                        slots = []
            else:
                continue
            break
        if slots:
            yield await self._read(slots)

    async def _read(self, slots: Sequence[tuple[ListedStream, int]]) -> Sequence[Event | StreamDamage]:
        return await bounded_gather(self._read_slot, slots, at_once=READS_IN_FLIGHT_MAX)

    async def _read_slot(self, slot: tuple[ListedStream, int]) -> Event | StreamDamage:
        stream, number = slot
        try:
            stored = await self._log.read(stream.aggregate_id, number)
        except (LogDamaged, SchemaUnsupported) as error:
            return StreamDamage(str(stream.aggregate_id), number, error)
        if stored is None:
            where = f"aggregate {stream.aggregate_id}: slot {number} is free below head {stream.head}"
            missing = LogDamaged(f"{where}; restore the object and run oncelog verify")
            return StreamDamage(str(stream.aggregate_id), number, missing)
        return stored.event
