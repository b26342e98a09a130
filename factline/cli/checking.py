"""``factline check``: start a consistency check, show how it comes along, and what it came to."""

from pydantic import ValidationError
from rich.console import Group
from rich.status import Status
from rich.table import Table
from rich.text import Text

from activities.check_models import CheckOutcome, CheckReport, CheckRequest
from factline import connection
from factline.checks import Checks
from factline.cli import show
from factline.cli.exits import Exit
from factline.cli.terminal import assembled, errors, text_line
from factline.errors import InputInvalid
from factline.pipeline.sweeping.tally import Tally
from factline.settings import Settings

_EXITS = {
    CheckOutcome.CLEAN: Exit.FINE,
    CheckOutcome.REPAIRED: Exit.FINE,
    CheckOutcome.FOUND: Exit.FINDINGS,
    CheckOutcome.DAMAGED: Exit.FINDINGS,
    CheckOutcome.UNFINISHED: Exit.PARTLY,
}


def check_request(*, db_name: str | None, class_id: str | None, repair: bool, grace_s: float) -> CheckRequest:
    """Return what was asked for; raises InputInvalid."""
    try:
        return CheckRequest(db_name=db_name, class_id=class_id, repair=repair, grace_s=grace_s)
    except ValidationError as error:
        found = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors(include_url=False))
        raise InputInvalid(f"check: {found}") from error


async def run_check(request: CheckRequest, *, attach: str | None, as_json: bool) -> Exit:
    """Start a check, or attach to one, and wait for its end; a caller that stops waiting changes nothing."""
    settings = Settings.from_environment()
    checks = Checks(await connection.connect(), settings)
    check_id = attach or await checks.start(request)
    errors.print(f"check {check_id}")
    errors.print(f"Ctrl-C leaves it running; attach again with: factline check --attach {check_id}")
    report: CheckReport | None = None
    with Status("waiting for a worker", console=errors) as status:
        async for report in checks.follow(check_id):
            status.update(_progress(report))
    assert report is not None  # the last one is the result
    if as_json:
        show.print_json({"check_id": check_id, **report.model_dump(mode="json")})
    else:
        show.output.print(_view(report))
    return _EXITS[report.outcome]


def _progress(report: CheckReport) -> str:
    tally = report.tally
    return (
        f"{report.phase.lower()}: {tally.commands} commands and {tally.aggregates} aggregates looked at, "
        f"{tally.found} half done, {tally.damaged} damaged"
    )


def _view(report: CheckReport) -> Group:
    """Return a report for people: the outcome, the counts that are not 0, and the places."""
    tally = report.tally
    counts = tally.model_dump(exclude={"findings", "oldest_left"})
    shown = [(name, count) for name, count in counts.items() if count or name in ("commands", "aggregates", "found")]
    table: Table = show.pairs([("outcome", _outcome(report)), *((name, str(count)) for name, count in shown)])
    lines = [
        each
        for finding in tally.findings
        for each in (
            assembled((finding.kind, "bold"), f"  {finding.place}"),
            text_line(f"  {finding.what}", "dim"),
        )
    ]
    return Group(table, *lines, *_hint(report, tally))


def _outcome(report: CheckReport) -> str:
    scope = "/".join(name for name in (report.db_name, report.class_id) if name) or "everything"
    return f"{report.outcome}, {scope}, {'repairing' if report.repair else 'looking only'}"


def _hint(report: CheckReport, tally: Tally) -> list[Text]:
    if tally.found and not report.repair:
        return [text_line("nothing was changed; factline check --repair finishes what is half done")]
    return []
