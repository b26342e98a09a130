"""Bulk commands on a terminal: checked, uploaded, followed with a bar until their end."""

import asyncio
import sys
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

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

from oncelog.cli import show
from oncelog.cli.commands import STANDARD_INPUT, parse_target
from oncelog.cli.exits import Exit
from oncelog.cli.options import ItemsFormat
from oncelog.cli.progress import ProgressLines
from oncelog.cli.reporting import report, report_line
from oncelog.cli.submit import report_missing_worker
from oncelog.cli.terminal import errors
from oncelog.client.bulk import Bulks, BulkView, check_items, spooled
from oncelog.client.bulk_items import command_on, parse_type
from oncelog.client.client import Oncelog
from oncelog.client.csv_items import csv_items
from oncelog.domain.bulk.command import Bulk, BulkType
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.results import Outcome
from oncelog.errors import InputInvalid


async def submit_bulk(file: Path, fields: Mapping[str, Any], *, items_format: str | None, dry_run: bool) -> Exit:
    """Check every line of the file, upload it if it is large, wait for the command's end, and show its result.

    ``items_format``: None for that of the file's suffix. ``dry_run``: hold the items against the class's definition,
    too, and send nothing.
    """
    is_csv = (items_format or file.suffix.lower().removeprefix(".")) == ItemsFormat.CSV
    command_type = fields["command_type"]
    async with Oncelog.connect() as oncelog:
        class_schema = None
        if is_csv or dry_run:
            class_schema = await oncelog.class_schema(fields["db_name"], fields["class_id"])
        with _readable(file) as given, ExitStack() as stack:
            path = given
            if is_csv:
                rows = csv_items(given, command_type, class_schema=class_schema, judged=dry_run)
                path = await asyncio.to_thread(stack.enter_context, spooled(rows))
            if not dry_run:
                return show_result(await _submit(oncelog, path, fields))
            against = None if is_csv else class_schema  # rows were held against it, and their lines named
            checked = await asyncio.to_thread(check_items, path, command_type, class_schema=against)
    version = class_schema.reference.version if class_schema else None
    found = {"items": checked.items_count, "bytes": checked.size_bytes, "definition": version, "sent": False}
    report(found, lambda: _dry_run_line(found, fields))
    return Exit.FINE


def _dry_run_line(found: Mapping[str, Any], fields: Mapping[str, Any]) -> str:
    place = f"{fields['db_name']}/{fields['class_id']}"
    held = f"fit version {found['definition']}" if found["definition"] else "are valid; the class is undefined"
    if fields["command_type"] is not BulkType.BULK_CREATE_INSTANCES and found["definition"]:
        held = "are valid; whether the data fits its definition is known when each is applied"
    return f"{found['items']:,} items for {place} {held}; nothing was sent"


def bulk_fields(action: str | None, target: str | None, *, command_id: str, actor: str | None) -> dict[str, Any]:
    """Return a bulk command without its items from an operator's input; raises InputInvalid."""
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


def show_result(result: BulkResult) -> Exit:
    """Show a bulk command's result, and return its exit code."""
    report(result.model_dump(mode="json"), lambda: show.pairs(show.result_rows(result)))
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


async def _submit(oncelog: Oncelog, path: Path, fields: Mapping[str, Any]) -> BulkResult:
    bulks = Bulks(oncelog)
    with _bar(DownloadColumn()) as bar:
        task = bar.add_task("checking", total=_size_bytes(path), counts="")
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
    view, lines = BulkView(), ProgressLines()
    with _bar(MofNCompleteColumn()) as bar:
        task = bar.add_task("waiting for a worker", total=None, counts="")
        waiting = asyncio.create_task(report_missing_worker(oncelog, lambda: view.counts.items > 0))
        try:
            async for found in seen:
                if isinstance(found, BulkResult):
                    return found
                view, counts = found, found.counts
                rejected = f"{counts.rejected} rejected" if counts.rejected else ""
                description, total = view.stage.lower(), counts.items or None
                bar.update(task, description=description, total=total, completed=counts.done, counts=rejected)
                lines.print(f"{description}: {counts.done:,} of {counts.items:,} items, {counts.rejected:,} rejected")
        finally:
            waiting.cancel()
    raise AssertionError("the last one is the result")


async def progress_of(command_id: str) -> BulkView:
    async with Oncelog.connect() as oncelog:
        return await Bulks(oncelog).progress(command_id)


async def tell(command_id: str, what: str) -> None:
    async with Oncelog.connect() as oncelog:
        bulks = Bulks(oncelog)
        action = {"pause": bulks.pause, "resume": bulks.resume, "cancel": bulks.cancel}[what]
        await action(command_id)


async def until_visible(command_id: str, *, deadline_s: float) -> int:
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


async def print_results(command_id: str, only: str | None) -> Exit:
    async with Oncelog.connect() as oncelog:
        result = await _ended(oncelog, command_id)
        if result.results_key is None:
            errors.print(f"command {command_id} was rejected as a whole")
            return Exit.FINDINGS
        wanted = b"" if only is None else f'"outcome":"{only}"'.encode()
        async for line in Bulks(oncelog).result_lines(result):
            if wanted in line:
                report_line(line.decode())
        return Exit.FINE


async def print_items(command_id: str, outcomes: Collection[str]) -> None:
    """Print the items that ended so, as they were given."""
    async with Oncelog.connect() as oncelog:
        async for line in Bulks(oncelog).items(await _ended(oncelog, command_id), outcomes):
            report_line(line.decode())


def _bar(amount: Any) -> Progress:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), amount, TimeElapsedColumn())
    return Progress(*columns, TextColumn("{task.fields[counts]}"), console=errors, disable=not errors.is_terminal)


def _move(bar: Progress, task: TaskID, size_bytes: int) -> None:
    bar.update(task, completed=size_bytes)


def view_of(command_id: str, view: BulkView) -> show.Pairs:
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
