"""The sweeps put together on one process's command path."""

from collections.abc import Sequence
from dataclasses import dataclass

from oncelog.composition.pipeline import Pipeline
from oncelog.ports import Extent, Ports, RunningWorkflows
from oncelog.reconcile.aggregates import AGGREGATES_PER_GROUP, AggregateSweep
from oncelog.reconcile.bulk import BulkSweep
from oncelog.reconcile.classes import ClassSweep
from oncelog.reconcile.commands import CommandSweep
from oncelog.reconcile.running_definitions import Definers
from oncelog.reconcile.scope import Terms
from oncelog.reconcile.slots import RememberedSlots
from oncelog.reconcile.summary import Tally
from oncelog.reconcile.watermarks import GroupWatermarks
from oncelog.replay.stream_reader import LogReader, StateCache
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.write.command_outcomes import Receipts
from oncelog.write.delivery import Deliverer
from oncelog.write.publication import Publication


@dataclass(frozen=True)
class Sweeps:
    """What a check goes through, in this order.

    What commands are made to come to, the aggregates' sweep delivers, into whatever the classes' sweep has opened.
    """

    commands: CommandSweep
    classes: ClassSweep
    aggregates: AggregateSweep

    async def instances(self, extents: Sequence[Extent], terms: Terms) -> Tally:
        """Sweep aggregates, after the indices of their classes; raises as both sweeps do."""
        return await self.classes.of_instances(extents, terms) + await self.aggregates.page(extents, terms)


def assemble_sweeps(
    pipeline: Pipeline, ports: Ports, running: RunningWorkflows, *, after_step: AfterStep = nothing_after
) -> Sweeps:
    """Build the sweeps; ``after_step`` looks in after each step of finishing a command."""
    commands = CommandSweep(
        committer=pipeline.committer,
        deliverer=pipeline.deliverer,
        receipts=Receipts(ports),
        statuses=ports.statuses,
        running=running,
        bulks=BulkSweep(
            runner=pipeline.bulk.runner,
            reporter=pipeline.bulk.reporter,
            chunk_records=ports.chunk_records,
            after_step=after_step,
        ),
        after_step=after_step,
    )
    definers = Definers(definitions=pipeline.definitions, reader=pipeline.reader, running=running)
    slots = RememberedSlots(ports.event_log)
    cache = StateCache(aggregates_max=AGGREGATES_PER_GROUP)  # of its own: it drives out none that commands need
    reader = LogReader(log=slots, snapshots=ports.snapshots, cache=cache)
    watermarks = GroupWatermarks(ports.turns)
    publication = Publication(reader=reader, publisher=ports.publisher, turns=watermarks)
    aggregates = AggregateSweep(
        slots=slots,
        watermarks=watermarks,
        reader=reader,
        deliverer=Deliverer(publication=publication, models=pipeline.models, reader=reader, cache=cache),
        turns=ports.turns,
        publisher=ports.publisher,
        models=pipeline.models,
        letters=ports.dead_letters,
        running=running,
        definers=definers,
    )
    classes = ClassSweep(reindexer=pipeline.reindexer, definers=definers)
    return Sweeps(commands, classes, aggregates)
