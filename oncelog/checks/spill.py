"""Facts on their way from the step that read them to the part that judges them: sorted runs, compressed, in S3.

A file holds, for each part, one block of lines in the order of their aggregates. A part reads its blocks of all files
and merges them; facts of one aggregate keep the order in which they were read.
"""

import heapq
import zlib
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import TypeAdapter

from oncelog.archive.log_part import order_key
from oncelog.checks.scope import CheckPlan, Spilled
from oncelog.replay_runs.files import ReplayFiles
from oncelog.verification.chains import EntryFacts, RefusalFacts
from oncelog.verification.chunks import ChunkFacts
from oncelog.verification.records import CommandFacts
from oncelog.verification.shown import ShownFacts
from oncelog.verification.stream import MessageFacts

#: Facts are written once there are so many bytes of them.
FLUSH_BYTES = 16 * 1024 * 1024
INFLATE_BYTES = 64 * 1024
LEVEL = 1


class FactKind(StrEnum):
    """The kind of facts in a line."""

    COMMAND = "c"
    CHUNK = "k"
    MESSAGE = "m"
    DOCUMENT = "d"
    NODE = "n"
    ENTRY = "e"
    REFUSAL = "r"


#: Facts that a command's records tell.
RECORD_FACTS = (FactKind.COMMAND, FactKind.CHUNK, FactKind.REFUSAL)

_ADAPTERS: dict[FactKind, TypeAdapter[Any]] = {
    FactKind.COMMAND: TypeAdapter(CommandFacts),
    FactKind.CHUNK: TypeAdapter(ChunkFacts),
    FactKind.MESSAGE: TypeAdapter(MessageFacts),
    FactKind.DOCUMENT: TypeAdapter(ShownFacts),
    FactKind.NODE: TypeAdapter(ShownFacts),
    FactKind.ENTRY: TypeAdapter(EntryFacts),
    FactKind.REFUSAL: TypeAdapter(RefusalFacts),
}


class Fact(NamedTuple):
    """Facts about an aggregate, as a line holds them."""

    order: str
    kind: FactKind
    body: str

    @property
    def aggregate_id(self) -> str:
        return self.order[:-1]

    @property
    def value(self) -> Any:
        """The facts themselves."""
        return _ADAPTERS[self.kind].validate_json(self.body)


def fact_order(aggregate_id: str) -> str:
    """Return the name by which aggregates are ordered, as S3 orders their slots."""
    return order_key(aggregate_id)


class Router:
    """Says which part of a plan an aggregate belongs to."""

    def __init__(self, plan: CheckPlan) -> None:
        self.rest = len(plan.partitions)  #: the part of aggregates that no partition holds
        self._parts = {each.number: each.part for each in plan.partitions}
        self._starts: dict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
        for each in plan.partitions:
            self._starts[each.part.db_name, each.part.class_id].append((each.part.first, each.number))
        for starts in self._starts.values():
            starts.sort()

    def part_of(self, aggregate_id: str) -> int:
        """Return the number of the part; the last one for an aggregate that no partition holds."""
        db_name, class_id, instance_key = aggregate_id.split("/", 2)
        starts = self._starts.get((db_name, class_id))
        if not starts:
            return self.rest
        at = bisect_right(starts, (order_key(instance_key), self.rest)) - 1
        if at < 0 or not self._parts[starts[at][1]].holds(instance_key):
            return self.rest
        return starts[at][1]


class SpillWriter:
    """Takes the facts of one step, and writes them when there are many.

    ``keeps_rest``: the kinds that are kept of aggregates, too, that no partition holds.
    """

    def __init__(self, files: ReplayFiles, router: Router, number: int, *, keeps_rest: Collection[FactKind]) -> None:
        self._keeps_rest = keeps_rest
        self._files = files
        self._router = router
        self._number = number
        self._lines: defaultdict[int, list[tuple[str, str]]] = defaultdict(list)
        self._bytes = 0
        self.written: list[Spilled] = []

    def add(self, aggregate_id: str, kind: FactKind, facts: object) -> None:
        """Take facts about an aggregate."""
        part, order = self._router.part_of(aggregate_id), fact_order(aggregate_id)
        if part == self._router.rest and kind not in self._keeps_rest:
            return
        line = f"{order}\t{kind}\t{_ADAPTERS[kind].dump_json(facts).decode()}\n"
        self._lines[part].append((order, line))
        self._bytes += len(line)

    @property
    def is_full(self) -> bool:
        """Whether the held facts are to be written."""
        return self._bytes >= FLUSH_BYTES

    async def flush(self) -> None:
        """Write the held facts; raises StoreUnavailable."""
        if not self._lines:
            return
        body, ranges = bytearray(), {}
        for part in sorted(self._lines):
            lines = sorted(self._lines[part], key=lambda pair: pair[0])  # stable: in the order in which they were read
            start = len(body)
            body += zlib.compress("".join(line for _, line in lines).encode(), LEVEL)
            ranges[part] = (start, len(body))
        name = f"spilled/{self._number:06d}-{len(self.written):06d}.z"
        await self._files.write(name, bytes(body))
        self.written.append(Spilled(name=name, ranges=ranges))
        self._lines.clear()
        self._bytes = 0


@dataclass
class SpilledFacts:
    """The facts of one part, in the order of its aggregates."""

    _facts: Iterator[Fact]
    _next: Fact | None = None

    def __post_init__(self) -> None:
        self._next = next(self._facts, None)

    def through(self, order: str | None) -> Iterator[Fact]:
        """Yield the next facts, up to those of the aggregate of that order; None: all that are left."""
        while self._next is not None and (order is None or self._next.order <= order):
            fact, self._next = self._next, next(self._facts, None)
            yield fact


async def read_spilled(files: ReplayFiles, spilled: Sequence[Spilled], part: int) -> SpilledFacts:
    """Open the facts of a part; holds them compressed. Raises LogDamaged, StoreUnavailable."""
    blocks = []
    for file in spilled:
        if part in file.ranges:
            start, stop = file.ranges[part]
            blocks.append(_lines(await files.read_range(file.name, range(start, stop))))
    return SpilledFacts(heapq.merge(*blocks, key=lambda fact: fact.order))


def _lines(block: bytes) -> Iterator[Fact]:
    """Yield the lines of a compressed block, a part of it inflated at a time."""
    inflate, rest, data = zlib.decompressobj(), b"", block
    while data and not inflate.eof:
        text = rest + inflate.decompress(data, INFLATE_BYTES)
        data = inflate.unconsumed_tail
        *lines, rest = text.split(b"\n")
        for line in lines:
            yield _fact(line)
    *lines, _ = (rest + inflate.flush()).split(b"\n")
    for line in lines:
        yield _fact(line)


def _fact(line: bytes) -> Fact:
    order, kind, body = line.decode().split("\t", 2)
    return Fact(order, FactKind(kind), body)
