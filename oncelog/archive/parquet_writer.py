"""Writes the archive's Parquet files, row group by row group. Everything here computes, and belongs into a thread."""

import hashlib
import io
from collections.abc import AsyncIterator
from typing import Any

from oncelog.archive.event_table import KEY, table_schema
from oncelog.domain.archive import ArchiveFile
from oncelog.ports import StoredEvent

#: A row group ends with the row that takes its canonical bytes to this: memory of a reader is some of these per run.
GROUP_BYTES = 4 * 1024 * 1024
GROUP_ROWS = 8_192
ZSTD_LEVEL = 3


class FileWriter:
    """Writes one file in memory; of bounded size, since its caller closes it when ``size_bytes`` is enough."""

    def __init__(self) -> None:
        import pyarrow.parquet as pq

        self._sink = io.BytesIO()
        self._groups: list[str] = []
        self._last = ""
        self.events = 0
        self._writer = pq.ParquetWriter(
            self._sink,
            table_schema(),
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=["event_type", "schema_version", "db_name", "class_id", "effect", "definition_version"],
            column_encoding={KEY: "DELTA_BYTE_ARRAY", "aggregate_id": "DELTA_BYTE_ARRAY"},
            write_page_checksum=True,
            sorting_columns=pq.SortingColumn.from_ordering(table_schema(), [(KEY, "ascending")]),
        )

    @property
    def size_bytes(self) -> int:
        """Return how many bytes are written so far."""
        return self._sink.tell()

    def add(self, table: Any) -> None:
        """Write the rows as one row group; their keys are above all keys before."""
        keys = table.column(KEY)
        self._groups.append(keys[0].as_py())
        self._last = keys[-1].as_py()
        self.events += len(table)
        self._writer.write_table(table, row_group_size=len(table))

    def end(self, key: str) -> tuple[ArchiveFile, bytes]:
        """End the file, which is to lie under this key, and return its entry in a manifest and its bytes."""
        self._writer.close()
        body = self._sink.getvalue()
        file = ArchiveFile(
            key=key,
            sha256=hashlib.sha256(body).hexdigest(),
            size_bytes=len(body),
            events=self.events,
            first=self._groups[0],
            last=self._last,
            groups=tuple(self._groups),
        )
        return file, body


class GroupSizer:
    """Says where a row group ends, by rows and by bytes."""

    def __init__(self) -> None:
        self.rows: list[StoredEvent] = []
        self._size_bytes = 0

    def add(self, stored: StoredEvent) -> bool:
        """Add an event, and return whether the group is full."""
        self.rows.append(stored)
        self._size_bytes += len(stored.event.canonical)
        return self._size_bytes >= GROUP_BYTES or len(self.rows) >= GROUP_ROWS

    def taken(self) -> list[StoredEvent]:
        """Return the rows, and begin the next group."""
        rows, self.rows, self._size_bytes = self.rows, [], 0
        return rows


async def regrouped(chunks: AsyncIterator[tuple[Any, list[str]]]) -> AsyncIterator[Any]:
    """Yield row groups of full size from chunks of any size."""
    import pyarrow as pa

    gathered: list[Any] = []
    async for table, _ in chunks:
        gathered.append(table)
        rows, size_bytes = sum(map(len, gathered)), sum(each.nbytes for each in gathered)
        if rows >= GROUP_ROWS or size_bytes >= 2 * GROUP_BYTES:
            for group in _groups_of(pa.concat_tables(gathered)):
                yield group
            gathered = []
    if gathered:
        for group in _groups_of(pa.concat_tables(gathered)):
            yield group


def _groups_of(table: Any) -> list[Any]:
    """Cut a table into row groups of at most about ``GROUP_BYTES`` and ``GROUP_ROWS``."""
    count = max(-(-table.nbytes // (2 * GROUP_BYTES)), -(-len(table) // GROUP_ROWS), 1)
    rows = -(-len(table) // count)
    return [table.slice(at, rows) for at in range(0, len(table), rows)]
