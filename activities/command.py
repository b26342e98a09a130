"""The steps of a command. Two activities do all of them when all goes well; one each takes over where it does not."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from oncelog import metrics, tracing
from oncelog.activities.log_context import bind_aggregate
from oncelog.activities.models import CommitReport, CommitRequest, DeliverReport, DeliverRequest, ReindexRequest
from oncelog.composition.pipeline import Pipeline
from oncelog.domain.commands import parse_command
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid
from oncelog.ports import CommandStatuses
from oncelog.replay.trace import AfterStep, StepReport, Trace, nothing_after
from oncelog.write.completion import complete
from oncelog.write.delivery import Delivery, attempted

#: How long one quick attempt at a delivery step may take before the step is handed to an activity of its own.
QUICK_ATTEMPT_S = 2.0


class CommandActivities:
    """Every method is idempotent: it may be repeated at any time, beside an attempt that is still alive."""

    def __init__(
        self,
        pipeline: Pipeline,
        statuses: CommandStatuses,
        *,
        after_step: AfterStep = nothing_after,
    ) -> None:
        self._committer = pipeline.committer
        self._deliverer = pipeline.deliverer
        self._reindexer = pipeline.reindexer
        self._graph_rebuilder = pipeline.graph_rebuilder
        self._statuses = statuses
        self._after_step = after_step

    @property
    def all(self) -> list[Callable[..., Any]]:
        """The activities for a worker to register."""
        return [
            self.commit_command,
            self.deliver_event,
            self.publish_event,
            self.project_event,
            self.complete_command,
            self.reindex_class,
        ]

    @activity.defn
    async def commit_command(self, request: CommitRequest) -> CommitReport:
        """Claim, allocate, record, persist, and publish if Kafka answers: the command comes to its one end."""
        trace = Trace(self._after_step)
        command = parse_command(request.command, stored=True)  # its workflow has judged it
        bind_aggregate(str(command.aggregate_id))
        committed = await self._committer.commit(
            command, occurred_at=request.occurred_at, trace=trace, publish=request.publish
        )
        tracing.annotate(sequence_number=committed.result.sequence_number, outcome=committed.result.outcome)
        if committed.duplicate:
            metrics.DUPLICATES.labels(command.command_type).inc()
        else:
            rejection = committed.result.rejection
            metrics.COMMANDS.labels(command.command_type, rejection.code if rejection else "APPLIED").inc()
        return CommitReport(result=committed.result, published=committed.published, steps=trace.steps)

    @activity.defn
    async def deliver_event(self, request: DeliverRequest) -> DeliverReport:
        """Try once, quickly, each step that is left; report the steps that did not succeed, for regular activities."""
        trace = Trace(self._after_step)
        bind_aggregate(request.result.aggregate_id, request.result.sequence_number)
        delivery = Delivery.of(request.result, published=request.published)
        failures = await self._deliverer.attempt(delivery, trace, timeout_s=QUICK_ATTEMPT_S) if delivery else {}
        if not failures:
            failure = await attempted(self._complete(request, trace), timeout_s=QUICK_ATTEMPT_S)
            failures = {"complete": failure} if failure else {}
        return DeliverReport(steps=trace.steps, failures=failures)

    @activity.defn
    async def publish_event(self, request: DeliverRequest) -> list[StepReport]:
        """Publish the event, and those before it that are not published yet."""
        trace, delivery = Trace(self._after_step), _delivery(request)
        await self._deliverer.publish(delivery.aggregate_id, delivery.sequence_number, trace)
        return trace.steps

    @activity.defn
    async def project_event(self, request: DeliverRequest) -> list[StepReport]:
        """Write the document at the event's sequence number or beyond, or let its aggregate's projection wait."""
        trace, delivery = Trace(self._after_step), _delivery(request)
        if self._deliverer.projects(delivery.aggregate_id):
            await self._deliverer.project_or_park(delivery.aggregate_id, delivery.sequence_number, trace)
        return trace.steps

    @activity.defn
    async def complete_command(self, request: DeliverRequest) -> list[StepReport]:
        """Keep result and history where the command's status is asked for."""
        trace = Trace(self._after_step)
        await self._complete(request, trace)
        return trace.steps

    @activity.defn
    async def reindex_class(self, request: ReindexRequest) -> list[StepReport]:
        """Migrate a class's documents into an index of its new definition, and its nodes to the new edges."""
        trace = Trace(self._after_step)
        name = AggregateId.parse(request.class_name)
        async with trace.step("reindex") as step:
            reindexed = self._reindexer.run(name, at_least=request.sequence_number, progress=activity.heartbeat)
            step.note = str(await reindexed)
        async with trace.step("regraph") as step:
            step.note = str(await self._graph_rebuilder.run(name, progress=activity.heartbeat))
        return trace.steps

    async def _complete(self, request: DeliverRequest, trace: Trace) -> None:
        await complete(
            self._statuses, request.result, command_type=request.command_type, trace=trace, earlier=request.steps
        )
        if request.steps:
            began = request.steps[0]
            seconds = (datetime.now(UTC) - datetime.fromisoformat(began.at)).total_seconds() + began.duration_ms / 1000
            metrics.COMMAND_SECONDS.labels(request.command_type).observe(max(seconds, 0.0))


def _delivery(request: DeliverRequest) -> Delivery:
    result = request.result
    bind_aggregate(result.aggregate_id, result.sequence_number)
    delivery = Delivery.of(result, published=request.published)
    if delivery is None:
        raise InputInvalid(f"command {result.command_id}: expected a result with an event, found {result.outcome}")
    return delivery
