"""The loop: take a batch, fold it, project it, commit it. While some batches are in flight, the next is folded.

Offsets are committed only after the read model has acknowledged all of a batch, and of those before it, and their
failures are parked. So a projector may die anywhere, or lose its partitions at any moment: the next owner does the same
again, which the read model's fencing by sequence number makes harmless. Batches that have an aggregate in common go out
one after the other. Memory holds ``IN_FLIGHT_MAX`` batches and one more, and as bytes all that was fetched.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import structlog

from oncelog import tracing
from oncelog.errors import OncelogError
from oncelog.offload import offloaded
from oncelog.ports import Delivery, EventSubscription, FailureStream
from oncelog.read_models.dead_letter_service import DeadLetterService
from oncelog.read_models.parking import Parking
from oncelog.read_models.projector.apply import BatchProjection, Prepared
from oncelog.read_models.projector.fold import Projection
from oncelog.read_models.projector.group import group_by_aggregate
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.read_models.projector.retry import Backoff, Stopped
from oncelog.replay.trace import AfterStep, nothing_after

BATCH_MESSAGES_MAX = 500
BATCH_BYTES_MAX = 8 * 1024 * 1024
#: Batches in flight: one is committed, one is written, and one is ready for when the server is.
IN_FLIGHT_MAX = 3
WAIT_S = 0.25  # for messages, between two looks at whether to stop
#: How long partitions are held for a batch in flight: shorter than the group waits for us to rejoin.
HAND_OVER_S = 10.0
DRAIN_S = 10.0
REFRESH_S = 2.0
#: After which a projector finishes a retry or a skip that was left unfinished.
UNFINISHED_AFTER = timedelta(seconds=60)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class _Batch:
    """One batch of messages. ``epoch``: under which assignment of partitions; ``offsets``: to go on from, then."""

    deliveries: Sequence[Delivery]
    epoch: int
    offsets: Mapping[int, int]
    messages: Mapping[int, int]
    oldest_sent_ms: Mapping[int, int]
    began_s: float

    @property
    def values(self) -> list[bytes | None]:
        return [delivery.value for delivery in self.deliveries]


@dataclass(frozen=True, eq=False)
class _InFlightBatch:
    """A batch in flight. ``applied``: it is projected and parked, or never will be; ``committed``: committed, too."""

    batch: _Batch
    prepared: Prepared[Any]
    applied: asyncio.Event
    committed: asyncio.Task[None]


class Projector:
    """Keeps one read model up to date from the stream. Any number of them share the work.

    ``after_step`` looks in after ``fetch``, ``fold``, ``show``, ``park`` and ``commit``.
    """

    def __init__(
        self,
        *,
        subscription: EventSubscription,
        projection: Projection[Any],
        parking: Parking,
        dead_letter_service: DeadLetterService,
        failures: FailureStream,
        metrics: ProjectorMetrics,
        after_step: AfterStep = nothing_after,
        batch_messages_max: int = BATCH_MESSAGES_MAX,
    ) -> None:
        self._subscription = subscription
        self._name = projection.name
        self._parking = parking
        self._dead_letter_service = dead_letter_service
        self._metrics = metrics
        self._after_step = after_step
        self._batch_messages_max = batch_messages_max
        self._stopping = asyncio.Event()
        self._backoff = Backoff(self._stopping, refused=metrics.container_refused)
        self._projection: BatchProjection[Any] = BatchProjection(
            projection=projection,
            parking=parking,
            failures=failures,
            metrics=metrics,
            backoff=self._backoff,
        )
        self._epoch = 0
        self._in_flight: deque[_InFlightBatch] = deque()
        self._taken: deque[_Batch] = deque()

    async def run(self, stopping: asyncio.Event) -> None:
        """Project until ``stopping`` is set; then finish the batches in flight, if that takes seconds only.

        Waits for servers as long as it takes. Raises only for a defect.
        """
        tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._maintain())]
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([*tasks, told], return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            await asyncio.wait(tasks, timeout=DRAIN_S)
        finally:
            self._stopping.set()
            ending = [told, *tasks, *(in_flight.committed for in_flight in self._in_flight)]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._subscription.stop()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _work(self) -> None:
        try:
            await self._backoff.until_done(self._parking.refresh)
            await self._backoff.until_done(partial(self._subscription.start, self._release_partitions))
            log.info("projector_ready", read_model=self._name)
            while not self._stopping.is_set():
                await self._take_one()
            while self._in_flight:
                await self._oldest_committed()
        except Stopped as reason:
            log.warning("projector_stops_short", reason=str(reason))

    async def _take_one(self) -> None:
        """Fetch messages, fold them in batches, and send each out when there is room."""
        fetching = partial(self._subscription.next_batch, messages_max=self._batch_messages_max, wait_s=WAIT_S)
        deliveries = await self._backoff.until_done(fetching)
        self._taken = _batches_of(deliveries, self._epoch)  # nothing was awaited since they were handed out
        try:
            while self._in_flight and self._in_flight[0].committed.done():  # no batch waits for one that was called off
                await self._oldest_committed()
            while self._taken:
                prepared = await self._fold(self._taken[0])
                batch = self._taken.popleft()
                if batch.epoch != self._epoch:  # its partitions go on elsewhere, from the last commit
                    return
                self._start_applying(batch, prepared)
                await asyncio.sleep(0)  # let it send its request: all that comes now may take us no wait at all
        finally:
            self._taken.clear()

    async def _fold(self, batch: _Batch) -> Prepared[Any]:
        """Fold a batch, and wait until there is room for it."""
        await self._after_step("fetch")
        grouping = partial(group_by_aggregate, batch.deliveries, projected=self._projection.projected.number)
        prepared = await self._projection.prepare(await offloaded(grouping, of=batch.values))
        await self._after_step("fold")
        await self._room_for(prepared)
        return prepared

    async def _room_for(self, prepared: Prepared[Any]) -> None:
        """Wait until few enough are in flight, and none of them has an aggregate in common with this one."""
        while len(self._in_flight) >= IN_FLIGHT_MAX:
            await self._oldest_committed()
        for in_flight in list(self._in_flight):
            if not in_flight.prepared.found.work.keys().isdisjoint(prepared.found.work):
                await in_flight.applied.wait()

    def _start_applying(self, batch: _Batch, prepared: Prepared[Any]) -> None:
        before = self._in_flight[-1].committed if self._in_flight else None
        applied = asyncio.Event()
        committed = asyncio.create_task(self._apply_and_commit(batch, prepared, applied, before))
        self._in_flight.append(_InFlightBatch(batch, prepared, applied, committed))

    async def _apply_and_commit(
        self, batch: _Batch, prepared: Prepared[Any], applied: asyncio.Event, before: asyncio.Task[None] | None
    ) -> None:
        try:
            with tracing.projecting(self._name, batch.deliveries):
                await self._projection.project(prepared)
                await self._after_step("show")
                await self._projection.park(prepared)
                await self._after_step("park")
            applied.set()
            if before:  # nothing is committed beyond a batch that failed or was called off: we come again with it
                await before
            await self._backoff.until_done(partial(self._subscription.commit_offsets, batch.offsets))
            await self._after_step("commit")
            self._metrics.batch_s.observe(time.monotonic() - batch.began_s)
        finally:
            applied.set()

    async def _oldest_committed(self) -> None:
        """Wait for the batch that is in flight longest; a cancelled one comes again."""
        in_flight = self._in_flight[0]
        await asyncio.wait([in_flight.committed])
        self._in_flight.popleft()
        if not in_flight.committed.cancelled():
            in_flight.committed.result()

    async def _release_partitions(self) -> None:
        """Our partitions may go to others: let the batches in flight be committed, if that takes seconds only."""
        self._epoch += 1
        committing = [in_flight.committed for in_flight in self._in_flight if not in_flight.committed.done()]
        if committing:
            _, late = await asyncio.wait(committing, timeout=HAND_OVER_S)
            if late:
                for each in late:
                    each.cancel()
                await asyncio.wait(late)

    async def _maintain(self) -> None:
        """Read others' changes to dead letters, finish their incomplete ones, and measure the lag."""
        while not self._stopping.is_set():
            try:
                await self._parking.refresh()
                for dead_letter in self._parking.unfinished():
                    if datetime.now(UTC) - datetime.fromisoformat(dead_letter.at) > UNFINISHED_AFTER:
                        await self._dead_letter_service.finish(dead_letter)
                await self._dead_letter_service.redrive(self._parking.set_aside(), by="oncelog-projector")
            except OncelogError as error:  # tried again soon; its aggregates keep waiting meanwhile
                log.warning("dead_letters_not_refreshed", code=error.code, reason=error.message)
            self._measure_lag()
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def _unfinished(self) -> list[_Batch]:
        """Return the batches that are taken and not committed, the oldest first; released ones come again."""
        in_flight = [sent.batch for sent in self._in_flight if not sent.committed.done()]
        return [*in_flight, *(batch for batch in self._taken if batch.epoch == self._epoch)]

    def _measure_lag(self) -> None:
        behind = Counter(self._subscription.lag())
        ages_ms: dict[int, float] = {}
        now_ms = time.time() * 1000
        for batch in reversed(self._unfinished()):
            behind.update(batch.messages)
            ages_ms |= {partition: max(0.0, now_ms - sent) for partition, sent in batch.oldest_sent_ms.items()}
        self._metrics.lag(behind, ages_ms)


def _batches_of(deliveries: Sequence[Delivery], epoch: int) -> deque[_Batch]:
    """Cut messages into batches of ``BATCH_BYTES_MAX``: a parsed event takes up to twenty times its bytes."""
    batches: deque[_Batch] = deque()
    first = size_bytes = 0
    for index, delivery in enumerate(deliveries):
        delivery_bytes = len(delivery.value or b"")
        if index > first and size_bytes + delivery_bytes > BATCH_BYTES_MAX:
            batches.append(_batch_of(deliveries[first:index], epoch))
            first, size_bytes = index, 0
        size_bytes += delivery_bytes
    if deliveries:
        batches.append(_batch_of(deliveries[first:], epoch))
    return batches


def _batch_of(deliveries: Sequence[Delivery], epoch: int) -> _Batch:
    offsets: dict[int, int] = {}
    oldest_ms: dict[int, int] = {}
    for delivery in deliveries:
        offsets[delivery.partition] = delivery.offset + 1
        oldest_ms.setdefault(delivery.partition, delivery.sent_at_ms)
    messages = Counter(delivery.partition for delivery in deliveries)
    return _Batch(deliveries, epoch, offsets, messages, oldest_ms, time.monotonic())
