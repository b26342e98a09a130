"""``oncelog status``: how far a command has come."""

from contextlib import suppress
from typing import Annotated

import typer

from oncelog.cli.exits import Exit
from oncelog.cli.reporting import report, reported
from oncelog.errors import CommandFailed


@reported
async def status(
    command_id: Annotated[str, typer.Argument(metavar="COMMAND_ID")],
    *,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until the command has come to its end.")] = False,
) -> Exit:
    """Show how far a command has come, whether its workflow is open, and its result."""
    from oncelog import BulkResult, Oncelog, Stage
    from oncelog.cli import bulk_runs, show
    from oncelog.domain.bulk.command import is_bulk

    async with Oncelog.connect() as oncelog:
        found = await oncelog.status(command_id)
        if wait and found.result is None:
            with suppress(CommandFailed):  # its status says so, and the remedy
                if is_bulk({"command_type": found.command_type}):
                    await bulk_runs.wait_for(oncelog, command_id)
                else:
                    await oncelog.result(command_id)
            found = await oncelog.status(command_id)
    report(show.status_fields(found), lambda: show.status_view(found))
    if isinstance(found.result, BulkResult):
        return bulk_runs.exit_of(found.result)
    return Exit.FINDINGS if found.stage is Stage.REJECTED or found.remark else Exit.FINE
