"""The plan of a replay: the log's classes, divided into parts of about as many events, by listing alone."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from oncelog.archive.listing import listed_streams
from oncelog.archive.log_part import LogPart
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid
from oncelog.ports import ListedStream, LogCatalogue
from oncelog.replay_runs.files import ReplayFiles
from oncelog.replay_runs.partitions import Partition, PlanTotals, ReplayPlan
from oncelog.replay_runs.request import PARTITION_EVENTS, ReplayScope

#: Partitions of one file of a plan: each partition reads one such file.
PARTITIONS_PER_FILE = 100
TOTALS = "plan.json"

#: Called with the number of aggregates that were listed so far.
Listed = Callable[[int], None]


class ListingKeeper(Protocol):
    """Receives the listing that a plan is made of, in the log's order, to keep it for the readers of its partitions."""

    async def begin_class(self, part: LogPart, /) -> None:
        """Take note of a class that is listed from now on."""
        ...

    def add(self, stream: ListedStream, /) -> None:
        """Take note of one more stream of the partition that is being listed."""
        ...

    async def end_partition(self, partition: Partition, /) -> None:
        """Keep the streams since the last partition; they are this one's."""
        ...

    async def end_class(self) -> None:
        """Have kept all of the class; streams since its last partition are in none."""
        ...


class _KeepsNothing:
    """The keeper of a plan with partitions that list their parts themselves."""

    async def begin_class(self, part: LogPart) -> None: ...

    def add(self, stream: ListedStream) -> None: ...

    async def end_partition(self, partition: Partition) -> None: ...

    async def end_class(self) -> None: ...


@dataclass
class _Group:
    """The size of one partition so far: ``aggregates`` and ``events`` are those that the scope takes."""

    part: LogPart
    aggregates: int = 0
    events: int = 0


async def plan_replay(
    catalogue: LogCatalogue,
    scope: ReplayScope,
    *,
    events_per_partition: int = PARTITION_EVENTS,
    listed: Listed = lambda _: None,
    keeper: ListingKeeper | None = None,
) -> ReplayPlan:
    """Divide the scope into partitions. One LIST per 1,000 events; raises StoreUnavailable.

    ``keeper``: receives the listing.
    """
    partitions: list[Partition] = []
    keeper = keeper or _KeepsNothing()
    division = _Division(scope, events_per_partition, listed, keeper)
    for part in await parts_of(catalogue, scope):
        await keeper.begin_class(part)
        async for group in division.groups(part, listed_streams(catalogue, part)):
            size = {"aggregates": group.aggregates, "events": group.events}
            partitions.append(Partition(number=len(partitions), part=group.part, **size))
            await keeper.end_partition(partitions[-1])
        await keeper.end_class()
    return ReplayPlan(partitions=tuple(partitions))


@dataclass
class _Division:
    """Divides listed streams into groups; ``total``: how many there were so far."""

    scope: ReplayScope
    events_per_partition: int
    listed: Listed
    keeper: ListingKeeper
    total: int = 0

    async def groups(self, part: LogPart, streams: AsyncIterator[ListedStream]) -> AsyncIterator[_Group]:
        """Yield the groups of a part; none where the scope takes nothing of it."""
        group = _Group(part)
        async for stream in streams:
            self.total += 1
            self.listed(self.total)
            is_taken = is_in(stream, self.scope)
            if is_taken and group.events >= self.events_per_partition:
                group.part, rest = group.part.cut_at([stream.aggregate_id.instance_key])
                yield group
                group = _Group(rest)
            self.keeper.add(stream)
            if is_taken:
                group.aggregates += 1
                group.events += stream.head
        if group.aggregates:
            yield group


def is_in(stream: ListedStream, scope: ReplayScope) -> bool:
    """Return whether the scope takes an aggregate of its databases and classes."""
    return scope.since is None or stream.written_at >= scope.since


async def parts_of(catalogue: LogCatalogue, scope: ReplayScope) -> Sequence[LogPart]:
    """Return the classes that a scope is about, or the one stream."""
    if scope.aggregate_id is not None:
        return [LogPart.of_stream(AggregateId.parse(scope.aggregate_id))]
    if scope.db_name is not None and scope.class_id is not None:
        return [LogPart(db_name=scope.db_name, class_id=scope.class_id)]
    names = await catalogue.class_names(db_name=scope.db_name)
    return [LogPart(db_name=db_name, class_id=class_id) for db_name, class_id in names]


async def keep_plan(files: ReplayFiles, plan: ReplayPlan) -> PlanTotals:
    """Write a plan into the files of its run; raises StoreUnavailable."""
    for start in range(0, len(plan.partitions), PARTITIONS_PER_FILE):
        some = ReplayPlan(partitions=plan.partitions[start : start + PARTITIONS_PER_FILE])
        await files.write(_plan_name(start), some.model_dump_json().encode())
    await files.write(TOTALS, plan.totals.model_dump_json().encode())
    return plan.totals


async def read_totals(files: ReplayFiles) -> PlanTotals:
    """Return the size of a run's plan; raises InputInvalid for a run that has none."""
    return PlanTotals.model_validate_json(await _read(files, TOTALS))


async def read_partition(files: ReplayFiles, number: int) -> Partition:
    """Return one partition of a run's plan; raises InputInvalid for a run that has none."""
    some = ReplayPlan.model_validate_json(await _read(files, _plan_name(number)))
    return some.partitions[number % PARTITIONS_PER_FILE]


async def read_classes(files: ReplayFiles, partitions: int) -> dict[str, list[int]]:
    """Return the numbers of each class's partitions, by names such as ``shop/Product``; raises InputInvalid."""
    found: dict[str, list[int]] = {}
    for start in range(0, partitions, PARTITIONS_PER_FILE):
        some = ReplayPlan.model_validate_json(await _read(files, _plan_name(start)))
        for partition in some.partitions:
            found.setdefault(f"{partition.part.db_name}/{partition.part.class_id}", []).append(partition.number)
    return found


def _plan_name(number: int) -> str:
    return f"plan/{number // PARTITIONS_PER_FILE:06d}.json"


async def _read(files: ReplayFiles, name: str) -> bytes:
    found = await files.read(name)
    if found is None:
        raise InputInvalid(f"replay {files.folder}: expected its plan in S3, found none; start another replay")
    return found
