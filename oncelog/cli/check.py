"""``oncelog check``: start a consistency check, show its progress and its result."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.status import Status
from rich.table import Table
from rich.text import Text

from oncelog.activities.check_models import CheckOutcome, CheckPhase, CheckReport, CheckRequest
from oncelog.checks.kept import CheckReports
from oncelog.checks.report import CheckVerdict, InvariantsReport
from oncelog.checks.scope import ProofScope
from oncelog.cli import show
from oncelog.cli.exits import Exit
from oncelog.cli.progress import ProgressLines
from oncelog.cli.terminal import assembled, errors, text_line
from oncelog.client import connection
from oncelog.client.runs import Checks
from oncelog.errors import InputInvalid
from oncelog.reconcile.summary import ReconcileSummary
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from oncelog.verification.findings import Severity

SHOWN_MAX = 20

_EXITS = {
    CheckOutcome.CLEAN: Exit.FINE,
    CheckOutcome.REPAIRED: Exit.FINE,
    CheckOutcome.FOUND: Exit.FINDINGS,
    CheckOutcome.DAMAGED: Exit.FINDINGS,
    CheckOutcome.UNFINISHED: Exit.PARTLY,
}


def check_request(**asked: object) -> CheckRequest:
    """Return the check's request; raises InputInvalid."""
    try:
        return CheckRequest.model_validate({"count": True, **asked})
    except ValidationError as error:
        found = "; ".join(item["msg"].removeprefix("Value error, ") for item in error.errors(include_url=False))
        raise InputInvalid(f"check: {found}") from error


async def run_check(request: CheckRequest, *, attach: str | None, as_json: bool) -> Exit:
    """Start a check, or attach to one, and wait for its end; a caller that stops waiting changes nothing."""
    settings = Settings.from_environment()
    checks = Checks(await connection.connect(), settings)
    check_id = attach or await checks.start(request)
    errors.print(f"check {check_id}")
    errors.print(f"Ctrl-C leaves it running; attach again with: oncelog check --attach {check_id}")
    progress, lines = CheckView(), ProgressLines(at_once=True)
    with Status("waiting for a worker", console=errors) as status:
        reports = aiter(checks.follow(check_id))
        report = await anext(reports)
        while report.phase is not CheckPhase.DONE:
            line = progress.line(report)
            status.update(line)
            lines.print(line)
            report = await anext(reports)
    if as_json:
        show.print_json({"check_id": check_id, **report.model_dump(mode="json")})
    else:
        show.output.print(_view(report))
    return exit_of(report)


def exit_of(report: CheckReport) -> Exit:
    """Return the report's exit code: a violation of an invariant counts before all else."""
    if report.invariants is not None and report.invariants.verdict is CheckVerdict.VIOLATED:
        return Exit.FINDINGS
    return _EXITS[report.outcome]


async def show_last(db_name: str | None, class_id: str | None, *, as_json: bool, page: Path | None) -> Exit:
    """Show the newest report of the invariants, as S3 has it; ``page``: write its HTML page there."""
    settings = Settings.from_environment()
    scope = ProofScope(db_name=db_name, class_id=class_id).name
    async with await Stores.connect(settings) as stores:
        reports = CheckReports(stores.ports.large_objects)
        report = await reports.newest(scope)
        if report is None:
            raise InputInvalid(f"check of {scope}: expected a report in S3, found none; run oncelog check")
        if page is not None:
            await asyncio.to_thread(page.write_bytes, await reports.page(report.check_id) or b"")
            errors.print(f"written to {page}")
    if as_json:
        show.print_json(report.model_dump(mode="json"))
    else:
        show.output.print(Group(*invariants_view(report)))
    return Exit.FINDINGS if report.verdict is CheckVerdict.VIOLATED else Exit.FINE


