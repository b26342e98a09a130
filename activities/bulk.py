"""The steps of a bulk command: open, run through chunks, close, deliver the chunks left for later, finish."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from pydantic import TypeAdapter
from temporalio import activity

from oncelog import metrics
from oncelog.activities.bulk_models import (
    BulkCloseRequest,
    BulkDeliverRequest,
    BulkFinishRequest,
    BulkOpened,
    BulkOpenRequest,
    BulkRunRequest,
)
from oncelog.activities.heartbeats import heartbeats
from oncelog.bulk.run import Progress, RunControl
from oncelog.composition.pipeline import Pipeline
from oncelog.domain.bulk.command import parse_bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.ports import CommandStatuses
from oncelog.replay.trace import AfterStep, Trace, nothing_after
from oncelog.write.completion import complete

#: How long a run goes on before it hands back its progress, so that people see it come along.
SEGMENT_S = 10.0
SEGMENT_CHUNKS_MAX = 50
HEARTBEAT_S = 1.0

Result = TypeVar("Result")

_progress: TypeAdapter[Progress] = TypeAdapter(Progress)


class BulkActivities:
    """Every method is idempotent: it may be repeated at any time, beside an attempt that is still alive."""

    def __init__(self, pipeline: Pipeline, statuses: CommandStatuses, *, after_step: AfterStep = nothing_after) -> None:
        self._bulk = pipeline.bulk
        self._statuses = statuses
        self._after_step = after_step

    @property
    def all(self) -> list[Callable[..., Any]]:
        """The activities for a worker to register."""
        return [self.open_bulk, self.run_chunks, self.close_bulk, self.deliver_chunks, self.finish_bulk]

    @activity.defn
    async def open_bulk(self, request: BulkOpenRequest) -> BulkOpened:
        """Claim the command ID, go through all items once, and write the record that binds from then on."""
        bulk = parse_bulk(request.command, stored=True)  # its workflow has judged it
        async with heartbeats(lambda: None, every_s=HEARTBEAT_S):
            opened = await self._bulk.opener.open(bulk, occurred_at=request.occurred_at, trace=Trace(self._after_step))
            if isinstance(opened, BulkResult):
                await self._complete(opened, bulk.command_type)
                return BulkOpened(result=opened)
        plan = opened.accepted_plan
        return BulkOpened(items=plan.items_count, chunks=len(plan.chunks))

    @activity.defn
    async def run_chunks(self, request: BulkRunRequest) -> Progress:
        """Go on from where it stood for a while, or to the end; stops between chunks when it is cancelled."""
        run = _Run(_resumed() or request.progress, self._after_step)
        record = await self._bulk.opener.record(request.command_id)
        async with run.alive():
            before = run.progress
            done = await run.shielded(self._bulk.runner.run(record, before, run.run_control))
            metrics.BULK_ITEMS.labels("applied").inc(done.applied - before.applied)
            metrics.BULK_ITEMS.labels("rejected").inc(done.rejected - before.rejected)
            return done

    @activity.defn
    async def close_bulk(self, request: BulkCloseRequest) -> Progress:
        """End the command before its next chunk; chunks with a record are finished first."""
        run = _Run(_resumed() or request.progress, self._after_step)
        record = await self._bulk.opener.record(request.command_id)
        async with run.alive():
            return await self._bulk.runner.close(record, run.progress, request.reason, run.run_control)

    @activity.defn
    async def deliver_chunks(self, request: BulkDeliverRequest) -> list[int]:
        """Publish and project the chunks left for later, from the records; returns the chunks that are left."""
        reported = _resumed()
        chunks = list(reported.undelivered) if reported else request.chunks
        run = _Run(Progress(next_chunk=0, undelivered=tuple(chunks)), self._after_step)
        record = await self._bulk.opener.record(request.command_id)
        async with run.alive():
            return await run.shielded(self._bulk.runner.deliver(record, chunks, run.run_control))

    @activity.defn
    async def finish_bulk(self, request: BulkFinishRequest) -> BulkResult:
        """Write one line per item and the summary, and keep the result where the command's status is asked for."""
        record = await self._bulk.opener.record(request.command_id)
        async with heartbeats(lambda: None, every_s=HEARTBEAT_S):
            result = await self._bulk.reporter.report(record, trace=Trace(self._after_step))
            await self._complete(result, record.bulk.command_type)
        return result

    async def _complete(self, result: BulkResult, command_type: str) -> None:
        trace = Trace(self._after_step)
        await complete(self._statuses, result, command_type=command_type, trace=trace, step_name="bulk_complete")


class _Run:
    """One attempt: how far it has come, and the signals that stop it."""

    def __init__(self, progress: Progress, after_step: AfterStep) -> None:
        self.progress = progress
        self.run_control = RunControl(self._is_stopping, self._record, after_step)
        self._is_cancelled = False
        self._until_s = time.monotonic() + SEGMENT_S
        self._chunks = 0

    def alive(self) -> AbstractAsyncContextManager[None]:
        """Report the progress while the block lasts."""
        return heartbeats(lambda: self.progress, every_s=HEARTBEAT_S)

    async def shielded(self, doing: Coroutine[Any, Any, Result]) -> Result:
        """Await it to its own end; a cancellation tells it to come to that soon, and does not interrupt it."""
        task = asyncio.create_task(doing)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._is_cancelled = True
            return await task

    def _is_stopping(self) -> bool:
        over = time.monotonic() > self._until_s or self._chunks >= SEGMENT_CHUNKS_MAX
        return over or self._is_cancelled or activity.is_worker_shutdown()

    def _record(self, progress: Progress) -> None:
        self._chunks += progress.next_chunk > self.progress.next_chunk
        self.progress = progress
        activity.heartbeat(progress)


def _resumed() -> Progress | None:
    """Return how far an attempt before this one had come, if it reported that."""
    details = activity.info().heartbeat_details
    return _progress.validate_python(details[0]) if details else None
