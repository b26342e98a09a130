"""The reconcilers, wired to one process's pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass

from oncelog.composition.pipeline import Pipeline
from oncelog.ports import ListedStream, Ports, RunningWorkflows
from oncelog.reconcile.aggregates import AGGREGATES_PER_GROUP, AggregateReconciler
from oncelog.reconcile.bulk import BulkReconciler
from oncelog.reconcile.classes import ClassReconciler, RunningDefinitions
from oncelog.reconcile.commands import CommandReconciler
from oncelog.reconcile.comparison import AggregateComparison
from oncelog.reconcile.group import GroupWatermarks, RememberedSlots
from oncelog.reconcile.scope import Scope
from oncelog.reconcile.summary import ReconcileSummary
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.write.command_outcomes import CommandOutcomes
from oncelog.write.delivery import Deliverer
from oncelog.write.publication import Publication


@dataclass(frozen=True)
class Reconcilers:
    """The reconcilers of a check, in their order.

    The reconciler of aggregates delivers the commands that were finished, into the indices that the reconciler of
    classes has opened.
    """

    commands: CommandReconciler
    classes: ClassReconciler
    aggregates: AggregateReconciler

    async def instances(self, listed_streams: Sequence[ListedStream], scope: Scope) -> ReconcileSummary:
        """Reconcile aggregates, after the indices of their classes; raises as both reconcilers do."""
        return await self.classes.of_instances(listed_streams, scope) + await self.aggregates.page(
            listed_streams, scope
        )


def assemble_reconcilers(
    pipeline: Pipeline, ports: Ports, running: RunningWorkflows, *, after_step: AfterStep = nothing_after
) -> Reconcilers:
    """Build the reconcilers; ``after_step`` looks in after each step of finishing a command."""
    commands = CommandReconciler(
        committer=pipeline.committer,
        deliverer=pipeline.deliverer,
        command_outcomes=CommandOutcomes(ports),
        statuses=ports.statuses,
        running=running,
        bulks=BulkReconciler(
            runner=pipeline.bulk.runner,
            reporter=pipeline.bulk.reporter,
            chunk_records=ports.chunk_records,
            after_step=after_step,
        ),
        after_step=after_step,
    )
    running_definitions = RunningDefinitions(
        class_schemas=pipeline.class_schemas, reader=pipeline.reader, running=running
    )
    slots = RememberedSlots(ports.event_log)
    cache = StateCache(aggregates_max=AGGREGATES_PER_GROUP)  # of its own: it drives out none that commands need
    reader = StreamReader(log=slots, snapshots=ports.snapshots, cache=cache)
    watermarks = GroupWatermarks(ports.leases)
    publication = Publication(reader=reader, publisher=ports.publisher, leases=watermarks)
    aggregates = AggregateReconciler(
        comparison=AggregateComparison(
            slots=slots, leases=ports.leases, models=pipeline.models, running_definitions=running_definitions
        ),
        slots=slots,
        watermarks=watermarks,
        reader=reader,
        deliverer=Deliverer(publication=publication, models=pipeline.models, reader=reader, cache=cache),
        publisher=ports.publisher,
        dead_letters=ports.dead_letters,
        running=running,
    )
    classes = ClassReconciler(reindexer=pipeline.reindexer, running_definitions=running_definitions)
    return Reconcilers(commands, classes, aggregates)
