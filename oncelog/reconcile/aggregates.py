"""Aggregates whose events may not all be on the stream, or that a read model has behind their log, under an earlier
definition than their class has now, or not at all.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from oncelog.domain.dead_letters import DeadLetter, skipped_through
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged, OncelogError, StoreUnavailable
from oncelog.ports import (
    DeadLetters,
    EventPublisher,
    Leases,
    ListedStream,
    ProjectionStatus,
    RunningWorkflows,
    StoredEvent,
    Watermark,
)
from oncelog.reconcile.classes import RunningDefinitions
from oncelog.reconcile.group import GroupWatermarks, RememberedSlots
from oncelog.reconcile.scope import Scope, Steps, incomplete
from oncelog.reconcile.summary import Finding, FindingKind, ReconcileSummary
from oncelog.replay.stream_reader import StreamReader
from oncelog.replay.trace import Trace
from oncelog.write.delivery import Deliverer, InlineModel

AGGREGATES_PER_GROUP = 200
READS_AT_ONCE_MAX = 32
PUBLISHED_AT_ONCE_MAX = 64


@dataclass(frozen=True)
class _Reached:
    """How far an aggregate has come: its watermark, and its status in each read model, by name.

    ``being_redefined``: the command that defined its class last still runs, and will rebuild outdated nodes.
    """

    published: Watermark | None
    shown: Mapping[str, ProjectionStatus]
    being_redefined: bool

    def behind(self, head: int) -> dict[str, ProjectionStatus]:
        """Return the read models that do not project the head as it is now, with what they project."""
        return {
            name: shown
            for name, shown in self.shown.items()
            if shown.sequence_number < head or (shown.outdated and not self.being_redefined)
        }

    @property
    def left_to_others(self) -> bool:
        """Whether something is outdated that others are at."""
        return self.being_redefined and any(shown.outdated for shown in self.shown.values())


@dataclass(frozen=True)
class _Due:
    """What is to be done about an aggregate. ``published``: its watermark, None where Redis knows none."""

    published: Watermark | None
    unpublished: bool
    behind: Mapping[str, ProjectionStatus]


class AggregateReconciler:
    """Compares head, watermark and each read model's view of an aggregate, and makes good what is behind."""

    def __init__(
        self,
        *,
        slots: RememberedSlots,
        watermarks: GroupWatermarks,
        reader: StreamReader,
        deliverer: Deliverer,
        leases: Leases,
        publisher: EventPublisher,
        models: Sequence[InlineModel],
        letters: DeadLetters,
        running: RunningWorkflows,
        running_definitions: RunningDefinitions,
    ) -> None:
        self._slots = slots
        self._watermarks = watermarks
        self._reader = reader
        self._deliverer = deliverer
        self._leases = leases
        self._publisher = publisher
        self._models = models
        self._dead_letters = letters
        self._running = running
        self._running_definitions = running_definitions

    async def page(self, listed_streams: Sequence[ListedStream], scope: Scope) -> ReconcileSummary:
        """Reconcile these aggregates; raises StoreUnavailable if a server kept it from every one of some."""
        if await self._publisher.generations() != scope.generations:
            scope = replace(scope, published_through=None)  # it was so in a topic that is lost
        letters = _Letters(self._dead_letters)
        summary = ReconcileSummary()
        for start in range(0, len(listed_streams), AGGREGATES_PER_GROUP):
            self._slots.clear()  # neither an altered slot nor memory outlives its group
            summary += await self._group(listed_streams[start : start + AGGREGATES_PER_GROUP], letters, scope)
        self._slots.clear()
        return summary

    async def _group(
        self, listed_streams: Sequence[ListedStream], letters: "_Letters", scope: Scope
    ) -> ReconcileSummary:
        """Take a group through one step after the other: what many can be asked or told at once is asked once."""
        steps = Steps(place=_place)
        reached = await self._reached([listed_stream.aggregate_id for listed_stream in listed_streams])
        compared = dict(await steps.take(listed_streams, partial(self._compare, reached, scope)))
        summaries: defaultdict[ListedStream, list[ReconcileSummary]] = defaultdict(list)
        for listed_stream, found in compared.items():
            summaries[listed_stream].append(
                ReconcileSummary(aggregates=1) + found
                if isinstance(found, ReconcileSummary)
                else ReconcileSummary(aggregates=1)
            )
        due = {listed_stream: found for listed_stream, found in compared.items() if isinstance(found, _Due)}
        heads = dict(await steps.take(list(due), self._head, at_once_max=READS_AT_ONCE_MAX))
        commands = {head.event.command_id for head in heads.values()}
        running = await self._running.running_among(commands) if commands else ()
        for listed_stream, head in heads.items():
            if head.event.command_id in running:
                summaries[listed_stream].append(ReconcileSummary(running=1, oldest_left=listed_stream.written_at))
        idle = [listed_stream for listed_stream, head in heads.items() if head.event.command_id not in running]

        async def publish(listed_stream: ListedStream) -> ReconcileSummary:
            return await self._publish(listed_stream, due[listed_stream].published, heads[listed_stream], scope)

        async def project(listed_stream: ListedStream) -> ReconcileSummary:
            return await self._project(listed_stream, due[listed_stream].behind, letters, scope)

        unpublished = [listed_stream for listed_stream in idle if due[listed_stream].unpublished]
        published = await steps.take(unpublished, publish, at_once_max=PUBLISHED_AT_ONCE_MAX)
        await self._watermarks.flush()
        behind = [
            listed_stream for listed_stream in idle if due[listed_stream].behind and listed_stream not in steps.failed
        ]
        if scope.repair:
            await steps.take(behind, self._fold, at_once_max=READS_AT_ONCE_MAX)
        projected = await steps.take(behind, project, at_once_max=AGGREGATES_PER_GROUP)
        steps.demand_any()
        for listed_stream, summary in (*published, *projected):
            summaries[listed_stream].append(summary)
        return ReconcileSummary.sum(
            summary
            for listed_stream in listed_streams
            for summary in steps.failed.get(listed_stream, summaries[listed_stream])
        )

    async def _reached(self, aggregate_ids: Sequence[AggregateId]) -> Mapping[AggregateId, _Reached | OncelogError]:
        """Ask for all of them: one question to Redis, and one to each read model; an error where one cannot be read."""
        watermarks = await self._leases.published(aggregate_ids)
        shown: defaultdict[AggregateId, dict[str, ProjectionStatus]] = defaultdict(dict)
        unreadable: dict[AggregateId, OncelogError] = {}
        for model in self._models:
            wanted = [aggregate_id for aggregate_id in aggregate_ids if model.has(aggregate_id)]
            for aggregate_id, status in zip(wanted, await _projection_statuses(model, wanted), strict=True):
                if isinstance(status, OncelogError):
                    unreadable[aggregate_id] = status
                else:
                    shown[aggregate_id][model.name] = status
        outdated = {
            name.class_name
            for name, projection_statuses in shown.items()
            if any(one.outdated for one in projection_statuses.values())
        }
        being_redefined = {
            class_name for class_name in outdated if await self._running_definitions.is_running(class_name)
        }
        return {
            aggregate_id: unreadable.get(aggregate_id)
            or _Reached(watermark, shown[aggregate_id], aggregate_id.class_name in being_redefined)
            for aggregate_id, watermark in zip(aggregate_ids, watermarks, strict=True)
        }

    async def _compare(
        self, reached: Mapping[AggregateId, _Reached | OncelogError], scope: Scope, listed_stream: ListedStream
    ) -> "_Due | ReconcileSummary":
        """Return what an aggregate lacks, or the summary of one that is to be left as it is."""
        if listed_stream.missing is not None:
            raise _missing(listed_stream)
        now = reached[listed_stream.aggregate_id]
        if isinstance(now, OncelogError):
            raise now
        published = now.published
        # Beyond it: others have gone on since it was listed, or what is known is wrong.
        through = published.through if published else 0
        if max(through, *(shown.sequence_number for shown in now.shown.values())) > listed_stream.head:
            published = await self._checked(listed_stream, now, scope)
        unpublished = (
            not scope.is_published(listed_stream.written_at)
            if published is None
            else published.through < listed_stream.head
        )
        behind = now.behind(listed_stream.head)
        if not unpublished and not behind:
            return ReconcileSummary(running=int(now.left_to_others))
        if scope.is_recent(listed_stream.written_at):
            return ReconcileSummary(recent=1)
        return _Due(published, unpublished, behind)

    async def _head(self, listed_stream: ListedStream) -> StoredEvent:
        return await self._reader.required(listed_stream.aggregate_id, listed_stream.head)

    async def _fold(self, listed_stream: ListedStream) -> None:
        """Have the state at hand when it is projected, so that one request to a read model carries many."""
        with suppress(OncelogError):  # then it is for the projection to say, and perhaps to park it
            await self._reader.at(listed_stream.aggregate_id, listed_stream.head)

    async def _checked(self, listed_stream: ListedStream, now: _Reached, scope: Scope) -> Watermark | None:
        """Return the watermark, None if it is beyond the log; raises LogDamaged if a read model is."""
        head = await self._slots.head(listed_stream.aggregate_id, after=listed_stream.head)
        for name, shown in now.shown.items():
            if shown.sequence_number > head:
                raise LogDamaged(
                    f"aggregate {listed_stream.aggregate_id}: the {name} show it at version {shown.sequence_number}, "
                    f"but the log ends at {head}; restore the missing events, or delete it from the {name} and "
                    "check again",
                    aggregate_id=str(listed_stream.aggregate_id),
                )
        if now.published is None or now.published.through <= head:
            return now.published
        if scope.repair:
            await self._leases.forget(listed_stream.aggregate_id)
        return None

    async def _publish(
        self, listed_stream: ListedStream, published: Watermark | None, head: StoredEvent, scope: Scope
    ) -> ReconcileSummary:
        """The head is the last thing to publish: its writer sends all before it along (docs/protocol.md, R3)."""
        known = "unknown" if published is None else str(published.through)
        found = incomplete(_place(listed_stream), f"head {listed_stream.head}, known to be published: {known}")
        if not scope.repair:
            return found + ReconcileSummary(oldest_left=listed_stream.written_at)
        recorded = head.published_through.at_most(listed_stream.head)
        self._watermarks.know(listed_stream.aggregate_id, recorded if published is None else published)
        await self._deliverer.publish(listed_stream.aggregate_id, listed_stream.head)
        return found + ReconcileSummary(published=1)

    async def _project(
        self, listed_stream: ListedStream, behind: Mapping[str, ProjectionStatus], letters: "_Letters", scope: Scope
    ) -> ReconcileSummary:
        """Project the head in the read models where no operator has to decide first."""
        parked = await letters.parked(listed_stream, behind)
        left = [name for name in behind if name not in parked]
        summary = _parked_summary(listed_stream, parked)
        if not left:
            return summary
        where = ", ".join(f"{name} {_in_words(behind[name])}" for name in left)
        summary += incomplete(_place(listed_stream), f"head {listed_stream.head}, shown in: {where}")
        if not scope.repair:
            return summary
        if await self._deliverer.project_or_park(listed_stream.aggregate_id, listed_stream.head, Trace(), only=left):
            return summary + ReconcileSummary(projected=1)
        return summary + _parked_summary(listed_stream, await _Letters(self._dead_letters).parked(listed_stream, left))


