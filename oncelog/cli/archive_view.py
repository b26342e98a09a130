"""An archive run as an operator sees it: how it comes along, and its counts."""

from pydantic import ValidationError
from rich.console import Group
from rich.status import Status

from oncelog.archive.run import ArchiveReport, ArchiveRequest
from oncelog.cli import show
from oncelog.cli.exits import Exit
from oncelog.cli.progress import ProgressLines
from oncelog.cli.reporting import report
from oncelog.cli.terminal import errors, text_line
from oncelog.client import connection
from oncelog.client.runs import Archives
from oncelog.errors import InputInvalid
from oncelog.settings import Settings


def archive_request(target: str | None) -> ArchiveRequest:
    """Return the request for ``DB``, ``DB/CLASS`` or everything; raises InputInvalid."""
    names = target.split("/") if target else []
    try:
        if len(names) > 2:
            raise InputInvalid(f"archive {target}: expected DB or DB/CLASS")
        return ArchiveRequest(**dict(zip(("db_name", "class_id"), names, strict=False)))
    except ValidationError as error:
        raise InputInvalid(f"archive {target}: expected DB or DB/CLASS, names of a database and a class") from error


async def run_archive(request: ArchiveRequest, *, attach: str | None) -> Exit:
    """Start a run or attach to one, and wait for its end; a caller that stops waiting changes nothing."""
    runs = Archives(await connection.connect(), Settings.from_environment())
    run_id = attach or await runs.start(request)
    errors.print(f"archive {run_id}")
    errors.print(f"Ctrl-C leaves it running; attach again with: oncelog archive --attach {run_id}")
    found, lines = ArchiveReport(scope=request.scope), ProgressLines()
    with Status("waiting for a worker", console=errors) as status:
        async for found in runs.follow(run_id):
            status.update(_line(found))
            lines.print(_line(found))
    report({"run_id": run_id, **found.model_dump(mode="json")}, lambda: _view(found))
    return Exit.FINDINGS if found.damaged else Exit.FINE


def _line(found: ArchiveReport) -> str:
    total = "" if found.classes_total is None else f" of {found.classes_total:,}"
    counts = found.counts
    return f"{counts.classes:,}{total} classes, {counts.events:,} events archived in {counts.files:,} files"


def _view(found: ArchiveReport) -> Group:
    counts = found.counts.model_dump(exclude={"damages"})
    rows = [("scope", found.scope), *((name, str(count)) for name, count in counts.items())]
    return Group(show.pairs(rows), *(text_line(damage) for damage in found.counts.damages))
