"""Publishing in order without a lock (docs/protocol.md, R3)."""

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from oncelog import metrics
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import StoreUnavailable
from oncelog.ports import EventPublisher, StreamProgress, Watermark
from oncelog.replay.stream_reader import StreamReader

BATCH_EVENTS_MAX = 100


class Watermarks(Protocol):
    """How far aggregates are known to be published: ``Leases`` is one."""

    async def published(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Watermark | None]:
        """Return each watermark, or None where it is not known."""
        ...

    async def save_progress(self, progress: Sequence[StreamProgress], holder: str) -> None:
        """Raise each watermark, never lower it."""
        ...


class Publication:
    """Sends contiguous ranges from the watermark, and raises the watermark only after the acknowledgement."""

    def __init__(self, *, reader: StreamReader, publisher: EventPublisher, leases: Watermarks) -> None:
        self._reader = reader
        self._publisher = publisher
        self._leases = leases

    @property
    def answers(self) -> bool:
        return self._publisher.answers

    async def current(self, aggregate_id: AggregateId, watermark: Watermark) -> Watermark:
        """Return the watermark as the topic's current generation has it: at 0 if the topic was recreated since."""
        generation = (await self._publisher.generations()).of(aggregate_id)
        return Watermark(generation, watermark.through_in(generation))

    async def send(self, aggregate_id: AggregateId, events: Sequence[Event], *, watermark: Watermark) -> Watermark:
        """Send everything above the watermark up to the last of the events, which are at hand and need not be read.

        Returns the watermark after it. Raises StoreUnavailable, also where the topic was recreated since the watermark
        was read: then another one counts.
        """
        generation, through = watermark
        at_hand = {event.sequence_number: event for event in events if event.sequence_number > through}
        if at_hand:
            await self._demand(aggregate_id, generation)
        for sequence_number in sorted(at_hand):
            async for batch in self._batches(aggregate_id, range(through + 1, sequence_number)):
                await self._resend(batch)
            await self._publisher.publish_events([at_hand[sequence_number]])
            through = sequence_number
        if at_hand:
            await self._demand(aggregate_id, generation)
        return Watermark(generation, through)

    async def ensure(self, aggregate_id: AggregateId, sequence_number: int) -> str:
        """Publish the events not yet published, up to the sequence number; returns a note for the trace.

        Raises StoreUnavailable, also where the topic is recreated meanwhile.
        """
        generation = (await self._publisher.generations()).of(aggregate_id)  # before the watermark, see through_in
        (watermark,) = await self._leases.published([aggregate_id])
        if watermark is None:
            _, watermark = await self._reader.latest(aggregate_id)
        through = watermark.through_in(generation)
        if through >= sequence_number:
            return "was published already"
        wanted = range(through + 1, sequence_number + 1)
        async for batch in self._batches(aggregate_id, wanted):
            await self._resend(batch)
            await self._demand(aggregate_id, generation)
            raised = Watermark(generation, batch[-1].sequence_number)
            await self._leases.save_progress([StreamProgress(aggregate_id, published=raised)], "")
        return f"published {wanted.start} to {sequence_number}"

    async def _resend(self, batch: list[Event]) -> None:
        await self._publisher.publish_events(batch)
        metrics.EVENTS_RESENT.inc(len(batch))

    async def _demand(self, aggregate_id: AggregateId, generation: int) -> None:
        """Raise StoreUnavailable unless the topic is still of that generation."""
        current = (await self._publisher.generations()).of(aggregate_id)
        if current != generation:
            cause = f"its topic was made anew: generation {current}, no longer {generation}"
            raise StoreUnavailable("the stream of events", f"publishing {aggregate_id}", cause)

    async def _batches(self, aggregate_id: AggregateId, wanted: range) -> AsyncIterator[list[Event]]:
        for start in range(wanted.start, wanted.stop, BATCH_EVENTS_MAX):
            numbers = range(start, min(start + BATCH_EVENTS_MAX, wanted.stop))
            yield await self._reader.events(aggregate_id, numbers)
