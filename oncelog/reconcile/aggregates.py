"""Aggregates with events that may not be on the stream, or that a read model has behind their log, under an earlier
definition than their class has now, or not at all.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial

from oncelog.domain.dead_letters import DeadLetter, skipped_through
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import OncelogError
from oncelog.ports import (
    DeadLetters,
    EventPublisher,
    ListedStream,
    ProjectionStatus,
    RunningWorkflows,
    StoredEvent,
    Watermark,
    last_numbers,
)
from oncelog.reconcile.comparison import AggregateComparison, Due
from oncelog.reconcile.group import GroupWatermarks, RememberedSlots
from oncelog.reconcile.scope import Scope, Steps, incomplete
from oncelog.reconcile.summary import Finding, FindingKind, ReconcileSummary
from oncelog.replay.stream_reader import StreamReader
from oncelog.replay.trace import Trace
from oncelog.write.delivery import Deliverer

AGGREGATES_PER_GROUP = 200
READS_AT_ONCE_MAX = 32
PUBLISHED_AT_ONCE_MAX = 64

Summaries = defaultdict[ListedStream, list[ReconcileSummary]]


class AggregateReconciler:
    """Compares head, watermark and each read model's view of an aggregate, and brings those behind up to the head."""

    def __init__(
        self,
        *,
        comparison: AggregateComparison,
        slots: RememberedSlots,
        watermarks: GroupWatermarks,
        reader: StreamReader,
        deliverer: Deliverer,
        publisher: EventPublisher,
        dead_letters: DeadLetters,
        running: RunningWorkflows,
    ) -> None:
        self._comparison = comparison
        self._slots = slots
        self._watermarks = watermarks
        self._reader = reader
        self._deliverer = deliverer
        self._publisher = publisher
        self._dead_letters = dead_letters
        self._running = running

    async def page(self, listed_streams: Sequence[ListedStream], scope: Scope) -> ReconcileSummary:
        """Reconcile these aggregates; raises StoreUnavailable if a server kept it from every one of some."""
        if await self._publisher.generations() != scope.generations:
            scope = replace(scope, published_through=None)  # it was so in a topic that is lost
        dead_letters = _DeadLetters(self._dead_letters)
        summary = ReconcileSummary()
        for start in range(0, len(listed_streams), AGGREGATES_PER_GROUP):
            self._slots.clear()  # neither an altered slot nor memory outlives its group
            summary += await self._group(listed_streams[start : start + AGGREGATES_PER_GROUP], dead_letters, scope)
        self._slots.clear()
        return summary

    async def _group(
        self, listed_streams: Sequence[ListedStream], dead_letters: "_DeadLetters", scope: Scope
    ) -> ReconcileSummary:
        """Take a group through one step after the other: one request asks or reports for many."""
        steps = Steps(place=_place)
        reached = await self._comparison.reached([listed_stream.aggregate_id for listed_stream in listed_streams])
        compared = dict(await steps.take(listed_streams, partial(self._comparison.compare, reached, scope)))
        summaries: Summaries = defaultdict(list)
        for listed_stream, found in compared.items():
            summaries[listed_stream].append(ReconcileSummary(aggregates=1))
            if isinstance(found, ReconcileSummary):
                summaries[listed_stream].append(found)
        due = {listed_stream: found for listed_stream, found in compared.items() if isinstance(found, Due)}
        heads = dict(await steps.take(list(due), self._head, at_once_max=READS_AT_ONCE_MAX))
        commands = {head.event.command_id for head in heads.values()}
        running = await self._running.running_among(commands) if commands else ()
        for listed_stream, head in heads.items():
            if head.event.command_id in running:
                summaries[listed_stream].append(ReconcileSummary(running=1, oldest_left=listed_stream.written_at))
        idle = {listed: due[listed] for listed, head in heads.items() if head.event.command_id not in running}
        await self._publish_all(idle, heads, steps, summaries, scope)
        await self._project_all(idle, dead_letters, steps, summaries, scope)
        steps.demand_any()
        return ReconcileSummary.sum(
            summary
            for listed_stream in listed_streams
            for summary in steps.failed.get(listed_stream, summaries[listed_stream])
        )

    async def _publish_all(
        self,
        idle: Mapping[ListedStream, Due],
        heads: Mapping[ListedStream, StoredEvent],
        steps: Steps[ListedStream],
        summaries: Summaries,
        scope: Scope,
    ) -> None:
        async def publish(listed_stream: ListedStream) -> ReconcileSummary:
            return await self._publish(listed_stream, idle[listed_stream].published, heads[listed_stream], scope)

        unpublished = [listed_stream for listed_stream, due in idle.items() if due.unpublished]
        for listed_stream, summary in await steps.take(unpublished, publish, at_once_max=PUBLISHED_AT_ONCE_MAX):
            summaries[listed_stream].append(summary)
        await self._watermarks.flush()

    async def _project_all(
        self,
        idle: Mapping[ListedStream, Due],
        dead_letters: "_DeadLetters",
        steps: Steps[ListedStream],
        summaries: Summaries,
        scope: Scope,
    ) -> None:
        async def project(listed_stream: ListedStream) -> ReconcileSummary:
            return await self._project(listed_stream, idle[listed_stream].behind, dead_letters, scope)

        behind = [
            listed_stream for listed_stream, due in idle.items() if due.behind and listed_stream not in steps.failed
        ]
        if scope.repair:
            await steps.take(behind, self._fold, at_once_max=READS_AT_ONCE_MAX)
        for listed_stream, summary in await steps.take(behind, project, at_once_max=AGGREGATES_PER_GROUP):
            summaries[listed_stream].append(summary)

    async def _head(self, listed_stream: ListedStream) -> StoredEvent:
        return await self._reader.required(listed_stream.aggregate_id, listed_stream.head)

    async def _fold(self, listed_stream: ListedStream) -> None:
        """Have the state at hand when it is projected, so that one request to a read model carries many."""
        with suppress(OncelogError):  # then it is for the projection to say, and perhaps to park it
            await self._reader.at(listed_stream.aggregate_id, listed_stream.head)

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
        await self._deliverer.publish(listed_stream.aggregate_id, listed_stream.head, Trace())
        return found + ReconcileSummary(published=1)

    async def _project(
        self,
        listed_stream: ListedStream,
        behind: Mapping[str, ProjectionStatus],
        dead_letters: "_DeadLetters",
        scope: Scope,
    ) -> ReconcileSummary:
        """Project the head in the read models where no operator has to decide first."""
        parked = await dead_letters.parked(listed_stream, behind)
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
        return summary + _parked_summary(
            listed_stream, await _DeadLetters(self._dead_letters).parked(listed_stream, left)
        )


