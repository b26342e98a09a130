"""Folded states as files: NDJSON, CSV or Parquet, with the same columns, one row per instance that exists."""

import asyncio
import csv
import io
from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import LogDamaged
from oncelog.replay.fold import FoldedBatch
from oncelog.replay_runs.files import ReplayFiles, partition_name
from oncelog.replay_runs.formats import ExportFormat
from oncelog.replay_runs.request import ExportedFile, ExportedFiles, ReplayCounts, ReplayEnd
from oncelog.replay_runs.work import NoWork, PartitionStep, PartitionWork, ReplayRun

#: A file is closed once it has so many bytes in memory; the next batch goes into another one.
FILE_BYTES = 64 * 1024 * 1024
MANIFEST = "files.json"

#: The columns of CSV and Parquet; ``data`` is canonical JSON.
COLUMNS = ("aggregate_id", "instance_id", "sequence_number", "created_at", "updated_at", "definition", "data")


class ExportWriter(Protocol):
    """Writes the states of one partition."""

    @property
    def size_bytes(self) -> int:
        """How much is held in memory."""
        ...

    def add(self, rows: Sequence[Instance]) -> None:
        """Take instances that exist."""
        ...

    def end(self) -> bytes:
        """Return the whole file."""
        ...


class ExportWork(NoWork):
    """Writes the states as files, and the list of them."""

    async def partition(self, step: PartitionStep) -> PartitionWork:
        """Return the export of a partition; it is written anew."""
        return PartitionExport(step.run.files, step.partition.number, step.run.request.format)

    async def end(self, run: ReplayRun, end: ReplayEnd) -> ReplayEnd:
        """Join the lists of files."""
        exported = await join_exports(run.files, run.partitions)
        rows = sum(each.rows for each in exported.files)
        return end.model_copy(update={"manifest": run.files.folder + MANIFEST, "rows": rows})


class PartitionExport:
    """Writes the states of one partition into files of bounded size, and lists them."""

    def __init__(self, files: ReplayFiles, number: int, export_format: ExportFormat) -> None:
        self._files = files
        self._number = number
        self._format = export_format
        self._writer = _WRITERS[export_format]()
        self._rows = 0
        self._written: list[ExportedFile] = []

    async def add(self, batch: FoldedBatch) -> ReplayCounts:
        """Take states; deleted instances are left out. Raises StoreUnavailable."""
        rows = [state for state in batch.states if not state.deleted]
        await asyncio.to_thread(self._writer.add, rows)
        self._rows += len(rows)
        if self._writer.size_bytes >= FILE_BYTES:
            await self._close()
        return ReplayCounts()

    async def end(self) -> ReplayCounts:
        """Write the remaining rows, then the list of files, by which alone the files are found."""
        if self._rows:
            await self._close()
        listed = ExportedFiles(files=tuple(self._written))
        await self._files.write(partition_name(self._number, "exported", "json"), listed.model_dump_json().encode())
        return ReplayCounts(bytes_written=sum(each.size_bytes for each in listed.files))

    async def _close(self) -> None:
        data = await asyncio.to_thread(self._writer.end)
        name = f"export/{self._number:06d}-{len(self._written):04d}.{self._format}"
        await self._files.write(name, data)
        sha256 = await asyncio.to_thread(sha256_hex, data)
        self._written.append(
            ExportedFile(key=self._files.folder + name, rows=self._rows, size_bytes=len(data), sha256=sha256)
        )
        self._writer, self._rows = _WRITERS[self._format](), 0


async def join_exports(files: ReplayFiles, partitions: int) -> ExportedFiles:
    """Write the list of all exported files and return it; raises LogDamaged where a partition's list is gone."""
    found: list[ExportedFile] = []
    for number in range(partitions):
        data = await files.read(partition_name(number, "exported", "json"))
        if data is None:
            raise LogDamaged(f"export {files.folder}: the list of partition {number} is gone; export again")
        found += ExportedFiles.model_validate_json(data).files
    listed = ExportedFiles(files=tuple(found))
    await files.write(MANIFEST, listed.model_dump_json().encode())
    return listed


def _row(state: Instance) -> dict[str, Any]:
    return {
        "aggregate_id": state.aggregate_id,
        "instance_id": AggregateId.parse(state.aggregate_id).instance_id,
        "sequence_number": state.sequence_number,
        "created_at": state.created_at,
        "updated_at": state.updated_at,
        "definition": state.definition.version if state.definition else None,
        "data": state.data,
    }


def _flat(state: Instance) -> dict[str, Any]:
    return {**_row(state), "data": canonical_bytes(state.data).decode()}


class NdjsonWriter:
    """One JSON object per line; ``data`` is an object."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()

    @property
    def size_bytes(self) -> int:
        return self._buffer.tell()

    def add(self, rows: Sequence[Instance]) -> None:
        for state in rows:
            self._buffer.write(canonical_bytes(_row(state)) + b"\n")

    def end(self) -> bytes:
        return self._buffer.getvalue()


class CsvWriter:
    """RFC 4180 with a header, in UTF-8."""

    def __init__(self) -> None:
        self._buffer = io.StringIO(newline="")
        self._writer = csv.DictWriter(self._buffer, COLUMNS)
        self._writer.writeheader()

    @property
    def size_bytes(self) -> int:
        return self._buffer.tell()

    def add(self, rows: Sequence[Instance]) -> None:
        self._writer.writerows(_flat(state) for state in rows)

    def end(self) -> bytes:
        return self._buffer.getvalue().encode()


_SCHEMA = pa.schema([(name, pa.int64() if name == "sequence_number" else pa.string()) for name in COLUMNS])


class ParquetWriter:
    """Parquet with zstd; every batch is a row group."""

    def __init__(self) -> None:
        self._buffer = io.BytesIO()
        self._writer = pq.ParquetWriter(self._buffer, _SCHEMA, compression="zstd")

    @property
    def size_bytes(self) -> int:
        return self._buffer.tell()

    def add(self, rows: Sequence[Instance]) -> None:
        if rows:
            self._writer.write_table(pa.Table.from_pylist([_flat(state) for state in rows], schema=_SCHEMA))

    def end(self) -> bytes:
        self._writer.close()
        return self._buffer.getvalue()


_WRITERS: dict[ExportFormat, type[ExportWriter]] = {
    ExportFormat.NDJSON: NdjsonWriter,
    ExportFormat.CSV: CsvWriter,
    ExportFormat.PARQUET: ParquetWriter,
}
