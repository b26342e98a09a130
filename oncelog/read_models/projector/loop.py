"""The loop: take a batch, fold it, show it, commit it. While some batches are on their way out, the next is folded.

Offsets are committed only after the read model has acknowledged all of a batch, and of those before it, and their
failures are parked. So a projector may die anywhere, or lose its partitions at any moment: the next owner does the same
again, which the read model's fencing by sequence number makes harmless. Batches that have an aggregate in common go out
one after the other. Memory holds ``FLIGHTS_MAX`` batches and one more, and what the client prefetches.
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
from oncelog.read_models.projector.apply import Prepared, Showing
from oncelog.read_models.projector.fold import Folder
from oncelog.read_models.projector.group import sort_out
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.read_models.projector.retry import Patience, Stopped
from oncelog.replay.trace import AfterStep, nothing_after

BATCH_MESSAGES_MAX = 500
#: Batches on their way out: one is committed, one is written, and one is ready for when the server is.
FLIGHTS_MAX = 3
WAIT_S = 0.25  # for messages, between two looks at whether to stop
#: How long partitions are held for a batch on its way out: shorter than the group waits for us to rejoin.
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
class _Flight:
    """A batch on its way out. ``settled``: it is shown and parked, or never will be; ``landed``: committed, too."""

    batch: _Batch
    prepared: Prepared
    settled: asyncio.Event
    landed: asyncio.Task[None]


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
        self._patience = Patience(self._stopping, refused=metrics.container_refused)
        self._showing = Showing(
            read_model=read_model,
            folder=folder,
            parking=parking,
            failures=failures,
            metrics=metrics,
            patience=self._patience,
        )
        self._epoch = 0
        self._flights: deque[_Flight] = deque()
        self._in_hand: list[_Batch] = []

    async def run(self, stopping: asyncio.Event) -> None:
        """Project until ``stopping`` is set; then finish what is on its way out, if that takes seconds only.

        Waits for servers as long as it takes. Raises what is a defect.
        """
        tasks = [asyncio.create_task(self._work()), asyncio.create_task(self._keep_house())]
        told = asyncio.create_task(stopping.wait())
        try:
            await asyncio.wait([*tasks, told], return_when=asyncio.FIRST_COMPLETED)
            self._stopping.set()
            await asyncio.wait(tasks, timeout=DRAIN_S)
        finally:
            self._stopping.set()
            ending = [told, *tasks, *(flight.landed for flight in self._flights)]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            await self._subscription.stop()
        for task in tasks:
            if not task.cancelled():
                task.result()

    async def _work(self) -> None:
        try:
            await self._patience.until_done(self._parking.refresh)
            await self._patience.until_done(partial(self._subscription.start, self._give_up))
            log.info("projector_ready", read_model=self._read_model.name)
            while not self._stopping.is_set():
                await self._take_one()
            while self._flights:
                await self._first_landed()
        except Stopped as reason:
            log.warning("projector_stops_short", reason=str(reason))

    async def _take_one(self) -> None:
        """Fetch and fold a batch, and send it out when there is room."""
        fetching = partial(self._subscription.next_batch, messages_max=self._batch_messages_max, wait_s=WAIT_S)
        deliveries = await self._patience.until_done(fetching)
        while self._flights and self._flights[0].landed.done():
            await self._first_landed()
        if not deliveries:
            return
        batch = _batch_of(deliveries, self._epoch)
        self._in_hand.append(batch)
        await self._after_step("fetch")
        prepared = await self._showing.prepare(sort_out(deliveries, shown=self._showing.shown.number))
        await self._after_step("fold")
        await self._room_for(prepared)
        if batch.epoch == self._epoch:
            self._send_out(batch, prepared)
            await asyncio.sleep(0)  # let it send its request: all that comes now may take us no wait at all
        else:  # its partitions were given up meanwhile, and go on from the last commit, wherever they are now
            self._in_hand.remove(batch)

    async def _room_for(self, prepared: Prepared) -> None:
        """Wait until few enough are on their way out, and none of them has an aggregate in common with this one."""
        while len(self._flights) >= FLIGHTS_MAX:
            await self._first_landed()
        for flight in list(self._flights):
            if not flight.prepared.found.work.keys().isdisjoint(prepared.found.work):
                await flight.settled.wait()

    def _send_out(self, batch: _Batch, prepared: Prepared) -> None:
        before = self._flights[-1].landed if self._flights else None
        settled = asyncio.Event()
        landed = asyncio.create_task(self._bring_out(batch, prepared, settled, before))
        self._flights.append(_Flight(batch, prepared, settled, landed))

    async def _bring_out(
        self, batch: _Batch, prepared: Prepared, settled: asyncio.Event, before: asyncio.Task[None] | None
    ) -> None:
        try:
            await self._showing.show(prepared)
            await self._after_step("show")
            await self._showing.park(prepared)
            await self._after_step("park")
            settled.set()
            if before:  # nothing is committed beyond a batch that failed or was called off: we come again with it
                await before
            await self._patience.until_done(partial(self._subscription.commit, batch.offsets))
            await self._after_step("commit")
            self._metrics.batch_s.observe(time.monotonic() - batch.began_s)
        finally:
            settled.set()
            self._in_hand.remove(batch)

    async def _first_landed(self) -> None:
        """Wait for the batch that is on its way out longest; one that was called off comes again."""
        flight = self._flights[0]
        await asyncio.wait([flight.landed])
        self._flights.popleft()
        if not flight.landed.cancelled():
            flight.landed.result()

    async def _give_up(self) -> None:
        """Our partitions may go to others: let the batches on their way out land, if that takes seconds only."""
        self._epoch += 1
        landing = [flight.landed for flight in self._flights if not flight.landed.done()]
        if landing:
            _, late = await asyncio.wait(landing, timeout=HAND_OVER_S)
            if late:
                for each in late:
                    each.cancel()
                await asyncio.wait(late)

    async def _keep_house(self) -> None:
        """Hear of what others did about dead letters, finish what they left, and say how far behind we are."""
        while not self._stopping.is_set():
            try:
                await self._parking.refresh()
                for letter in self._parking.unfinished():
                    if datetime.now(UTC) - datetime.fromisoformat(letter.at) > UNFINISHED_AFTER:
                        await self._dead_letter_service.finish(letter)
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
        for batch in reversed(self._in_hand):
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
