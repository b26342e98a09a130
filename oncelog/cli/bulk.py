"""``oncelog bulk``: how far a bulk command is, and the outcome of each item."""

from enum import StrEnum
from typing import Annotated

import typer

from oncelog.cli.exits import Exit
from oncelog.cli.options import CommandId
from oncelog.cli.reporting import report, reported
from oncelog.cli.terminal import errors

VISIBLE_DEADLINE_S = 60.0

bulk_app = typer.Typer(
    name="bulk", help="Bulk commands: how far they are, what came of each item.", no_args_is_help=True
)


class Ended(StrEnum):
    """The possible ends of an item."""

    APPLIED = "APPLIED"
    REJECTED = "REJECTED"
    NOT_ATTEMPTED = "NOT_ATTEMPTED"


@bulk_app.command()
@reported
async def status(command_id: CommandId) -> Exit:
    """Show how far a bulk command is; oncelog status ID --wait waits for its end."""
    from oncelog.cli import bulk_runs

    view = await bulk_runs.progress_of(command_id)
    report(view.model_dump(mode="json"), lambda: bulk_runs.view_of(command_id, view))
    return Exit.FINDINGS if view.ended else Exit.FINE


@bulk_app.command()
@reported
async def pause(command_id: CommandId) -> None:
    """Let it stop before its next chunk, until it is told to resume."""
    await _tell(command_id, "pause", "stops before its next chunk; let it go on with: oncelog bulk resume")


@bulk_app.command()
@reported
async def resume(command_id: CommandId) -> None:
    """Let a paused one go on."""
    await _tell(command_id, "resume", "goes on; wait for its end with: oncelog status --wait")


@bulk_app.command()
@reported
async def cancel(command_id: CommandId) -> None:
    """Let it end before its next chunk; applied items stay, and the result says which were not attempted."""
    await _tell(command_id, "cancel", "ends before its next chunk; see what was done with: oncelog status")


@bulk_app.command()
@reported
async def wait(
    command_id: CommandId,
    *,
    deadline_s: Annotated[float, typer.Option(min=0, help="How long to wait in all, in seconds.")] = VISIBLE_DEADLINE_S,
) -> None:
    """Wait until documents, searches and graph show all that it applied; exit code 1 if they do not yet."""
    from oncelog.cli import bulk_runs

    shown = await bulk_runs.until_visible(command_id, deadline_s=deadline_s)
    report({"command_id": command_id, "shown": shown}, lambda: f"all {shown} items applied are shown")


@bulk_app.command()
@reported
async def results(
    command_id: CommandId,
    *,
    only: Annotated[Ended | None, typer.Option(case_sensitive=False, help="Only those that ended so.")] = None,
) -> Exit:
    """Print the outcome of each item, one JSON object per line, in their order."""
    from oncelog.cli import bulk_runs

    return await bulk_runs.print_results(command_id, only)


@bulk_app.command()
@reported
async def items(
    command_id: CommandId,
    *,
    only: Annotated[
        list[Ended] | None,
        typer.Option(case_sensitive=False, help="Those that ended so; rejected and not attempted if not given."),
    ] = None,
) -> None:
    """Print items as they were given, to be mended and submitted as another command, one JSON object per line."""
    from oncelog.cli import bulk_runs

    await bulk_runs.print_items(command_id, only or [Ended.REJECTED, Ended.NOT_ATTEMPTED])


async def _tell(command_id: str, what: str, message: str) -> None:
    from oncelog.cli import bulk_runs

    await bulk_runs.tell(command_id, what)
    errors.print(f"{message} {command_id}")
