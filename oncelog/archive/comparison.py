"""The archive of some streams against their slots, as listed: which rows to take, and which slots it lacks."""

from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from oncelog.archive.log_part import PAST_FOLDER
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import EVENTS
from oncelog.ports import ListedStream

_NUMBER = slice(-25, -5)  # of a key: …/{sequence_number:020d}.json


@dataclass(frozen=True)
class Archived:
    """Consecutive events of a stream that are archived. ``values``: of the column that was asked for, of each."""

    aggregate_id: AggregateId
    first: int
    values: Sequence[Any]


@dataclass(frozen=True)
class Missing:
    """Slots of a stream that are occupied and not archived."""

    aggregate_id: AggregateId
    numbers: range


@dataclass(frozen=True)
class Surplus:
    """Archived events without occupied slots: the archive is forged, or the log has lost them."""

    keys: Sequence[str]

    @property
    def by_stream(self) -> list[list[str]]:
        """Return the keys of each stream together."""
        return [list(keys) for _, keys in groupby(self.keys, key=lambda key: key.rpartition("/")[0])]


async def compared(
    streams: AsyncIterator[ListedStream],
    chunks: AsyncIterator[tuple[list[Any], list[str]]],
    *,
    begin: tuple[AggregateId, int] | None = None,
    wanted: Callable[[ListedStream], bool] | None = None,
) -> AsyncIterator[Archived | Missing | Surplus]:
    """Go through listed streams and archived rows side by side, both in the order of keys.

    ``begin``: the stream that was read already up to this sequence number. ``wanted``: says which streams are given;
    of the others nothing is.
    """
    rows = _Rows(chunks)
    async for stream in streams:
        left_out = wanted is not None and not wanted(stream)
        expected = begin[1] + 1 if begin and begin[0] == stream.aggregate_id else 1
        async for found in rows.of(f"{EVENTS}{stream.aggregate_id}/"):
            if isinstance(found, Surplus):
                yield found
                continue
            if left_out:
                continue
            for values, first, count in _consecutive(*found):
                if first + count - 1 > stream.head or first < expected:
                    yield Surplus(found[1])
                    break
                if first > expected:
                    yield Missing(stream.aggregate_id, range(expected, first))
                yield Archived(stream.aggregate_id, first, values)
                expected = first + count
        if expected <= stream.head and not left_out:
            yield Missing(stream.aggregate_id, range(expected, stream.head + 1))
    async for keys in rows.left():
        yield Surplus(keys)


async def archived_alone(chunks: AsyncIterator[tuple[list[Any], list[str]]]) -> AsyncIterator[Archived]:
    """Go through archived rows without any listing of their slots."""
    async for values, keys in chunks:
        start = 0
        while start < len(keys):
            stream = keys[start].rpartition("/")[0]
            stop = bisect_left(keys, stream + PAST_FOLDER, start)
            for found, first, _ in _consecutive(values[start:stop], keys[start:stop]):
                yield Archived(AggregateId.parse(stream.removeprefix(EVENTS)), first, found)
            start = stop


class _Rows:
    """The archived rows, taken stream by stream."""

    def __init__(self, chunks: AsyncIterator[tuple[list[Any], list[str]]]) -> None:
        self._chunks = chunks
        self._values: list[Any] = []
        self._keys: list[str] = []
        self._at = 0

    async def of(self, folder: str) -> AsyncIterator[tuple[list[Any], list[str]] | Surplus]:
        """Yield the rows of the stream in this folder, and first those before it, which no stream asked for."""
        while await self._filled():
            keys, start = self._keys, self._at
            if keys[start] < folder:
                self._at = bisect_left(keys, folder, start)
                yield Surplus(keys[start : self._at])
                continue
            self._at = bisect_left(keys, folder[:-1] + PAST_FOLDER, start)
            if self._at == start:
                return
            yield self._values[start : self._at], keys[start : self._at]
            if self._at < len(keys):
                return

    async def left(self) -> AsyncIterator[Sequence[str]]:
        """Yield the keys that no stream has asked for."""
        while await self._filled():
            keys, self._at = self._keys[self._at :], len(self._keys)
            yield keys

    async def _filled(self) -> bool:
        if self._at < len(self._keys):
            return True
        chunk = await anext(self._chunks, None)
        if chunk is None:
            return False
        (self._values, self._keys), self._at = chunk, 0
        return True


def _consecutive(values: list[Any], keys: Sequence[str]) -> list[tuple[list[Any], int, int]]:
    """Split the rows of one stream where sequence numbers are left out; with the first number and the count of each."""
    first, last = int(keys[0][_NUMBER]), int(keys[-1][_NUMBER])
    if last - first + 1 == len(keys):
        return [(values, first, len(keys))]
    found, start = [], 0
    numbers = [int(key[_NUMBER]) for key in keys]
    for at in range(1, len(numbers) + 1):
        if at == len(numbers) or numbers[at] != numbers[at - 1] + 1:
            found.append((values[start:at], numbers[start], at - start))
            start = at
    return found
