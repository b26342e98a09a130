"""``oncelog submit … --bulk`` and ``oncelog bulk``: many items as one command."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from oncelog.cli import show
from oncelog.cli.commands import STANDARD_INPUT, parse_target
from oncelog.cli.exits import Exit, explained
from oncelog.cli.submit import say_if_nobody_works
from oncelog.cli.terminal import errors, print_json_text
from oncelog.client.bulk import VISIBLE_DEADLINE_S, Bulks, BulkView, check_items, spooled
from oncelog.client.bulk_items import command_on, parse_type
from oncelog.client.client import Oncelog
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.results import Outcome
from oncelog.errors import InputInvalid

bulk_app = typer.Typer(
    name="bulk", help="Bulk commands: how far they are, what came of each item.", no_args_is_help=True
)


class Ended(StrEnum):
    """The possible ends of an item."""

    APPLIED = "APPLIED"
    REJECTED = "REJECTED"
    NOT_ATTEMPTED = "NOT_ATTEMPTED"


CommandId = Annotated[str, typer.Argument(metavar="COMMAND_ID")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object per line, for programs.")]


@bulk_app.command()
def status(command_id: CommandId, as_json: AsJson = False) -> None:
    """Show how far a bulk command is; oncelog status ID --wait waits for its end."""
    with explained(as_json=as_json):
        view = asyncio.run(_progress(command_id))
        if as_json:
            show.print_json(view.model_dump(mode="json"))
        else:
            show.output.print(_view(command_id, view))
        sys.exit(Exit.FINDINGS if view.ended else Exit.FINE)


@bulk_app.command()
def pause(command_id: CommandId) -> None:
    """Let it stop before its next chunk, until it is told to resume."""
    with explained():
        asyncio.run(_told(command_id, "pause"))
        errors.print(f"stops before its next chunk; let it go on with: oncelog bulk resume {command_id}")


@bulk_app.command()
def resume(command_id: CommandId) -> None:
    """Let a paused one go on."""
    with explained():
        asyncio.run(_told(command_id, "resume"))
        errors.print(f"goes on; wait for it with: oncelog status {command_id} --wait")


@bulk_app.command()
def cancel(command_id: CommandId) -> None:
    """Let it end before its next chunk; what was applied stays, and the result says what was not attempted."""
    with explained():
        asyncio.run(_told(command_id, "cancel"))
        errors.print(f"ends before its next chunk; see what was done with: oncelog status {command_id}")


@bulk_app.command()
def wait(
    command_id: CommandId,
    deadline_s: Annotated[float, typer.Option(min=0, help="How long to wait in all.")] = VISIBLE_DEADLINE_S,
    as_json: AsJson = False,
) -> None:
    """Wait until documents, searches and graph show all that it applied; exit code 1 if they do not yet."""
    with explained(as_json=as_json):
        shown = asyncio.run(_until_visible(command_id, deadline_s=deadline_s))
        if as_json:
            show.print_json({"command_id": command_id, "shown": shown})
        else:
            show.output.print(f"all {shown} items applied are shown")


@bulk_app.command()
def results(
    command_id: CommandId,
    only: Annotated[Ended | None, typer.Option(case_sensitive=False, help="Only those that ended so.")] = None,
) -> None:
    """Print what came of each item, one JSON object per line, in their order."""
    with explained():
        sys.exit(asyncio.run(_print_results(command_id, only)))


def submit_bulk(file: Path, fields: Mapping[str, Any], *, as_json: bool) -> Exit:
    """Check every line of the file, upload it if it is large, and wait for the command's end."""
    with _readable(file) as path:
        result = asyncio.run(_submit(path, fields, size_bytes=_size_bytes(path)))
    return show_result(result, as_json=as_json)


def bulk_fields(action: str | None, target: str | None, *, command_id: str, actor: str | None) -> dict[str, Any]:
    """Return a bulk command without its items from what an operator typed; raises InputInvalid."""
    if action is None or target is None:
        raise InputInvalid("submit --bulk: expected create|update|delete DB/CLASS --bulk FILE")
    db_name, class_id, instance_id = parse_target(target)
    if instance_id is not None:
        raise InputInvalid(f"submit --bulk: expected DB/CLASS, found {target!r}; each item names its own instance")
    return {
        "command_id": command_id,
        "command_type": parse_type(f"BULK_{action.upper()}_INSTANCES"),
        "db_name": db_name,
        "class_id": class_id,
        "actor": actor,
    }


async def wait_for(oncelog: Oncelog, command_id: str) -> BulkResult:
    """Attach to a bulk command and show how it comes along until its end."""
    return await followed(oncelog, Bulks(oncelog).attach(command_id))


def show_result(result: BulkResult, *, as_json: bool) -> Exit:
    """Show what a bulk command came to, and return its exit code."""
    if as_json:
        show.print_json(result.model_dump(mode="json"))
    else:
        show.output.print(show.pairs(show.result_rows(result)))
    return exit_of(result)