class CheckView:
    """How a check comes along, in one line: how many were looked at, of how many, and how fast."""

    def __init__(self, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._clock_s = clock_s
        self._phase: CheckPhase | None = None
        self._since_s, self._count = 0.0, 0

    def line(self, report: CheckReport) -> str:
        """Return the line for a report; the rate is that of the phase it is in, since it was first seen there."""
        tally, now_s = report.tally, self._clock_s()
        is_aggregates = report.phase is CheckPhase.AGGREGATES
        count = tally.aggregates if is_aggregates else tally.commands
        if report.phase is not self._phase:
            self._phase, self._since_s, self._count = report.phase, now_s, count
        elapsed_s = now_s - self._since_s
        rate = f" ({(count - self._count) / elapsed_s:,.0f}/s)" if count > self._count and elapsed_s else ""
        of_all = f" of {report.aggregates_total:,}" if report.aggregates_total is not None else ""
        commands = f"{tally.commands:,} commands{'' if is_aggregates else rate}"
        aggregates = f"{tally.aggregates:,}{of_all} aggregates{rate if is_aggregates else ''}"
        if report.phase is CheckPhase.INVARIANTS:
            return _proof_line(report)
        findings = f"{tally.found:,} half done, {tally.unfinished:,} unfinished, {tally.damaged:,} damaged"
        return f"{report.phase.lower()}: {commands} and {aggregates} looked at, {findings}"


def _view(report: CheckReport) -> Group:
    """Return a report for people: the outcome, the counts that are not 0, and the places."""
    tally = report.tally
    counts = tally.model_dump(exclude={"findings", "oldest_left"})
    shown = [(name, count) for name, count in counts.items() if count or name in ("commands", "aggregates", "found")]
    table = show.pairs([("outcome", _outcome(report)), *((name, str(count)) for name, count in shown)])
    lines = [
        each
        for finding in tally.findings
        for each in (
            assembled((finding.kind, "bold"), f"  {finding.place}"),
            text_line(f"  {finding.what}", "dim"),
        )
    ]
    invariants = invariants_view(report.invariants) if report.invariants else []
    return Group(table, *lines, *_hint(report, tally), *invariants)


def _proof_line(report: CheckReport) -> str:
    proof = report.proof
    if proof is None:
        return "invariants: planning"
    totals, read = proof.planned.totals, proof.so_far.read
    steps = f"{proof.tasks} of {totals.tasks} sources, {proof.parts} of {totals.parts} parts"
    violations = proof.so_far.findings.count(Severity.VIOLATION)
    paused = ", paused" if report.paused else ""
    return f"invariants: {steps}, {read.events:,} of {totals.events:,} events, {violations:,} violations{paused}"


def invariants_view(report: InvariantsReport) -> list[RenderableType]:
    """Return the invariants for people: a line for each, then the findings."""
    table = Table("", "invariant", "verdict", "violations", "pending", "checked", box=None, pad_edge=False)
    for section in report.sections:
        style = "bold green" if section.verdict is CheckVerdict.SOUND else "bold red" if section.violations else "bold"
        checked = ", ".join(f"{count:,} {name}" for name, count in section.checked.items())
        counts = (str(section.violations), str(section.pending), text_line(checked, "dim"))
        table.add_row(str(int(section.invariant)), text_line(section.title), text_line(section.verdict, style), *counts)
    rows = [
        ("check", report.check_id),
        ("invariants", str(report.verdict)),
        ("scope, mode", f"{report.scope}, {report.mode}"),
        ("coverage", report.coverage),
        ("ended", report.ended_at.isoformat(timespec="seconds")),
        ("files", report.files),
    ]
    parts: list[RenderableType] = [show.pairs(rows), table]
    for section in report.sections:
        for finding in section.findings[:SHOWN_MAX]:
            parts.append(assembled((finding.code, "bold"), f"  {finding.severity}  {finding.where}"))
            parts.append(text_line(f"  {finding.found}", "dim"))
    return parts


def _outcome(report: CheckReport) -> str:
    scope = "/".join(name for name in (report.db_name, report.class_id) if name) or "everything"
    return f"{report.outcome}, {scope}, {'repairing' if report.repair else 'looking only'}"


def _hint(report: CheckReport, tally: ReconcileSummary) -> list[Text]:
    if tally.found and not report.repair:
        return [text_line("nothing was changed; oncelog check --repair finishes what is half done")]
    return []