class _Letters:
    """The dead letters as one page of aggregates meets them: which aggregates have any is asked once."""

    def __init__(self, letters: DeadLetters) -> None:
        self._dead_letters = letters
        self._listed: dict[str, asyncio.Task[Mapping[AggregateId, int]]] = {}

    async def parked(self, listed_stream: ListedStream, names: Iterable[str]) -> dict[str, DeadLetter]:
        """Return, by read model, the dead letter by which the aggregate need not be projected there at its head."""
        parked: dict[str, DeadLetter] = {}
        for name in names:
            if name not in self._listed:
                self._listed[name] = asyncio.ensure_future(self._dead_letters.numbers(name))
            if listed_stream.aggregate_id not in await self._listed[name]:
                continue
            letters = await self._dead_letters.history(name, listed_stream.aggregate_id)
            letter = letters[-1] if letters and letters[-1].waits else skipped_through(letters, listed_stream.head)
            if letter is not None:
                parked[name] = letter
        return parked


def _parked_summary(listed_stream: ListedStream, parked: Mapping[str, DeadLetter]) -> ReconcileSummary:
    findings = tuple(
        Finding(
            kind=FindingKind.PARKED,
            place=_place(listed_stream),
            what=f"{name}: {letter.kind} at version {letter.sequence_number} since {letter.at}: {letter.reason}",
        )
        for name, letter in parked.items()
    )
    return ReconcileSummary(parked=len(findings), findings=findings)


