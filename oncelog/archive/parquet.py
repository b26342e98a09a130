"""Parquet: events as rows, written group by group and read group by group from byte ranges.

This is the one module that knows pyarrow. It imports it where it is needed, since a program that only submits commands
should not wait for it. Everything here computes, and belongs into a thread.
"""

import hashlib
import io
from bisect import bisect_left
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from oncelog.domain.archive import ArchiveFile
from oncelog.domain.events import Event, read_event
from oncelog.domain.stored_names import event_key
from oncelog.errors import ArchiveDamaged, LogDamaged, SchemaUnsupported
from oncelog.ports import StoredEvent, Watermark

#: A row group ends with the row that takes its canonical bytes to this: memory of a reader is some of these per run.
GROUP_BYTES = 4 * 1024 * 1024
GROUP_ROWS = 8_192
ZSTD_LEVEL = 3
#: As much of a file's end as holds its footer, nearly always.
FOOTER_BYTES = 64 * 1024

#: The columns of text that are members of the event; null where an event of that version has none.
TEXT_COLUMNS = (
    "event_id", "event_type", "schema_version", "aggregate_id", "db_name", "class_id", "instance_id", "command_id",
    "command_hash", "occurred_at", "actor", "correlation_id", "causation_id", "effect", "previous_checksum",
)  # fmt: skip
#: The last three columns. They lie side by side, so that one range of bytes has them: archivers read the first two,
#: readers the last two.
CHECKSUM, KEY, EVENT = "checksum", "key", "event"


@cache
def _schema() -> Any:
    import pyarrow as pa

    numbers = ("sequence_number", "definition_sequence_number", "published_generation", "published_through")
    columns = [(name, pa.string()) for name in TEXT_COLUMNS]
    columns += [(name, pa.int64()) for name in numbers]
    columns += [("definition_version", pa.string()), (CHECKSUM, pa.string()), (KEY, pa.string()), (EVENT, pa.string())]
    return pa.schema(columns)


def slot_key(event: Event) -> str:
    """Return the key of the event's slot, by which rows are sorted."""
    return event_key(event.aggregate, event.sequence_number)


def table_of(stored_events: Sequence[StoredEvent]) -> Any:
    """Return the rows of events, which are in the order of their slots' keys."""
    import pyarrow as pa

    events = [stored.event for stored in stored_events]
    extras: list[Mapping[str, Any]] = [event.model_extra or {} for event in events]
    definitions = [_definition(extra) for extra in extras]
    columns: dict[str, list[Any]] = {name: [getattr(event, name, None) for event in events] for name in TEXT_COLUMNS}
    columns["event_type"] = [str(event.event_type) for event in events]
    columns["effect"] = [_text(extra.get("effect")) for extra in extras]
    columns["sequence_number"] = [event.sequence_number for event in events]
    columns["definition_sequence_number"] = [definition[0] for definition in definitions]
    columns["definition_version"] = [definition[1] for definition in definitions]
    columns["published_generation"] = [stored.published_through.generation for stored in stored_events]
    columns["published_through"] = [stored.published_through.through for stored in stored_events]
    columns[CHECKSUM] = [event.checksum for event in events]
    columns[KEY] = [slot_key(event) for event in events]
    columns[EVENT] = [event.canonical.decode() for event in events]
    return pa.table(columns, schema=_schema())


def _definition(extra: Mapping[str, Any]) -> tuple[int | None, str | None]:
    definition = extra.get("definition")
    if not isinstance(definition, Mapping):
        return None, None
    number, version = definition.get("sequence_number"), definition.get("version")
    return (number if isinstance(number, int) else None), _text(version)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


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
            _schema(),
            compression="zstd",
            compression_level=ZSTD_LEVEL,
            use_dictionary=["event_type", "schema_version", "db_name", "class_id", "effect", "definition_version"],
            column_encoding={KEY: "DELTA_BYTE_ARRAY", "aggregate_id": "DELTA_BYTE_ARRAY"},
            write_page_checksum=True,
            sorting_columns=pq.SortingColumn.from_ordering(_schema(), [(KEY, "ascending")]),
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


def all_columns() -> Sequence[str]:
    """Return the names of all columns."""
    names: list[str] = _schema().names
    return names


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
    """Return the bytes at the end of the file that hold its footer, unless ``footer_of`` asks for more."""
    return range(max(file.size_bytes - size_bytes, 0), file.size_bytes)


def footer_of(file: ArchiveFile, end: bytes) -> Any | int:
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


def rows_between(table: Any, keys: list[str], first: str, end: str | None) -> tuple[Any, list[str]]:
    """Return the rows with keys from ``first`` on and below ``end``, and their keys."""
    start = bisect_left(keys, first)
    stop = len(keys) if end is None else bisect_left(keys, end)
    return (table.slice(start, stop - start), keys[start:stop]) if (start, stop) != (0, len(keys)) else (table, keys)


class VerifiedRows(NamedTuple):
    """The rows of one row group: keys with events, and whether all other columns repeat what the events say."""

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
            yield VerifiedRows(group, list(zip(keys, values_of(table, EVENT), strict=True)), _columns_agree(table))
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise _damaged(file, error) from error


def _columns_agree(table: Any) -> bool:
    """Return whether the columns are those that the events of the rows make."""
    generations, throughs = (table.column(f"published_{name}").to_pylist() for name in ("generation", "through"))
    try:
        stored = [
            StoredEvent(read_event(event, where="an archived event"), Watermark(generation, through))
            for event, generation, through in zip(values_of(table, EVENT), generations, throughs, strict=True)
        ]
    except (LogDamaged, SchemaUnsupported):
        return True  # the event itself is held against its slot
    agree: bool = table_of(stored).equals(table)
    return agree


def values_of(table: Any, name: str) -> list[Any]:
    """Return the values of a column; canonical events as the bytes that they are."""
    import pyarrow as pa

    column = table.column(name)
    values: list[Any] = (column.cast(pa.binary()) if name == EVENT else column).to_pylist()
    return values


def merged(tables: Sequence[tuple[Any, list[str]]]) -> tuple[Any, list[str]]:
    """Return the rows of several sorted tables in the order of their keys, each key once."""
    if len(tables) == 1:
        return tables[0]
    import pyarrow as pa

    keys = [key for _, own in tables for key in own]
    order = sorted(range(len(keys)), key=keys.__getitem__)
    once = [at for at, before in zip(order, [None, *order], strict=False) if before is None or keys[at] != keys[before]]
    return pa.concat_tables([table for table, _ in tables]).take(once), [keys[at] for at in once]


def _groups_of(table: Any) -> list[Any]:
    """Cut a table into row groups of at most about ``GROUP_BYTES`` and ``GROUP_ROWS``."""
    count = max(-(-table.nbytes // (2 * GROUP_BYTES)), -(-len(table) // GROUP_ROWS), 1)
    rows = -(-len(table) // count)
    return [table.slice(at, rows) for at in range(0, len(table), rows)]


def _damaged(file: ArchiveFile, problem: object) -> ArchiveDamaged:
    return ArchiveDamaged(
        f"{file.key}: not the file that was written: {problem}; oncelog archive makes it again", where=file.key
    )
