"""A subscription: the log first, from the archive and the slots, then the stream, from where that was before the log.

A message is a hint that its aggregate went on, as for a projector: late duplicates are dropped by their sequence
number, and missing events are read from the log. So a topic may be lost, recreated or repaired meanwhile.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Self

import structlog

from oncelog.archive.log_part import LogPart, LogPosition
from oncelog.archive.log_reader import LogReader
from oncelog.archive.stretch import EventOrigin
from oncelog.domain.events import Event
from oncelog.errors import StoreUnavailable
from oncelog.ports import EventFeed, EventLog
from oncelog.read_models.changes import events_in
from oncelog.read_models.projector.group import Work, group_by_aggregate
from oncelog.read_models.projector.retry import Backoff
from oncelog.read_models.scope import EventScope
from oncelog.replay.stream_reader import StreamReader
from oncelog.subscriptions.checkpoint import Checkpoint, HistoryProgress
from oncelog.subscriptions.positions import Positions

MESSAGES_MAX = 500
WAIT_S = 0.5

log = structlog.get_logger(__name__)


class Subscription:
    """An async iterator over events. ``checkpoint``: where to go on after all that was delivered so far.

    Waits for servers as long as it takes. Raises LogDamaged, SchemaUnsupported (EventFromFuture) where an event of the
    scope cannot be read: nothing is ever delivered past it.
    """

    def __init__(
        self,
        start: Checkpoint,
        *,
        scope: EventScope,
        positions: Positions,
        feed: EventFeed,
        event_log: EventLog,
        log_reader: LogReader,
        stream_reader: StreamReader,
    ) -> None:
        self._checkpoint = start
        self._scope = scope
        self._positions = positions
        self._feed = feed
        self._event_log = event_log
        self._log_reader = log_reader
        self._stream_reader = stream_reader
        self._backoff = Backoff(asyncio.Event(), refused=_already_logged)
        self._until_done = self._backoff.until_done
        self._events = self._all()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        return await anext(self._events)

    @property
    def checkpoint(self) -> str:
        """The checkpoint after the last event that was delivered: keep it in the transaction of its effects."""
        return self._checkpoint.model_copy(update={"positions": self._positions.kept()}).text()

    async def aclose(self) -> None:
        """End the iterator and leave Kafka, within seconds."""
        await self._events.aclose()
        await self._feed.close_feed()

    async def _all(self) -> AsyncGenerator[Event, None]:
        await self._until_done(partial(self._feed.open_feed, self._checkpoint.offsets))
        self._keep_offsets()  # before the log is listed: later events are on the stream
        if self._checkpoint.history is not None:
            async for event in self._history(self._checkpoint.history):
                yield event
            self._checkpoint = self._checkpoint.model_copy(update={"history": None})
        while True:
            async for event in self._next_batch():
                yield event

    def _keep_offsets(self) -> None:
        topics = {topic: (each.topic_id, dict(each.offsets)) for topic, each in self._feed.feed_offsets().items()}
        self._checkpoint = self._checkpoint.model_copy(update={"topics": topics})

    async def _history(self, progress: HistoryProgress) -> AsyncGenerator[Event, None]:
        """Deliver all that is in the log, class by class."""
        classes = sorted(await self._until_done(self._log_reader.classes))
        for class_name in classes:
            if not self._scope.covers_class(*class_name) or class_name < progress.class_name:
                continue
            after = progress.after if class_name == progress.class_name else None
            pause = self._backoff.pauses()
            while True:
                try:
                    async for event in self._class_history(class_name, after):
                        yield event
                    break
                except StoreUnavailable as error:
                    await pause(error.message)
                    after = self._after_in(class_name) or after

    def _after_in(self, class_name: tuple[str, str]) -> LogPosition | None:
        """Return the last event that was read of the class."""
        progress = self._checkpoint.history
        return progress.after if progress and progress.class_name == class_name else None

    async def _class_history(
        self, class_name: tuple[str, str], after: LogPosition | None
    ) -> AsyncGenerator[Event, None]:
        part = LogPart(db_name=class_name[0], class_id=class_name[1])
        async for batch in self._log_reader.batches(part, after=after):
            numbers = await self._positions.numbers({event.aggregate for event in batch.events})
            for event in batch.events:
                if event.sequence_number <= numbers[event.aggregate]:
                    continue  # an archive to blame lets its stream come again
                numbers[event.aggregate] = event.sequence_number
                self._positions.put(event.aggregate, event.sequence_number)
                position = LogPosition(
                    aggregate_id=event.aggregate_id, sequence_number=event.sequence_number, checksum=event.checksum
                )
                progress = HistoryProgress(class_name=class_name, after=position)
                self._checkpoint = self._checkpoint.model_copy(update={"history": progress})
                if self._scope.has_type(event):
                    yield event
            for damage in batch.damages:
                if damage.origin is EventOrigin.SLOTS:
                    raise damage.error

    async def _next_batch(self) -> AsyncGenerator[Event, None]:
        """Deliver the next messages' events; the checkpoint's offsets move past them once all of them are delivered."""
        messages = await self._until_done(partial(self._feed.next_messages, messages_max=MESSAGES_MAX, wait_s=WAIT_S))
        grouped = group_by_aggregate(messages, projected=self._positions.number)
        covered = {each: work for each, work in grouped.work.items() if self._scope.covers(each)}
        numbers = await self._positions.numbers(covered)
        for aggregate_id, work in covered.items():
            async for event in self._new_events(work, numbers[aggregate_id]):
                self._positions.put(event.aggregate, event.sequence_number)
                if self._scope.has_type(event):
                    yield event
        for message in grouped.unroutable:
            log.warning("message_of_no_aggregate", partition=message.partition, offset=message.offset)
        self._keep_offsets()

    async def _new_events(self, work: Work, position: int) -> AsyncGenerator[Event, None]:
        """Yield the aggregate's events above its position up to the work's target; those not at hand from the log."""
        aggregate_id, target = work.aggregate_id, work.target
        if work.target_unknown:
            last = partial(self._event_log.last_sequence_number, aggregate_id, after=target)
            target = await self._until_done(last)
        since = self._checkpoint.since if position == 0 else None  # from then on, all that follows is delivered
        if since is not None:
            position = min(work.events, default=target) - 1  # of those before, none was sent since the beginning

        async def read(numbers: range) -> Sequence[Event]:
            return await self._until_done(partial(self._stream_reader.events, aggregate_id, numbers))

        async for event in events_in(range(position + 1, target + 1), work.events, read):
            if since is None or event.occurred_at >= since:
                since = None
                yield event


def _already_logged(_: Exception) -> None:
    """Each wait is in the log already."""