def exit_of(result: BulkResult) -> Exit:
    """Return the exit code that a result means to a script."""
    if result.counts.not_attempted:
        return Exit.PARTLY
    return Exit.FINE if result.outcome is Outcome.APPLIED and not result.counts.rejected else Exit.FINDINGS


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise InputInvalid(f"{path}: {error.strerror}") from error


@contextmanager
def _readable(file: Path) -> Iterator[Path]:
    """Give a file that can be read twice: standard input is kept in one for as long as it takes."""
    if file != STANDARD_INPUT:
        yield file
        return
    with spooled(sys.stdin.buffer) as path:
        yield path


async def _submit(path: Path, fields: Mapping[str, Any], *, size_bytes: int) -> BulkResult:
    async with Oncelog.connect() as oncelog:
        bulks = Bulks(oncelog)
        with _bar(DownloadColumn()) as bar:
            task = bar.add_task("checking", total=size_bytes, counts="")
            move = partial(_move, bar, task)
            checked = await asyncio.to_thread(check_items, path, fields["command_type"], progressed=move)
            bulk: Bulk = command_on(checked, fields)
            bar.update(task, description="uploading", completed=0)
            await bulks.upload(bulk, checked, progressed=move)
        errors.print(f"command {bulk.command_id}, {checked.items_count} items")
        hint = f"oncelog status {bulk.command_id} --wait"
        errors.print(f"Ctrl-C leaves it running; attach again with: {hint}")
        return await followed(oncelog, bulks.follow(bulk))


async def followed(oncelog: Oncelog, seen: AsyncIterator[BulkView | BulkResult]) -> BulkResult:
    """Show how a command comes along against the number of its items, and return its result."""
    view = BulkView()
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("waiting for a worker", total=None, counts="")
        waiting = asyncio.create_task(say_if_nobody_works(oncelog, lambda: view.counts.items > 0))
        try:
            async for found in seen:
                if isinstance(found, BulkResult):
                    return found
                view, counts = found, found.counts
                rejected = f"{counts.rejected} rejected" if counts.rejected else ""
                description, total = view.stage.lower(), counts.items or None
                bar.update(task, description=description, total=total, completed=counts.done, counts=rejected)
        finally:
            waiting.cancel()
    raise AssertionError("the last one is the result")


async def _progress(command_id: str) -> BulkView:
    async with Oncelog.connect() as oncelog:
        return await Bulks(oncelog).progress(command_id)


async def _told(command_id: str, what: str) -> None:
    async with Oncelog.connect() as oncelog:
        bulks = Bulks(oncelog)
        tell = {"pause": bulks.pause, "resume": bulks.resume, "cancel": bulks.cancel}[what]
        await tell(command_id)


async def _until_visible(command_id: str, *, deadline_s: float) -> int:
    async with Oncelog.connect() as oncelog:
        result = await _ended(oncelog, command_id)
        with _bar(MofNCompleteColumn()) as bar:
            task = bar.add_task("shown", total=result.counts.applied, counts="")
            return await Bulks(oncelog).until_visible(
                result, deadline_s=deadline_s, shown=lambda count: bar.update(task, completed=count)
            )


async def _ended(oncelog: Oncelog, command_id: str) -> BulkResult:
    result = (await oncelog.status(command_id)).result
    if not isinstance(result, BulkResult):
        raise InputInvalid(
            f"command {command_id}: is no bulk command, or has not come to its end yet; wait for that with oncelog "
            f"status {command_id} --wait"
        )
    return result


async def _print_results(command_id: str, only: Ended | None) -> Exit:
    async with Oncelog.connect() as oncelog:
        result = await _ended(oncelog, command_id)
        if result.results_key is None:
            errors.print(f"command {command_id} was rejected as a whole")
            return Exit.FINDINGS
        wanted = b"" if only is None else f'"outcome":"{only}"'.encode()
        async for line in Bulks(oncelog).result_lines(result):
            if wanted in line:
                print_json_text(line.decode())
        return Exit.FINE


def _bar(amount: Any) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[counts]}"), console=errors, disable=not errors.is_terminal)


def _move(bar: Progress, task: TaskID, size_bytes: int) -> None:
    bar.update(task, completed=size_bytes)


def _view(command_id: str, view: BulkView) -> Table:
    counts = view.counts
    return show.pairs(
        [
            ("command", command_id),
            ("stage", str(view.stage)),
            ("workflow", f"{view.ended}, without a result; see oncelog status {command_id}" if view.ended else None),
            ("items", f"{counts.done} of {counts.items}"),
            ("applied", str(counts.applied)),
            ("rejected", str(counts.rejected)),
            ("chunks", f"{view.chunks_done} of {view.chunks}"),
            ("chunks to be delivered", str(view.undelivered) if view.undelivered else None),
        ]
    )