class _DeadLetters:
    """The dead letters as one page of aggregates meets them: which aggregates have any is asked once."""

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters
        self._listed: dict[str, asyncio.Task[Mapping[AggregateId, int]]] = {}

    async def parked(self, listed_stream: ListedStream, names: Iterable[str]) -> dict[str, DeadLetter]:
        """Return, by read model, the dead letter by which the aggregate need not be projected there at its head."""
        parked: dict[str, DeadLetter] = {}
        for name in names:
            if name not in self._listed:
                self._listed[name] = asyncio.ensure_future(last_numbers(self._dead_letters, name))
            if listed_stream.aggregate_id not in await self._listed[name]:
                continue
            dead_letters = await self._dead_letters.dead_letter_history(name, listed_stream.aggregate_id)
            dead_letter = (
                dead_letters[-1]
                if dead_letters and dead_letters[-1].waits
                else skipped_through(dead_letters, listed_stream.head)
            )
            if dead_letter is not None:
                parked[name] = dead_letter
        return parked


def _parked_summary(listed_stream: ListedStream, parked: Mapping[str, DeadLetter]) -> ReconcileSummary:
    findings = tuple(
        Finding(
            kind=FindingKind.PARKED,
            place=_place(listed_stream),
            what=f"{name}: {dead_letter.kind} at version {dead_letter.sequence_number} since {dead_letter.at}: "
            f"{dead_letter.reason}",
        )
        for name, dead_letter in parked.items()
    )
    return ReconcileSummary(parked=len(findings), findings=findings)


def _in_words(shown: ProjectionStatus) -> str:
    if not shown.sequence_number:
        return "missing"
    return f"at version {shown.sequence_number}" + (" under an earlier definition" if shown.outdated else "")


def _place(listed_stream: ListedStream) -> str:
    return f"aggregate {listed_stream.aggregate_id}"
