"""A whole sweep over servers in memory, as a check does it, without a workflow around it."""

from datetime import UTC, datetime

from oncelog.composition.reconcile import assemble_sweeps
from oncelog.reconcile.scope import Terms
from oncelog.reconcile.summary import Tally
from oncelog.replay.trace import AfterStep, nothing_after
from tests.write.world import Process, World

#: Nothing is so young as to be left alone.
ANY_AGE = Terms(repair=True, before=datetime(2999, 1, 1, tzinfo=UTC))
LOOK_ONLY = Terms(repair=False, before=ANY_AGE.before)


async def sweep(
    world: World,
    terms: Terms = ANY_AGE,
    *,
    after_step: AfterStep = nothing_after,
    process: Process | None = None,
) -> Tally:
    """Sweep everything, by default in a process that knows nothing yet."""
    process = process or world.process()
    sweeps = assemble_sweeps(process.pipeline, process.ports, world.workflows, after_step=after_step)
    commands = await process.ports.inventory.commands()
    tally = await sweeps.commands.page(commands.items, terms)
    classes = await process.ports.inventory.classes(db_name=terms.db_name)
    while classes.position is not None:
        tally += await sweeps.classes.page(classes.items, terms)
        classes = await process.ports.inventory.classes(after=classes.position, db_name=terms.db_name)
    tally += await sweeps.classes.page(classes.items, terms)
    extents = await process.ports.inventory.extents(db_name=terms.db_name, class_id=terms.class_id)
    return tally + await sweeps.instances(extents.items, terms)
