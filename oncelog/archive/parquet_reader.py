"""Reads the archive's Parquet files, row group by row group from byte ranges.

Everything here computes, and belongs into a thread.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from oncelog.archive.event_table import EVENT, KEY, columns_agree, values_of
from oncelog.domain.archive import ArchiveFile
from oncelog.errors import ArchiveDamaged

#: As much of a file's end as holds its footer, nearly always.
FOOTER_BYTES = 64 * 1024


@dataclass
class _Ranges(io.RawIOBase):
    """A file of which some ranges of bytes are at hand."""

    size_bytes: int
    where: str
    parts: dict[int, bytes] = field(default_factory=dict)
    _at: int = 0

    def __hash__(self) -> int:
        return id(self)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size_bytes}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        wanted = self.size_bytes - self._at if size < 0 else size
        for start, part in self.parts.items():
            if start <= self._at and self._at + wanted <= start + len(part):
                found = part[self._at - start : self._at - start + wanted]
                self._at += wanted
                return found
        raise ArchiveDamaged(f"{self.where}: its footer leads to bytes outside of the column; it was altered")


def footer_range(file: ArchiveFile, *, size_bytes: int = FOOTER_BYTES) -> range:
    """Return the bytes at the end of the file that hold its footer, unless ``read_footer`` asks for more."""
    return range(max(file.size_bytes - size_bytes, 0), file.size_bytes)


def read_footer(file: ArchiveFile, end: bytes) -> Any | int:
    """Return the footer in the file's last bytes, or how many of them it takes. Raises ArchiveDamaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    needed = int.from_bytes(end[-8:-4], "little") + 8
    if len(end) < needed <= file.size_bytes:
        return needed
    source = _Ranges(file.size_bytes, file.key, {file.size_bytes - len(end): end})
    try:
        footer = pq.read_metadata(source)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(file, error) from error
    if (footer.num_rows, footer.num_row_groups) != (file.events, len(file.groups)):
        raise _damaged(file, f"expected {file.events} rows in {len(file.groups)} groups, found {footer.num_rows} in "
                       f"{footer.num_row_groups}")  # fmt: skip
    return footer


def group_range(footer: Any, group: int, columns: Sequence[str]) -> range:
    """Return the bytes of neighbouring columns of a row group."""
    starts, stops = [], []
    for at in range(footer.num_columns):
        column = footer.row_group(group).column(at)
        if column.path_in_schema in columns:
            start = column.dictionary_page_offset or column.data_page_offset
            starts.append(start)
            stops.append(start + column.total_compressed_size)
    return range(min(starts), max(stops))


def read_group(file: ArchiveFile, footer: Any, group: int, body: bytes, columns: Sequence[str]) -> Any:
    """Return the rows of a group from the bytes of ``group_range``; raises ArchiveDamaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    source = _Ranges(file.size_bytes, file.key, {group_range(footer, group, columns).start: body})
    try:
        reading = pq.ParquetFile(source, metadata=footer, page_checksum_verification=True, pre_buffer=False)
        return reading.read_row_group(group, columns=list(columns), use_threads=False)
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _damaged(file, error) from error


class VerifiedRows(NamedTuple):
    """The rows of one row group: keys with events, and whether all other columns agree with the events."""

    group: int
    events: list[tuple[str, bytes]]
    columns_agree: bool


def rows_of(file: ArchiveFile, source: io.BytesIO) -> Iterator[VerifiedRows]:
    """Yield the rows of a whole file, group by group; raises ArchiveDamaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        reading = pq.ParquetFile(source, page_checksum_verification=True)
        for group in range(reading.num_row_groups):
            table = reading.read_row_group(group, use_threads=False)
            keys = table.column(KEY).to_pylist()
            yield VerifiedRows(group, list(zip(keys, values_of(table, EVENT), strict=True)), columns_agree(table))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(file, error) from error


def _damaged(file: ArchiveFile, problem: object) -> ArchiveDamaged:
    return ArchiveDamaged(
        f"{file.key}: not the file that was written: {problem}; oncelog archive makes it again", where=file.key
    )
