"""The loop: take a batch, fold it, show it, commit it. While one batch is on its way out, the next is folded.

Offsets are committed only after the read model has acknowledged all of a batch, and its failures are parked. So a
projector may die anywhere, or lose its partitions at any moment: whoever comes next does the same again, which the
read model's fencing by sequence number makes harmless. Memory holds two batches, and what the client prefetches.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial

import structlog

from factline.errors import FactlineError
from factline.pipeline.mending import Mender
from factline.pipeline.trace import AfterStep, nothing_after
from factline.ports import Delivery, EventSubscription, FailureStream, ReadModel
from factline.projections.parking import Parking
from factline.projector.folding import Folder
from factline.projector.metrics import ProjectorMetrics
from factline.projector.patience import Abandoned, Patience
from factline.projector.showing import Prepared, Showing
from factline.projector.sorting import sort_out

BATCH_MESSAGES_MAX = 500
WAIT_S = 0.25  # for messages, between two looks at whether to stop
#: How long partitions are held for a batch on its way out: shorter than the group waits for us to rejoin.
HAND_OVER_S = 10.0
DRAIN_S = 10.0
REFRESH_S = 2.0
#: After which a retry or a skip that nobody finished is finished by a projector.
UNFINISHED_AFTER = timedelta(seconds=60)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class _Batch:
    """What was fetched together. ``epoch``: under which assignment of partitions; ``offsets``: to go on from, then."""

    epoch: int
    offsets: Mapping[int, int]
    messages: Mapping[int, int]
    oldest_sent_ms: Mapping[int, int]
    began_s: float


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
        mender: Mender,
        failures: FailureStream,
        metrics: ProjectorMetrics,
        after_step: AfterStep = nothing_after,
        batch_messages_max: int = BATCH_MESSAGES_MAX,
    ) -> None:
        self._subscription = subscription
        self._read_model = read_model
        self._parking = parking
        self._mender = mender
        self._metrics = metrics
        self._after_step = after_step
        self._batch_messages_max = batch_messages_max
        self._stopping = asyncio.Event()
        self._patience = Patience(self._stopping)
        self._showing = Showing(
            read_model=read_model,
            folder=folder,
            parking=parking,
            failures=failures,
            metrics=metrics,
            patience=self._patience,
        )
        self._epoch = 0
        self._flight: asyncio.Task[None] | None = None
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
            ending = [told, *tasks, *([self._flight] if self._flight else [])]
            for task in ending:
                task.cancel()
            await asyncio.wait(ending)
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
            await self._landed()
        except Abandoned as reason:
            log.warning("projector_stops_short", reason=str(reason))

    async def _take_one(self) -> None:
        """Fetch and fold a batch, and send it out when the one before is out."""
        fetching = partial(self._subscription.next_batch, messages_max=self._batch_messages_max, wait_s=WAIT_S)
        deliveries = await self._patience.until_done(fetching)
        if not deliveries:
            return
        batch = _batch_of(deliveries, self._epoch)
        self._in_hand.append(batch)
        await self._after_step("fetch")
        prepared = await self._showing.prepare(sort_out(deliveries, shown=self._showing.shown.number))
        await self._after_step("fold")
        await self._landed()
        if batch.epoch == self._epoch:
            self._flight = asyncio.create_task(self._bring_out(batch, prepared))
            await asyncio.sleep(0)  # let it send its request: all that comes now may take us no wait at all
        else:  # its partitions were given up meanwhile, and go on from the last commit, wherever they are now
            self._in_hand.remove(batch)

    async def _bring_out(self, batch: _Batch, prepared: Prepared) -> None:
        try:
            await self._showing.show(prepared)
            await self._after_step("show")
            await self._showing.park(prepared)
            await self._after_step("park")
            await self._patience.until_done(partial(self._subscription.commit, batch.offsets))
            await self._after_step("commit")
            self._metrics.batch_s.observe(time.monotonic() - batch.began_s)
        finally:
            self._in_hand.remove(batch)

    async def _landed(self) -> None:
        """Wait for the batch on its way out; one that was called off comes again."""
        flight = self._flight
        if flight:
            await asyncio.wait([flight])
            self._flight = None
            if not flight.cancelled():
                flight.result()

    async def _give_up(self) -> None:
        """Our partitions may go to others: let the batch on its way out land, if that takes seconds only."""
        self._epoch += 1
        flight = self._flight
        if flight and not flight.done():
            landed, _ = await asyncio.wait([flight], timeout=HAND_OVER_S)
            if not landed:
                flight.cancel()
                await asyncio.wait([flight])

    async def _keep_house(self) -> None:
        """Hear of what others did about dead letters, finish what they left, and say how far behind we are."""
        while not self._stopping.is_set():
            try:
                await self._parking.refresh()
                for letter in self._parking.unfinished():
                    if datetime.now(UTC) - datetime.fromisoformat(letter.at) > UNFINISHED_AFTER:
                        await self._mender.finish(letter)
            except FactlineError as error:  # looked at again soon; what it is about keeps waiting meanwhile
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
