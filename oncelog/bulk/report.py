"""The result of a bulk command, read from its records: one line per item, and the counts."""

import hashlib
import json
from collections.abc import AsyncIterator

import structlog

from oncelog.domain.bulk.binding import last_bindings
from oncelog.domain.bulk.records import BulkRecord, ChunkRecord, Closed
from oncelog.domain.bulk.results import BulkResult, Counts, result_line, untouched_line
from oncelog.domain.results import Outcome
from oncelog.domain.stored_names import results_key, summary_key
from oncelog.errors import LogDamaged
from oncelog.ports import ChunkRecords, Ports
from oncelog.replay.trace import Trace

PART_BYTES = 8 * 1024 * 1024

log = structlog.get_logger(__name__)


class BulkReporter:
    """Writes results, from the records alone: so every writer writes the same bytes, and may write them again."""

    def __init__(self, ports: Ports) -> None:
        self._records: ChunkRecords = ports.chunk_records
        self._objects = ports.large_objects

    async def report(self, record: BulkRecord, *, trace: Trace) -> BulkResult:
        """Write the results and then the summary of a command with all its chunks at their end."""
        report = _Report(record)
        key = results_key(record.command_id)
        async with trace.step("bulk_results"):
            await self._objects.write_object(key, self._parts(report))
        result = BulkResult(
            command_id=record.command_id,
            command_hash=record.command_hash,
            outcome=Outcome.APPLIED,
            counts=report.counts,
            results_key=key,
            results_sha256=report.digest.hexdigest(),
            closed=report.closed,
        )
        async with trace.step("bulk_summary"):
            await self._objects.write_object(summary_key(record.command_id), _one(result))
        return result

    async def _parts(self, report: "_Report") -> AsyncIterator[bytes]:
        """Yield the lines in parts; at most one part and one chunk are in memory."""
        part = bytearray()
        async for lines in self._chunks(report):
            report.digest.update(lines)
            part += lines
            if len(part) >= PART_BYTES:
                yield bytes(part)
                part.clear()
        yield bytes(part)

    async def _chunks(self, report: "_Report") -> AsyncIterator[bytes]:
        plan = report.record.accepted_plan
        for chunk in range(1, len(plan.chunks) + 1):
            items = plan.items_of(chunk)
            if report.closed is None:
                yield report.lines_of(chunk, items, await self._chain(report.record.command_id, chunk))
            else:
                yield report.untouched(items)

    async def _chain(self, command_id: str, chunk: int) -> list[ChunkRecord]:
        records: list[ChunkRecord] = []
        while found := await self._records.read_chunk_record(command_id, chunk, len(records) + 1):
            records.append(found)
        return records


class _Report:
    """The lines and counts of one command as they come."""

    def __init__(self, record: BulkRecord) -> None:
        self.record = record
        self.digest = hashlib.sha256()
        self.counts = Counts(items=record.accepted_plan.items_count)
        self.closed: Closed | None = None

    def lines_of(self, chunk: int, items: range, records: list[ChunkRecord]) -> bytes:
        """Return a chunk's lines; from a closing record on, all items were not attempted."""
        if records and records[0].closed is not None:
            self.closed = records[0].closed
            return self.untouched(items)
        bindings = last_bindings(records)
        if [binding.index for binding in bindings] != list(items):
            raise LogDamaged(
                f"command {self.record.command_id}: expected records for each item of chunk {chunk}, found "
                f"{len(bindings)} of {len(items)}; restore them from their versions",
                command_id=self.record.command_id,
            )
        rejected = sum(binding.rejection is not None for binding in bindings)
        self.counts = self.counts.plus(applied=len(bindings) - rejected, rejected=rejected)
        return b"".join(_line(result_line(self.record, binding)) for binding in bindings)

    def untouched(self, items: range) -> bytes:
        not_attempted = self.counts.not_attempted + len(items)
        self.counts = self.counts.model_copy(update={"not_attempted": not_attempted})
        return b"".join(_line(untouched_line(index)) for index in items)


def _line(fields: dict[str, object]) -> bytes:
    return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


async def _one(result: BulkResult) -> AsyncIterator[bytes]:
    yield result.model_dump_json().encode()
