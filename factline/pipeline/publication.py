"""Publishing in order without a lock (design: rule R3)."""

from collections.abc import AsyncIterator, Sequence

from factline.domain.events import Event
from factline.domain.identifiers import AggregateId
from factline.pipeline.log_reader import LogReader
from factline.ports import EventPublisher, Settlement, Turns

BATCH_EVENTS_MAX = 100


class Publication:
    """Sends contiguous ranges from the watermark, and raises the watermark only after the acknowledgement."""

    def __init__(self, *, reader: LogReader, publisher: EventPublisher, turns: Turns) -> None:
        self._reader = reader
        self._publisher = publisher
        self._turns = turns

    @property
    def answers(self) -> bool:
        return self._publisher.answers

    async def send(self, aggregate_id: AggregateId, events: Sequence[Event], *, watermark: int) -> None:
        """Send everything above the watermark up to the last of the events, which are at hand and need not be read."""
        at_hand = {event.sequence_number: event for event in events if event.sequence_number > watermark}
        for sequence_number in sorted(at_hand):
            async for batch in self._batches(aggregate_id, range(watermark + 1, sequence_number)):
                await self._publisher.publish(batch)
            await self._publisher.publish([at_hand[sequence_number]])
            watermark = sequence_number

    async def ensure(self, aggregate_id: AggregateId, sequence_number: int) -> str:
        """Publish up to the sequence number whatever is not published yet; returns what was done, in words."""
        (watermark,) = await self._turns.published([aggregate_id])
        if watermark is None:
            _, watermark = await self._reader.latest(aggregate_id)
        if watermark >= sequence_number:
            return "was published already"
        wanted = range(watermark + 1, sequence_number + 1)
        async for batch in self._batches(aggregate_id, wanted):
            await self._publisher.publish(batch)
            await self._turns.settle([Settlement(aggregate_id, published=batch[-1].sequence_number)], "")
        return f"published {wanted.start} to {sequence_number}"

    async def _batches(self, aggregate_id: AggregateId, wanted: range) -> AsyncIterator[list[Event]]:
        for start in range(wanted.start, wanted.stop, BATCH_EVENTS_MAX):
            numbers = range(start, min(start + BATCH_EVENTS_MAX, wanted.stop))
            yield await self._reader.events(aggregate_id, numbers)
