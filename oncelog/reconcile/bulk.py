"""Bulk commands without their workflow: bound items are finished, the rest is closed, the result assembled."""

from oncelog.bulk.report import BulkReporter
from oncelog.bulk.run import BulkRunner, Progress, RunControl
from oncelog.domain.bulk.records import BulkRecord, Closed
from oncelog.domain.bulk.results import BulkResult
from oncelog.ports import ChunkRecords
from oncelog.replay.trace import AfterStep, Trace


class BulkReconciler:
    """Ends bulk commands from their records, by their own path's means; any number of it may run at once.

    Unlike a command on one instance, a bulk command is not carried on: a termination with a million items left is
    meant to stop it. An attempt that still lives stops at the same record, or has its chunk ended before it.
    """

    def __init__(
        self, *, runner: BulkRunner, reporter: BulkReporter, chunk_records: ChunkRecords, after_step: AfterStep
    ) -> None:
        self._runner = runner
        self._reporter = reporter
        self._chunk_records = chunk_records
        self._after_step = after_step

    async def end(self, record: BulkRecord) -> BulkResult:
        """Bring the command to its end; raises StoreUnavailable, LogDamaged."""
        run_control = RunControl(stopping=lambda: False, progressed=lambda _: None, after_step=self._after_step)
        began = Progress(next_chunk=max(1, await self._last_begun(record)))
        done = await self._runner.close(record, began, Closed.TERMINATED, run_control)
        await self._runner.deliver(record, list(done.undelivered), run_control)
        return await self._reporter.report(record, trace=Trace(self._after_step))

    async def _last_begun(self, record: BulkRecord) -> int:
        """Return the last chunk that has a record, or 0, in a number of requests that grows with the logarithm.

        A chunk's record is written only after the chunk before it is at its end: so all before it are.
        """
        begun, not_begun = 0, len(record.accepted_plan.chunks) + 1
        while not_begun - begun > 1:
            middle = (begun + not_begun) // 2
            if await self._chunk_records.read_chunk_record(record.command_id, middle, 1) is None:
                not_begun = middle
            else:
                begun = middle
        return begun
