"""The loop: take a batch, fold it, project it, commit it. While some batches are in flight, the next is folded.

Offsets are committed only after the read model has acknowledged all of a batch, and of those before it, and their
failures are parked. So a projector may die anywhere, or lose its partitions at any moment: the next owner does the same
again, which the read model's fencing by sequence number makes harmless. Batches that have an aggregate in common go out
one after the other. Memory holds ``IN_FLIGHT_MAX`` batches and one more, and what the client prefetches.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from oncelog.errors import OncelogError
from oncelog.ports import Delivery, EventSubscription, FailureStream, ReadModel
from oncelog.read_models.dead_letter_service import DeadLetterService
from oncelog.read_models.parking import Parking
from oncelog.read_models.projector.apply import BatchProjection, Prepared
from oncelog.read_models.projector.fold import Folder
from oncelog.read_models.projector.group import group_by_aggregate
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.read_models.projector.retry import Backoff, Stopped
from oncelog.replay.trace import AfterStep, nothing_after

BATCH_MESSAGES_MAX = 500
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

    epoch: int
    offsets: Mapping[int, int]
    messages: Mapping[int, int]
    oldest_sent_ms: Mapping[int, int]
    began_s: float


@dataclass(frozen=True, eq=False)
class _InFlightBatch:
    """A batch in flight. ``applied``: it is projected and parked, or never will be; ``committed``: committed, too."""

    batch: _Batch
    prepared: Prepared
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
        read_model: ReadModel,
        folder: Folder,
        parking: Parking,
        dead_letter_service: DeadLetterService,
        failures: FailureStream,
        metrics: ProjectorMetrics,
        after_step: AfterStep = nothing_after,
        batch_messages_max: int = BATCH_MESSAGES_MAX,
    ) -> None:
        self._subscription = subscription
        self._read_model = read_model
        self._parking = parking
        self._dead_letter_service = dead_letter_service
        self._metrics = metrics
        self._after_step = after_step
        self._batch_messages_max = batch_messages_max
        self._stopping = asyncio.Event()
        self._backoff = Backoff(self._stopping, refused=metrics.container_refused)
        self._projection = BatchProjection(
            read_model=read_model,
            folder=folder,
            parking=parking,
            failures=failures,
            metrics=metrics,
            backoff=self._backoff,
        )
        self._epoch = 0
        self._in_flight: deque[_InFlightBatch] = deque()
        self._unfinished: list[_Batch] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Project until ``stopping`` is set; then finish what is in flight, if that takes seconds only.

        Waits for servers as long as it takes. Raises what is a defect.
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
            log.info("projector_ready", read_model=self._read_model.name)
            while not self._stopping.is_set():
                await self._take_one()
            while self._in_flight:
                await self._oldest_committed()
        except Stopped as reason:
            log.warning("projector_stops_short", reason=str(reason))

    async def _take_one(self) -> None:
        """Fetch and fold a batch, and send it out when there is room."""
        fetching = partial(self._subscription.next_batch, messages_max=self._batch_messages_max, wait_s=WAIT_S)
        deliveries = await self._backoff.until_done(fetching)
        while self._in_flight and self._in_flight[0].committed.done():
            await self._oldest_committed()
        if not deliveries:
            return
        batch = _batch_of(deliveries, self._epoch)
        self._unfinished.append(batch)
        await self._after_step("fetch")
        prepared = await self._projection.prepare(
            group_by_aggregate(deliveries, projected=self._projection.projected.number)
        )
        await self._after_step("fold")
        await self._room_for(prepared)
        if batch.epoch == self._epoch:
            self._start_applying(batch, prepared)
            await asyncio.sleep(0)  # let it send its request: all that comes now may take us no wait at all
        else:  # its partitions were given up meanwhile, and go on from the last commit, wherever they are now
            self._unfinished.remove(batch)

    async def _room_for(self, prepared: Prepared) -> None:
        """Wait until few enough are in flight, and none of them has an aggregate in common with this one."""
        while len(self._in_flight) >= IN_FLIGHT_MAX:
            await self._oldest_committed()
        for in_flight in list(self._in_flight):
            if not in_flight.prepared.found.work.keys().isdisjoint(prepared.found.work):
                await in_flight.applied.wait()

    def _start_applying(self, batch: _Batch, prepared: Prepared) -> None:
        before = self._in_flight[-1].committed if self._in_flight else None
        applied = asyncio.Event()
        committed = asyncio.create_task(self._apply_and_commit(batch, prepared, applied, before))
        self._in_flight.append(_InFlightBatch(batch, prepared, applied, committed))

    async def _apply_and_commit(
        self, batch: _Batch, prepared: Prepared, applied: asyncio.Event, before: asyncio.Task[None] | None
    ) -> None:
        try:
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
            self._unfinished.remove(batch)

    async def _oldest_committed(self) -> None:
        """Wait for the batch that is in flight longest; one that was called off comes again."""
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
        """Read what others did about dead letters, finish what they left, and measure the lag."""
        while not self._stopping.is_set():
            try:
                await self._parking.refresh()
                for dead_letter in self._parking.unfinished():
                    if datetime.now(UTC) - datetime.fromisoformat(dead_letter.at) > UNFINISHED_AFTER:
                        await self._dead_letter_service.finish(dead_letter)
                await self._dead_letter_service.redrive(self._parking.set_aside(), by="oncelog-projector")
            except OncelogError as error:  # looked at again soon; what it is about keeps waiting meanwhile
                log.warning("dead_letters_not_refreshed", code=error.code, reason=error.message)
            self._measure_lag()
            try:
                async with asyncio.timeout(REFRESH_S):
                    await self._stopping.wait()
            except TimeoutError:
                continue

    def _measure_lag(self) -> None:
        behind = Counter(self._subscription.lag())
        ages_ms: dict[int, float] = {}
        now_ms = time.time() * 1000
        for batch in reversed(self._unfinished):
            behind.update(batch.messages)
            ages_ms |= {partition: max(0.0, now_ms - sent) for partition, sent in batch.oldest_sent_ms.items()}
        self._metrics.lag(behind, ages_ms)


def _batch_of(deliveries: Sequence[Delivery], epoch: int) -> _Batch:
    offsets: dict[int, int] = {}
    oldest_ms: dict[int, int] = {}
    for delivery in deliveries:
        offsets[delivery.partition] = delivery.offset + 1
        oldest_ms.setdefault(delivery.partition, delivery.sent_at_ms)
    messages = Counter(delivery.partition for delivery in deliveries)
    return _Batch(epoch, offsets, messages, oldest_ms, time.monotonic())
