"""The plan of a bulk command: its items in chunks of consecutive items, bounded by count and by bytes."""

import hashlib
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Self

from pydantic import Field, model_validator

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.frozen_model import Value
from oncelog.domain.limits import CHUNK_BYTES_MAX, CHUNK_ITEMS_MAX, ITEMS_BYTES_MAX, ITEMS_MAX, LINE_BYTES_MAX
from oncelog.errors import InputInvalid


class ChunkStart(Value):
    """The start of a chunk: its first item, its first byte in the NDJSON, and the SHA-256 of all its bytes."""

    first: int
    offset: int
    sha256: str


class Plan(Value):
    """The chunks of a bulk command, numbered from 1; written once and never changed."""

    items_count: int
    size_bytes: int
    chunks: tuple[ChunkStart, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _holds_every_item_once(self) -> Self:
        bounds = [(start.first, start.offset) for start in self.chunks] + [(self.items_count, self.size_bytes)]
        grows = all(before[0] < after[0] and before[1] < after[1] for before, after in pairwise(bounds))
        if bounds[0] != (0, 0) or not grows:
            raise ValueError("expected chunks that begin at 0 and follow each other")
        return self

    def items_of(self, chunk: int) -> range:
        """Return the indices of a chunk's items."""
        end = self.chunks[chunk].first if chunk < len(self.chunks) else self.items_count
        return range(self.chunks[chunk - 1].first, end)

    def bytes_of(self, chunk: int) -> range:
        """Return the range of a chunk's bytes in the NDJSON."""
        end = self.chunks[chunk].offset if chunk < len(self.chunks) else self.size_bytes
        return range(self.chunks[chunk - 1].offset, end)


class ItemsScanner:
    """Reads NDJSON once, in blocks of any size, and holds no more of it than one line; each line is an item."""

    def __init__(self, *, chunk_items_max: int = CHUNK_ITEMS_MAX, chunk_bytes_max: int = CHUNK_BYTES_MAX) -> None:
        self.items_count = 0
        self.size_bytes = 0  # of whole lines so far
        self._chunk_items_max = chunk_items_max
        self._chunk_bytes_max = chunk_bytes_max
        self._digest = hashlib.sha256()
        self._chunks: list[ChunkStart] = []
        self._chunk_first, self._chunk_offset = 0, 0
        self._chunk_digest = hashlib.sha256()
        self._begun = b""  # a line that has not ended yet

    def feed(self, block: bytes) -> None:
        """Take the next bytes; raises InputInvalid for too many items, too many bytes, or too long a line."""
        self._digest.update(block)
        *lines, self._begun = (self._begun + block).split(b"\n")
        for line in lines:
            self._line(line + b"\n")
        if len(self._begun) > LINE_BYTES_MAX:
            self._refuse_line(len(self._begun))

    def finish(self) -> tuple[Plan, str]:
        """Return the plan and the SHA-256 of all bytes; raises InputInvalid as ``feed`` does, and for no items."""
        if self._begun:
            self._line(self._begun)
            self._begun = b""
        if self.items_count == 0:
            raise InputInvalid("items: expected at least one, found none")
        self._end_chunk()
        plan = Plan(items_count=self.items_count, size_bytes=self.size_bytes, chunks=tuple(self._chunks))
        return plan, self._digest.hexdigest()

    def _line(self, line: bytes) -> None:
        if len(line) > LINE_BYTES_MAX:
            self._refuse_line(len(line))
        items_in_chunk = self.items_count - self._chunk_first
        bytes_in_chunk = self.size_bytes - self._chunk_offset
        if items_in_chunk and (
            items_in_chunk >= self._chunk_items_max or bytes_in_chunk + len(line) > self._chunk_bytes_max
        ):
            self._end_chunk()
        self._chunk_digest.update(line)
        self.size_bytes += len(line)
        self.items_count += 1
        if self.items_count > ITEMS_MAX or self.size_bytes > ITEMS_BYTES_MAX:
            raise InputInvalid(
                f"items: expected at most {ITEMS_MAX} in {ITEMS_BYTES_MAX} bytes, found more; "
                "divide them among several commands"
            )

    def _end_chunk(self) -> None:
        self._chunks.append(
            ChunkStart(first=self._chunk_first, offset=self._chunk_offset, sha256=self._chunk_digest.hexdigest())
        )
        self._chunk_first, self._chunk_offset = self.items_count, self.size_bytes
        self._chunk_digest = hashlib.sha256()

    def _refuse_line(self, size_bytes: int) -> None:
        raise InputInvalid(
            f"item {self.items_count}: expected a line of at most {LINE_BYTES_MAX} bytes, found {size_bytes} or more; "
            "is it NDJSON, one item a line?"
        )


def lines_of(items: Iterable[object]) -> Iterator[bytes]:
    """Return items as NDJSON, so that inline ones are divided by the same rule; raises InputInvalid."""
    return (canonical_bytes(item) + b"\n" for item in items)


def items_in(data: bytes) -> list[bytes]:
    """Return the lines of NDJSON, each of which is an item; the last one need not end."""
    lines = data.split(b"\n")
    return lines if lines[-1] else lines[:-1]
