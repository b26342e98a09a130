"""After a chunk's slots are written: publish, release the leases, project. Only forward, each step repeatable.

While Kafka or the documents' server does not answer, this returns the reason instead of waiting, so that writing goes
on; the remaining steps are done later from the records and the log alone.
"""

import asyncio
import time

import structlog
from structlog.contextvars import bound_contextvars

from oncelog.bounded_gather import bounded_gather
from oncelog.bulk.chunk import ChunkEnd, Written
from oncelog.domain.bulk.binding import by_aggregate, last_bindings
from oncelog.domain.bulk.records import BulkRecord, ChunkRecord
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import StoreUnavailable
from oncelog.ports import StreamProgress
from oncelog.replay.trace import Trace
from oncelog.write.delivery import Deliverer
from oncelog.write.write_path import WritePath

#: How long documents are left for later after a server did not take them, so that writing need not wait for it.
SILENCE_S = 5.0

log = structlog.get_logger(__name__)


class ChunkDelivery:
    """Delivers the events that chunks have written to the stream and to the documents."""

    def __init__(self, path: WritePath, *, deliverer: Deliverer, requests: asyncio.Semaphore) -> None:
        self._records = path.ports.chunk_records
        self._snapshots = path.ports.snapshots
        self._leases = path.ports.leases
        self._publication = path.publication
        self._snapshot_interval_events = path.snapshot_interval_events
        self._deliverer = deliverer
        self._requests = requests
        self._silent_until_s = 0.0

    async def deliver(self, record: BulkRecord, end: ChunkEnd, *, trace: Trace) -> str | None:
        """Try once to publish and to project all of a chunk; return None, or why something is left for later."""
        written = [one for one in end.written.values() if one.events]
        async with trace.step("bulk_publish"):
            unpublished = await self._publish(written)
        async with trace.step("bulk_settle"):
            await self._release(record, end)
        await self._save_snapshots(written)
        async with trace.step("bulk_project"):
            unprojected = await self._project(written)
        return unpublished or unprojected

    async def deliver_later(self, record: BulkRecord, chunk: int, *, trace: Trace) -> None:
        """Publish and project all of a chunk that is at its end, from its records; raises StoreUnavailable."""
        records: list[ChunkRecord] = []
        while found := await self._records.read_chunk_record(record.command_id, chunk, len(records) + 1):
            records.append(found)
        groups = by_aggregate(binding for binding in last_bindings(records) if binding.slot)
        heads = [(AggregateId.parse(name), max(one.slot or 0 for one in group)) for name, group in groups.items()]

        async def publish(head: tuple[AggregateId, int]) -> None:
            await self._publication.ensure(*head)

        async def project(head: tuple[AggregateId, int]) -> None:
            await self._project_one(*head)

        async with trace.step("bulk_publish"):
            await bounded_gather(publish, heads, at_once=self._requests)
        ours = [head for head in heads if self._deliverer.projects(head[0])]
        async with trace.step("bulk_project"):
            await bounded_gather(project, ours, at_once=self._requests)

    async def _publish(self, written: list[Written]) -> str | None:
        """Send every aggregate's events, aggregates side by side, and raise the watermarks of those acknowledged."""
        if not self._publication.answers:
            return "Kafka does not answer"
        outcomes = await asyncio.gather(*(self._publish_one(one) for one in written))
        return next((reason for reason in outcomes if reason), None)

    async def _publish_one(self, written: Written) -> str | None:
        try:
            written.published = await self._publication.send(
                written.aggregate_id, written.events, watermark=written.published
            )
        except StoreUnavailable as error:
            return error.message
        return None

    async def _release(self, record: BulkRecord, end: ChunkEnd) -> None:
        known = end.written.values()
        progress = [StreamProgress(one.aggregate_id, one.state, one.published, release=True) for one in known]
        if not progress:
            return
        try:
            await self._leases.save_progress(progress, record.command_id)
        except StoreUnavailable as error:  # for speed only: leases run out, and heads are recovered from the log
            log.warning("leases_not_released", command_id=record.command_id, chunk=end.chunk, reason=error.message)

    async def _save_snapshots(self, written: list[Written]) -> None:
        interval = self._snapshot_interval_events
        due = [one.state for one in written if any(event.sequence_number % interval == 0 for event in one.events)]
        for state in filter(None, due):
            try:
                await self._snapshots.save_snapshot(state)
            except StoreUnavailable as error:  # derived: the next one does as well, until then reading takes longer
                log.warning("snapshot_not_saved", aggregate_id=state.aggregate_id, reason=error.message)

    async def _project(self, written: list[Written]) -> str | None:
        ours = [one for one in written if self._deliverer.projects(one.aggregate_id)]
        heads = [(one.aggregate_id, one.events[-1].sequence_number) for one in ours]
        if heads and time.monotonic() < self._silent_until_s:
            return "the documents' server did not answer a moment ago"
        outcomes = await asyncio.gather(*(self._project_one(*head) for head in heads), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, StoreUnavailable):
                self._silent_until_s = time.monotonic() + SILENCE_S
                return outcome.message
            if isinstance(outcome, BaseException):
                raise outcome
        return None

    async def _project_one(self, aggregate_id: AggregateId, sequence_number: int) -> None:
        with bound_contextvars(aggregate_id=str(aggregate_id), sequence_number=sequence_number):
            await self._deliverer.project_or_park(aggregate_id, sequence_number, Trace())
