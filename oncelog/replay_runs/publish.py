"""The work that sends events: to a topic of a new consumer, and to the streams of events in a restore."""

from collections import defaultdict
from collections.abc import Sequence

from oncelog.archive.log_part import LogPosition, order_key
from oncelog.bounded_gather import bounded_gather
from oncelog.domain.events import Event
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.ports import EventPublisher, Generations, Leases, StreamProgress, TopicPublisher, Watermark
from oncelog.read_models.rebuild import Projected, StateProjection
from oncelog.replay.fold import FoldedBatch
from oncelog.replay_runs.request import ReplayCounts
from oncelog.replay_runs.work import NoWork, PartitionStep, PartitionWork, ReplayRun

#: Aggregates with events that are sent side by side; events of one go one after the other.
PUBLISHED_AT_ONCE = 256


def by_aggregate(events: Sequence[Event]) -> dict[str, list[Event]]:
    """Return the events of each aggregate, in their order."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for event in events:
        found[event.aggregate_id].append(event)
    return found


class RepublishWork(NoWork):
    """Sends every event of the scope to one topic, each aggregate's in order.

    An attempt that follows on another one goes on where that one is known to have come to, so an event may come twice
    after a crash, and none is left out.
    """

    wants_events = True

    def __init__(self, topics: TopicPublisher) -> None:
        self._topics = topics

    async def begin(self, run: ReplayRun) -> None:
        """Demand a topic that is there and none of Oncelog's own; raises InputInvalid."""
        if run.request.topic is None:
            raise InputInvalid("replay: republish expects a topic, found none; name it with --topic")
        await self._topics.demand_topic(run.request.topic)

    async def partition(self, step: PartitionStep) -> PartitionWork:
        """Return the work that sends a partition's events, from the position on."""
        return _Republished(self._topics, step.run.request.topic or "", step.done)


class _Republished:
    def __init__(self, topics: TopicPublisher, topic: str, done: LogPosition | None) -> None:
        self._topics = topics
        self._topic = topic
        self._done = _order(done.aggregate_id, done.sequence_number) if done else ("", 0)

    async def add(self, batch: FoldedBatch) -> ReplayCounts:
        left = [event for event in batch.events_read if _order(event.aggregate_id, event.sequence_number) > self._done]
        streams = by_aggregate(left)
        await bounded_gather(self._send, streams.values(), at_once=PUBLISHED_AT_ONCE)
        return ReplayCounts(published=len(left))

    async def end(self) -> ReplayCounts:
        return ReplayCounts()

    async def _send(self, events: Sequence[Event]) -> None:
        await self._topics.publish_to(self._topic, events)


def _order(aggregate_id: str, sequence_number: int) -> tuple[str, int]:
    """Return the order of events in a partition, which is that of their slots' keys."""
    return order_key(aggregate_id.rpartition("/")[2]), sequence_number


class RestoreWork(NoWork):
    """Brings back all that is derived from the log: documents, nodes, streams of events, heads and watermarks.

    Each aggregate's events go out from its watermark on, in order; where Redis knows none, from the first.
    """

    wants_events = True

    def __init__(
        self, *, publisher: EventPublisher, leases: Leases, documents: StateProjection, graph: StateProjection
    ) -> None:
        self._publisher = publisher
        self._leases = leases
        self._documents = documents
        self._graph = graph

    async def partition(self, step: PartitionStep) -> PartitionWork:
        """Return the work that restores a partition."""
        models = [self._documents] if step.partition.part.class_id == CLASSES else [self._documents, self._graph]
        return _Restored(self._publisher, self._leases, models)


class _Restored:
    def __init__(self, publisher: EventPublisher, leases: Leases, models: Sequence[StateProjection]) -> None:
        self._publisher = publisher
        self._leases = leases
        self._models = models
        self._through: dict[str, int] = {}  # of the stream that goes on in the next batch

    async def add(self, batch: FoldedBatch) -> ReplayCounts:
        generations = await self._publisher.generations()  # before the watermarks, see EventPublisher
        streams = by_aggregate(batch.events_read)
        await self._learn([name for name in streams if name not in self._through], generations)
        before = dict(self._through)
        _, *done = await bounded_gather(
            lambda step: step, [self._publish(streams), *(model.project(batch) for model in self._models)], at_once=8
        )
        if await self._publisher.generations() != generations:
            raise StoreUnavailable("the stream of events", "restoring", "its topic was made anew meanwhile")
        await self._save(batch, generations)
        projected = sum((each for each in done if isinstance(each, Projected)), Projected())
        published = sum(max(0, events[-1].sequence_number - before[name]) for name, events in streams.items())
        last = batch.events_read[-1].aggregate_id if batch.events_read else ""
        self._through = {name: through for name, through in self._through.items() if name == last}
        return ReplayCounts(projected=projected.projected, parked=projected.parked, published=published)

    async def end(self) -> ReplayCounts:
        return ReplayCounts()

    async def _learn(self, names: Sequence[str], generations: Generations) -> None:
        aggregate_ids = [AggregateId.parse(name) for name in names]
        watermarks = await self._leases.published(aggregate_ids) if aggregate_ids else ()
        for aggregate_id, watermark in zip(aggregate_ids, watermarks, strict=True):
            through = watermark.through_in(generations.of(aggregate_id)) if watermark else 0
            self._through[str(aggregate_id)] = through

    async def _publish(self, streams: dict[str, list[Event]]) -> None:
        async def send(events: Sequence[Event]) -> None:
            name = events[0].aggregate_id
            left = [event for event in events if event.sequence_number > self._through[name]]
            await self._publisher.publish_events(left)
            self._through[name] = max(self._through[name], events[-1].sequence_number)

        await bounded_gather(send, streams.values(), at_once=PUBLISHED_AT_ONCE)

    async def _save(self, batch: FoldedBatch, generations: Generations) -> None:
        """Let Redis know heads and watermarks, so that the next command of an aggregate need not look for them."""
        states = {state.aggregate_id: state for state in batch.states}
        progress = [
            StreamProgress(
                aggregate_id=(aggregate_id := AggregateId.parse(name)),
                state=states.get(name),
                published=Watermark(generations.of(aggregate_id), through),
            )
            for name, through in self._through.items()
        ]
        if progress:
            await self._leases.save_progress(progress, "")
