"""Running through chunks: while one is written, the one before is delivered, and the next is prepared already."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import structlog

from oncelog.bulk.chunk import ChunkCommitter, ChunkEnd
from oncelog.bulk.chunk_attempt import ChunkAttempt
from oncelog.bulk.chunk_planner import ChunkPlanner
from oncelog.bulk.delivery import ChunkDelivery
from oncelog.domain.bulk.records import BulkRecord, Closed, chunk_record
from oncelog.errors import StoreUnavailable
from oncelog.ports import ChunkRecords
from oncelog.replay.trace import AfterStep, Trace

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Progress:
    """How far a run has come. ``undelivered``: chunks at their end with events not known to be delivered.

    ``closed``: the command ended before ``next_chunk``. ``durations_ms``: by step, for people.
    """

    next_chunk: int
    applied: int = 0
    rejected: int = 0
    undelivered: tuple[int, ...] = ()
    closed: Closed | None = None
    durations_ms: dict[str, float] = field(default_factory=dict)


@dataclass
class RunControl:
    """The control of a run from outside: when to stop, where progress is reported, the observer of each step."""

    stopping: Callable[[], bool]
    progressed: Callable[[Progress], None]
    after_step: AfterStep


class BulkRunner:
    """Runs through the chunks of bulk commands, one after the other."""

    def __init__(
        self,
        *,
        chunk_planner: ChunkPlanner,
        committer: ChunkCommitter,
        delivery: ChunkDelivery,
        records: ChunkRecords,
    ) -> None:
        self._chunk_planner = chunk_planner
        self._committer = committer
        self._delivery = delivery
        self._records = records

    async def run(self, record: BulkRecord, progress: Progress, run_control: RunControl) -> Progress:
        """Go on from where ``progress`` stands until stopped, or to the end; return how far it came.

        A chunk that has begun is finished: it stops between chunks only. A server that is needed for writing and does
        not answer ends the run, too, as long as it came further than at its beginning; else raises StoreUnavailable.
        """
        run = self._begin(record, progress, run_control)
        try:
            while run.progress.next_chunk <= len(_chunks(record)) and not run_control.stopping():
                if await run.chunk() is not None:
                    break
        except StoreUnavailable as error:
            if run.progress.next_chunk == progress.next_chunk:
                raise
            log.warning("bulk_interrupted", command_id=record.command_id, reason=error.message)
        finally:
            await run.ended()
        return run.progress

    async def close(self, record: BulkRecord, progress: Progress, reason: Closed, run_control: RunControl) -> Progress:
        """End the command before its next chunk; a chunk that another attempt has bound is brought to its end first."""
        run = self._begin(record, progress, run_control)
        try:
            while run.progress.next_chunk <= len(_chunks(record)):
                closing = chunk_record(record, run.progress.next_chunk, 1, reason)
                async with Trace(run_control.after_step).step("bulk_close"):
                    stored = await self._records.write_chunk_record(closing)
                if stored.closed is not None:
                    run.progress = replace(run.progress, closed=stored.closed)
                    break
                await run.chunk(last=True)
        finally:
            await run.ended()
        return run.progress

    async def deliver(self, record: BulkRecord, chunks: list[int], run_control: RunControl) -> list[int]:
        """Deliver chunks that were left for later; return those left when stopped. Raises StoreUnavailable."""
        left = list(chunks)
        while left and not run_control.stopping():
            await self._delivery.deliver_later(record, left[0], trace=Trace(run_control.after_step))
            left.pop(0)
            run_control.progressed(Progress(next_chunk=0, undelivered=tuple(left)))
        return left

    def _begin(self, record: BulkRecord, progress: Progress, run_control: RunControl) -> "_Run":
        return _Run(record, progress, run_control, self._chunk_planner, self._committer, self._delivery)


@dataclass(frozen=True)
class _Next:
    """A chunk that is prepared while the one before it is written."""

    preparing: asyncio.Task[ChunkAttempt]
    trace: Trace


@dataclass
class _Run:
    """One run under way: beside the chunk that is being written, one is being delivered and one prepared at most."""

    record: BulkRecord
    progress: Progress
    run_control: RunControl
    chunk_planner: ChunkPlanner
    committer: ChunkCommitter
    delivery: ChunkDelivery
    _next: _Next | None = None
    _delivering: asyncio.Task[str | None] | None = None

    async def chunk(self, *, last: bool = False) -> Closed | None:
        """Commit the next chunk and begin to deliver it; returns why the command ends before it, if it does.

        ``last``: no other one is to follow, so none is prepared meanwhile.
        """
        current, self._next = self._next or self._prepare(self.progress.next_chunk, after=None), None
        first = await current.preparing
        if not last and first.chunk < len(_chunks(self.record)) and not self.run_control.stopping():
            self._next = self._prepare(first.chunk + 1, after=first)
        end = await self.committer.commit(
            self.record, first, trace=current.trace, before_waiting=self._release_prepared
        )
        await self.delivered()
        if isinstance(end, Closed):
            self.progress = replace(self.progress, closed=end)
            return end
        self._count(end, current.trace)
        self._delivering = asyncio.create_task(self.delivery.deliver(self.record, end, trace=current.trace))
        self.run_control.progressed(self.progress)
        return None

    async def ended(self) -> None:
        """Leave nothing that still runs, and let others have the leases of a chunk that is not gone on with."""
        await self._release_prepared()
        await self.delivered()

    async def _release_prepared(self) -> None:
        """Let others have the leases of the chunk that is prepared: the next run prepares it again."""
        following, self._next = self._next, None
        if following is not None:
            (prepared,) = await asyncio.gather(following.preparing, return_exceptions=True)  # it fails again, if it did
            if isinstance(prepared, ChunkAttempt):
                await self.chunk_planner.release(self.record, prepared)

    def _prepare(self, chunk: int, *, after: ChunkAttempt | None) -> _Next:
        trace = Trace(self.run_control.after_step)
        return _Next(
            asyncio.create_task(self.chunk_planner.prepare(self.record, chunk, after=after, trace=trace)), trace
        )

    async def delivered(self) -> None:
        """Wait until the delivery under way is done, or is known to be left for later."""
        delivering, self._delivering = self._delivering, None
        if delivering is None:
            return
        reason = await delivering
        if reason is None:
            *others, _ = self.progress.undelivered
            self.progress = replace(self.progress, undelivered=tuple(others))
            self.run_control.progressed(self.progress)
        else:
            log.warning("bulk_delivered_later", command_id=self.record.command_id, reason=reason)

    def _count(self, end: ChunkEnd, trace: Trace) -> None:
        rejected = sum(binding.rejection is not None for binding in end.bindings)
        durations_ms = dict(self.progress.durations_ms)
        for step in trace.steps:
            durations_ms[step.name] = round(durations_ms.get(step.name, 0) + step.duration_ms, 2)
        self.progress = replace(
            self.progress,
            next_chunk=end.chunk + 1,
            applied=self.progress.applied + len(end.bindings) - rejected,
            rejected=self.progress.rejected + rejected,
            undelivered=(*self.progress.undelivered, end.chunk),
            durations_ms=durations_ms,
        )


def _chunks(record: BulkRecord) -> range:
    return range(1, len(record.accepted_plan.chunks) + 1)
