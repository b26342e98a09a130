"""The plan of a replay: the log's classes, divided into parts of about as many events, by listing alone."""

from collections.abc import Callable, Sequence

from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import listed_streams
from oncelog.domain.identifiers import AggregateId
from oncelog.ports import ListedStream, LogCatalogue
from oncelog.replay_runs.request import PARTITION_EVENTS, Partition, ReplayPlan, ReplayScope

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
    for part in await _parts(catalogue, scope):
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


async def _parts(catalogue: LogCatalogue, scope: ReplayScope) -> Sequence[LogPart]:
    if scope.aggregate_id is not None:
        return [LogPart.of_stream(AggregateId.parse(scope.aggregate_id))]
    if scope.db_name is not None and scope.class_id is not None:
        return [LogPart(db_name=scope.db_name, class_id=scope.class_id)]
    names = await catalogue.class_names(db_name=scope.db_name)
    return [LogPart(db_name=db_name, class_id=class_id) for db_name, class_id in names]