async def _projection_statuses(
    model: InlineModel, aggregate_ids: Sequence[AggregateId]
) -> Sequence[ProjectionStatus | OncelogError]:
    """Return how each is projected, or why that cannot be read: one that is damaged holds up none of the others."""
    try:
        return await model.projection_statuses(aggregate_ids)
    except StoreUnavailable:
        raise
    except OncelogError as error:
        if len(aggregate_ids) == 1:
            return [error]
        return [one for aggregate_id in aggregate_ids for one in await _projection_statuses(model, [aggregate_id])]


def _in_words(shown: ProjectionStatus) -> str:
    if not shown.sequence_number:
        return "missing"
    return f"at version {shown.sequence_number}" + (" under an earlier definition" if shown.outdated else "")


def _place(listed_stream: ListedStream) -> str:
    return f"aggregate {listed_stream.aggregate_id}"


def _missing(listed_stream: ListedStream) -> LogDamaged:
    return LogDamaged(
        f"aggregate {listed_stream.aggregate_id}: slot {listed_stream.missing} is missing below {listed_stream.head}; "
        "restore the object from its versions",
        where=f"slot {listed_stream.aggregate_id} {listed_stream.missing}",
        aggregate_id=str(listed_stream.aggregate_id),
        sequence_number=listed_stream.missing,
    )
