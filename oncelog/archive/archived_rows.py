"""Rows of a class's archive in the order of their keys, merged from its sorted runs, a few row groups at a time."""

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from operator import lt
from typing import Any

from oncelog.archive.event_table import KEY, merged, rows_between, values_of
from oncelog.archive.parquet_reader import FOOTER_BYTES, footer_range, group_range, read_footer, read_group
from oncelog.bounded_gather import bounded_gather
from oncelog.domain.archive import ArchiveFile, sorted_runs
from oncelog.errors import ArchiveDamaged, LogDamaged
from oncelog.ports import LargeObjects


@dataclass
class Damages:
    """The files of an archive that cannot be read, and why."""

    by_file: dict[str, str] = field(default_factory=dict)

    def add(self, file: ArchiveFile, error: ArchiveDamaged) -> None:
        self.by_file.setdefault(file.key, error.message)


class ArchivedRows:
    """Reads the rows of some files with keys from ``first`` on and below ``end``.

    ``columns``: neighbours in the schema that include the key. A file that cannot be read is named in ``damages``; the
    rows that it would have given are missing, which a caller finds when it compares with the slots.
    """

    def __init__(
        self,
        large_objects: LargeObjects,
        files: Iterable[ArchiveFile],
        columns: Sequence[str],
        *,
        first: str = "",
        end: str | None = None,
        damages: Damages,
    ) -> None:
        self._large_objects = large_objects
        self._files = [file for file in files if file.groups_between(first, end)]
        self._columns = columns
        self._first, self._end = first, end
        self._damages = damages

    async def chunks(self) -> AsyncIterator[tuple[Any, list[str]]]:
        """Yield tables with their keys; the keys of each chunk are above those of the chunk before."""
        runs = [_Run(self._groups(run)) for run in sorted_runs(self._files)]
        try:
            while True:
                runs = [run for run in runs if await run.fill()]
                if not runs:
                    return
                # Up to the lowest of the last keys at hand, no other run can have a row that comes before.
                through = min(run.keys[-1] for run in runs)
                taken = [run.take(through) for run in runs if run.keys[0] <= through]
                yield await asyncio.to_thread(merged, taken) if len(taken) > 1 else taken[0]
        finally:
            for run in runs:
                await run.close()

    async def column(self, name: str) -> AsyncIterator[tuple[list[Any], list[str]]]:
        """Yield the values of one of the columns with their keys, chunk by chunk; canonical events as bytes."""
        async for table, keys in self.chunks():
            yield await asyncio.to_thread(values_of, table, name), keys

    async def _groups(self, files: Sequence[ArchiveFile]) -> AsyncIterator[tuple[Any, list[str]]]:
        for file in files:
            try:
                async for table, keys in self._groups_of(file):
                    yield table, keys
            except ArchiveDamaged as error:
                self._damages.add(file, error)

    async def _groups_of(self, file: ArchiveFile) -> AsyncIterator[tuple[Any, list[str]]]:
        footer = await footer_of(self._large_objects, file)
        for group in file.groups_between(self._first, self._end):
            wanted = group_range(footer, group, self._columns)
            body = await read_range(self._large_objects, file, wanted)
            table, keys = await asyncio.to_thread(self._decoded, file, footer, group, body)
            if keys:
                yield table, keys

    def _decoded(self, file: ArchiveFile, footer: Any, group: int, body: bytes) -> tuple[Any, list[str]]:
        table = read_group(file, footer, group, body, self._columns)
        keys: list[str] = table.column(KEY).to_pylist()
        ascending = all(map(lt, keys, keys[1:]))
        if not keys or keys[0] != file.groups[group] or keys[-1] > file.last or not ascending:
            raise ArchiveDamaged(f"{file.key}: expected the keys of row group {group} in order; it was altered")
        return rows_between(table, keys, self._first, self._end)


class _Run:
    """One sorted run: the rows at hand, and the next group on its way."""

    def __init__(self, groups: AsyncIterator[tuple[Any, list[str]]]) -> None:
        self._groups = groups
        self._next = asyncio.create_task(_following(groups))
        self.table: Any = None
        self.keys: list[str] = []

    async def fill(self) -> bool:
        """Have rows at hand; returns False at the end of the run."""
        if self.keys:
            return True
        group = await self._next
        if group is None:
            return False
        self.table, self.keys = group
        self._next = asyncio.create_task(_following(self._groups))
        return True

    def take(self, through: str) -> tuple[Any, list[str]]:
        """Return the rows at hand up to a key, and keep the others."""
        stop = bisect_right(self.keys, through)
        if stop == len(self.keys):
            taken = self.table, self.keys
            self.table, self.keys = None, []
            return taken
        taken = self.table.slice(0, stop), self.keys[:stop]
        self.table, self.keys = self.table.slice(stop), self.keys[stop:]
        return taken

    async def close(self) -> None:
        self._next.cancel()
        await asyncio.gather(self._next, return_exceptions=True)


async def _following(groups: AsyncIterator[tuple[Any, list[str]]]) -> tuple[Any, list[str]] | None:
    return await anext(groups, None)


async def footer_of(large_objects: LargeObjects, file: ArchiveFile) -> Any:
    """Return the footer of a file; raises ArchiveDamaged."""
    size_bytes = FOOTER_BYTES
    while True:
        end = await read_range(large_objects, file, footer_range(file, size_bytes=size_bytes))
        footer = await asyncio.to_thread(read_footer, file, end)
        if not isinstance(footer, int):
            return footer
        size_bytes = footer


async def read_range(large_objects: LargeObjects, file: ArchiveFile, wanted: range) -> bytes:
    """Return bytes of a file; raises ArchiveDamaged if it is gone or shorter."""
    try:
        return await large_objects.read_object(file.key, wanted)
    except LogDamaged as error:
        raise ArchiveDamaged(f"{file.key}: {error.message}; oncelog archive makes it again", where=file.key) from error


async def missing_files(large_objects: LargeObjects, files: Sequence[ArchiveFile]) -> list[ArchiveFile]:
    """Return the files that are gone, or of another size than they were written with."""
    sizes = await bounded_gather(lambda file: large_objects.object_size(file.key), files, at_once=16)
    return [file for file, size_bytes in zip(files, sizes, strict=True) if size_bytes != file.size_bytes]
