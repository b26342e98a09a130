"""The holders of unique values at their heads: each part writes its own, and the end of a check joins them.

Two holders of one value may lie in any two parts. A part's lines are in the order of the values' hashes, so that the
end reads a slice of the hashes at a time, from all parts.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from oncelog.bounded_gather import bounded_gather
from oncelog.checks.looks import Looks
from oncelog.checks.scope import CheckPlan
from oncelog.checks.servers import Servers
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import stream_folder
from oncelog.replay_runs.files import ReplayFiles, partition_name
from oncelog.verification import reading
from oncelog.verification.findings import Finding
from oncelog.verification.log import LogAudit, LogFacts
from oncelog.verification.unique import HeldValue, doubled_finding, held_at_head

#: So many bytes of lines are held in memory at a time.
SLICE_BYTES = 16 << 20
SLICES = 256
READS_AT_ONCE_MAX = 32


class HolderLines:
    """Takes the logs of a part, and keeps a line for each value that an instance holds at its due head."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def add(self, logs: Iterable[LogFacts]) -> None:
        """Take logs that were judged."""
        for log in logs:
            for class_name, constraint, sha256 in held_at_head(log):
                self._lines.append(f"{sha256}\t{class_name}\t{constraint}\t{log.aggregate_id}\n")

    async def write(self, files: ReplayFiles, number: int) -> None:
        """Write the lines of a part, and where each slice of the hashes begins; nothing where no value is held."""
        if not self._lines:
            return
        body, starts = bytearray(), [0] * (SLICES + 1)
        lines = sorted(self._lines)
        for first, group in groupby(lines, key=lambda line: int(line[:2], 16)):
            for line in group:
                body += line.encode()
            starts[first + 1] = len(body)
        for index in range(1, SLICES + 1):
            starts[index] = max(starts[index], starts[index - 1])
        await files.write(partition_name(number, "held", "txt"), bytes(body))
        await files.write(partition_name(number, "held", "starts"), "\n".join(map(str, starts)).encode())


async def judge_holders(servers: Servers, plan: CheckPlan, files: ReplayFiles) -> list[Finding]:
    """Return the values that two instances hold at their heads; each looked at again. Raises StoreUnavailable."""
    starts: dict[int, list[int]] = {}
    for number in range(plan.parts):
        data = await files.read(partition_name(number, "held", "starts"))
        if data is not None:
            starts[number] = [int(line) for line in data.decode().split()]
    looks = Looks(servers, plan, {})
    findings: list[Finding] = []
    for first, end in _slices([sum(each[index] for each in starts.values()) for index in range(SLICES + 1)]):
        holders: dict[HeldValue, str] = {}

        async def read(number: int, first: int = first, end: int = end) -> Sequence[tuple[HeldValue, str]]:
            wanted = range(starts[number][first], starts[number][end])
            return (
                list(_parsed(await files.read_range(partition_name(number, "held", "txt"), wanted))) if wanted else []
            )

        for held in await bounded_gather(read, starts, at_once=READS_AT_ONCE_MAX):
            for value, aggregate_id in held:
                other = holders.setdefault(value, aggregate_id)
                if other != aggregate_id and await is_doubled(servers, looks, value, (other, aggregate_id)):
                    findings.append(doubled_finding(value, other, aggregate_id))
    return findings


def _slices(totals: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Yield the slices of the hashes that are read at a time: from and up to; ``totals``: the bytes before each."""
    first = 0
    for end in range(1, SLICES + 1):
        is_full = end < SLICES and totals[end + 1] - totals[first] > SLICE_BYTES
        if is_full or end == SLICES:
            if totals[end] > totals[first]:
                yield first, end
            first = end


def _parsed(data: bytes) -> Iterator[tuple[HeldValue, str]]:
    for line in data.decode().splitlines():
        sha256, class_name, constraint, aggregate_id = line.split("\t")
        yield (class_name, constraint, sha256), aggregate_id


async def is_doubled(servers: Servers, looks: Looks, value: HeldValue, holders: tuple[str, str]) -> bool:
    """Look again: the first instance holds the value before and after the second one does, without an event between."""
    first, second = holders
    before = await _head_with(servers, looks, value, first)
    if before is None or await _head_with(servers, looks, value, second) is None:
        return False
    return await _head_with(servers, looks, value, first) == before


async def _head_with(servers: Servers, looks: Looks, value: HeldValue, aggregate_id: str) -> int | None:
    """Return the head of an instance as it is now, None unless it holds the value there."""
    place = AggregateId.parse(aggregate_id)
    classes = await looks.class_logs(place.db_name, place.class_id)
    class_schemas = [each for defined in classes.class_schemas.values() for each in defined]
    audit = LogAudit(aggregate_id, class_schemas, projected=())
    async for found in reading.objects(servers.sources.bucket, stream_folder(place)):
        number = found.key[-25:-5]
        if number.isdigit():
            audit.add(int(number), found.body, damage=found.damage)
    return audit.facts.head if value in held_at_head(audit.facts) else None
