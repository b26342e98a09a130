"""``oncelog archive``: start an archive run, show how it comes along, and its counts."""

import asyncio
import time
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Group
from rich.status import Status

from oncelog.archive.run import ArchiveReport, ArchiveRequest
from oncelog.cli import show
from oncelog.cli.exits import Exit, explained
from oncelog.cli.terminal import errors, text_line
from oncelog.client import connection
from oncelog.client.runs import Archives
from oncelog.errors import InputInvalid
from oncelog.settings import Settings

LINE_EVERY_S = 10.0


def archive(
    target: Annotated[
        str | None, typer.Argument(metavar="[DB[/CLASS]]", help="Such as shop/Product; everything if not given.")
    ] = None,
    *,
    attach: Annotated[str | None, typer.Option(metavar="RUN_ID", help="Follow a run that is under way.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Pack new events into Parquet files; exit code 1 if some of the log is damaged and cannot be archived."""
    with explained(as_json=as_json):
        raise typer.Exit(asyncio.run(_run(archive_request(target), attach=attach, as_json=as_json)))


def archive_request(target: str | None) -> ArchiveRequest:
    """Return the request for ``DB``, ``DB/CLASS`` or everything; raises InputInvalid."""
    names = target.split("/") if target else []
    try:
        if len(names) > 2:
            raise InputInvalid(f"archive {target}: expected DB or DB/CLASS")
        return ArchiveRequest(**dict(zip(("db_name", "class_id"), names, strict=False)))
    except ValidationError as error:
        raise InputInvalid(f"archive {target}: expected DB or DB/CLASS, names of a database and a class") from error


async def _run(request: ArchiveRequest, *, attach: str | None, as_json: bool) -> Exit:
    """Start a run or attach to one, and wait for its end; a caller that stops waiting changes nothing."""
    runs = Archives(await connection.connect(), Settings.from_environment())
    run_id = attach or await runs.start(request)
    errors.print(f"archive {run_id}")
    errors.print(f"Ctrl-C leaves it running; attach again with: oncelog archive --attach {run_id}")
    report = ArchiveReport(scope=request.scope)
    printed_s = time.monotonic()
    with Status("waiting for a worker", console=errors) as status:
        async for report in runs.follow(run_id):
            status.update(_line(report))
            if not errors.is_terminal and time.monotonic() - printed_s >= LINE_EVERY_S:
                printed_s = time.monotonic()
                errors.print(_line(report))
    if as_json:
        show.print_json({"run_id": run_id, **report.model_dump(mode="json")})
    else:
        show.output.print(_view(report))
    return Exit.FINDINGS if report.damaged else Exit.FINE


def _line(report: ArchiveReport) -> str:
    total = "" if report.classes_total is None else f" of {report.classes_total:,}"
    counts = report.counts
    return f"{counts.classes:,}{total} classes, {counts.events:,} events archived in {counts.files:,} files"


def _view(report: ArchiveReport) -> Group:
    counts = report.counts.model_dump(exclude={"damages"})
    rows = [("scope", report.scope), *((name, str(count)) for name, count in counts.items())]
    return Group(show.pairs(rows), *(text_line(damage) for damage in report.counts.damages))
