"""``oncelog rebuild``: a class's instances shown anew from the log."""

import asyncio

from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from oncelog.cli import show
from oncelog.cli.commands import parse_target
from oncelog.cli.exits import Exit
from oncelog.cli.terminal import errors
from oncelog.composition.read_models import read_model_of, services_of
from oncelog.domain.identifiers import CLASSES, check_name
from oncelog.errors import InputInvalid
from oncelog.read_models.names import ReadModelName
from oncelog.read_models.rebuild import Rebuilt
from oncelog.settings import Settings
from oncelog.stores.opening import Stores


def run_rebuild(target: str, *, read_model: str, as_json: bool) -> Exit:
    """Rebuild, with a count on standard error, and return the exit code."""
    db_name, class_id, instance_id = parse_target(target)
    if instance_id is not None:
        raise InputInvalid(f"{target!r}: expected DB/CLASS, such as shop/Product, found an instance, too")
    check_name(db_name, "db_name")
    if class_id != CLASSES or read_model != ReadModelName.DOCUMENTS:  # definitions are documents, and no nodes
        check_name(class_id, "class_id")
    done = asyncio.run(_rebuild(db_name, class_id, read_model))
    counts = {"shown": done.shown, "parked": done.parked}
    fields = {"read_model": read_model, "db_name": db_name, "class_id": class_id, **counts}
    if as_json:
        show.print_json(fields)
    else:
        show.output.print(show.pairs([(name, str(value)) for name, value in fields.items()]))
    if done.parked:
        errors.print("some instances cannot be shown; see oncelog dead-letters list")
    return Exit.FINDINGS if done.parked or not done.shown else Exit.FINE


async def _rebuild(db_name: str, class_id: str, name: str) -> Rebuilt:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    async with await Stores.connect(Settings.from_environment()) as stores:
        services = services_of(read_model_of(name, stores.ports), stores.ports)
        with Progress(*columns, console=errors, disable=not errors.is_terminal) as progress:
            task = progress.add_task("reading the log", total=None)
            return await services.rebuilding.rebuild(
                db_name,
                class_id,
                after_batch=lambda done: progress.update(task, description=f"{done.shown} shown, {done.parked} parked"),
            )
