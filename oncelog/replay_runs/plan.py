"""The plan of a replay: the log's classes, divided into parts of about as many events, by listing alone."""

from collections.abc import Callable, Sequence

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


async def plan_replay(
    catalogue: LogCatalogue,
    scope: ReplayScope,
    *,
    events_per_partition: int = PARTITION_EVENTS,
    listed: Listed = lambda _: None,
) -> ReplayPlan:
    """Divide the scope into partitions. One LIST per 1,000 events; raises StoreUnavailable."""
    partitions: list[Partition] = []
    total = 0
    for part in await parts_of(catalogue, scope):
        cuts: list[str] = []
        sizes = [(0, 0)]
        async for stream in listed_streams(catalogue, part):
            total += 1
            listed(total)
            if not is_in(stream, scope):
                continue
            aggregates, events = sizes[-1]
            if events >= events_per_partition:
                cuts.append(stream.aggregate_id.instance_key)
                sizes.append((1, stream.head))
            else:
                sizes[-1] = (aggregates + 1, events + stream.head)
        for piece, (aggregates, events) in zip(part.cut_at(cuts), sizes, strict=True):
            if aggregates:
                number = len(partitions)
                partitions.append(Partition(number=number, part=piece, aggregates=aggregates, events=events))
    return ReplayPlan(partitions=tuple(partitions))


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
