"""The plan of a replay: the log's keys, divided into ranges of about as many events, by listing alone."""

from collections.abc import AsyncIterator, Callable

from oncelog.domain.identifiers import AggregateId
from oncelog.ports import ListedStream, LogCatalogue, Page
from oncelog.replays.request import PARTITION_EVENTS, Partition, ReplayPlan, ReplayScope

#: Called with the number of aggregates that were listed so far.
Listed = Callable[[int], None]


def key_of(aggregate_id: AggregateId | str) -> str:
    """Return the text by which aggregates sort as their keys do: ``p1-a`` before ``p1``, as ``-`` before ``/``."""
    return f"{aggregate_id}/"


async def pages(catalogue: LogCatalogue, scope: ReplayScope, *, after: str = "") -> AsyncIterator[Page[ListedStream]]:
    """Yield the catalogue's pages of the scope's aggregates after a position; raises StoreUnavailable."""
    place = AggregateId.parse(scope.aggregate_id) if scope.aggregate_id else None
    db_name, class_id = (place.db_name, place.class_id) if place else (scope.db_name, scope.class_id)
    position: str | None = after
    while position is not None:
        page = await catalogue.listed_streams(after=position, db_name=db_name, class_id=class_id)
        yield page
        position = page.position


def is_in(listed: ListedStream, scope: ReplayScope) -> bool:
    """Return whether an aggregate of the scope's databases and classes is one of its aggregates."""
    if scope.aggregate_id is not None and str(listed.aggregate_id) != scope.aggregate_id:
        return False
    return scope.since is None or listed.written_at >= scope.since


async def plan_replay(
    catalogue: LogCatalogue,
    scope: ReplayScope,
    *,
    events_per_partition: int = PARTITION_EVENTS,
    listed: Listed = lambda _: None,
) -> ReplayPlan:
    """Divide the scope into partitions. One LIST per 1,000 events; raises StoreUnavailable."""
    partitions: list[Partition] = []
    after = last_position = ""
    through, aggregates, events, total = "", 0, 0, 0

    def close() -> None:
        partitions.append(
            Partition(number=len(partitions), after=after, through=through, aggregates=aggregates, events=events)
        )

    async for page in pages(catalogue, scope):
        for stream in page.items:
            if is_in(stream, scope):
                through, aggregates, events = str(stream.aggregate_id), aggregates + 1, events + stream.head
        total += len(page.items)
        listed(total)
        last_position = page.position or last_position
        if events >= events_per_partition:
            close()
            after, aggregates, events = last_position, 0, 0
    if aggregates:
        close()
    return ReplayPlan(partitions=tuple(partitions))
