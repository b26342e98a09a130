"""A whole reconciliation over servers in memory, as a check does it, without a workflow around it."""

from datetime import UTC, datetime

from oncelog.composition.reconcile import assemble_reconcilers
from oncelog.reconcile.scope import Scope
from oncelog.reconcile.summary import ReconcileSummary
from oncelog.replay.trace import AfterStep, nothing_after
from tests.write.world import Process, World

#: Nothing is so young as to be left alone.
ANY_AGE = Scope(repair=True, before=datetime(2999, 1, 1, tzinfo=UTC))
LOOK_ONLY = Scope(repair=False, before=ANY_AGE.before)


async def sweep(
    world: World,
    terms: Scope = ANY_AGE,
    *,
    after_step: AfterStep = nothing_after,
    process: Process | None = None,
) -> ReconcileSummary:
    """Reconcile everything, by default in a process with an empty cache."""
    process = process or world.process()
    sweeps = assemble_reconcilers(process.pipeline, process.ports, world.workflows, after_step=after_step)
    commands = await process.ports.catalogue.commands()
    tally = await sweeps.commands.page(commands.items, terms)
    classes = await process.ports.catalogue.classes(db_name=terms.db_name)
    while classes.position is not None:
        tally += await sweeps.classes.page(classes.items, terms)
        classes = await process.ports.catalogue.classes(after=classes.position, db_name=terms.db_name)
    tally += await sweeps.classes.page(classes.items, terms)
    listed_streams = await process.ports.catalogue.listed_streams(db_name=terms.db_name, class_id=terms.class_id)
    return tally + await sweeps.instances(listed_streams.items, terms)
