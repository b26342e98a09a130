"""A replay as an operator sees it: how it comes along, and what it came to."""

import time
from typing import Any

from rich.console import Group
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from oncelog.cli import show
from oncelog.cli.exits import Exit
from oncelog.cli.terminal import assembled, errors, text_line
from oncelog.client import connection
from oncelog.client.runs import Replays
from oncelog.replay_runs.request import ReplayOutcome, ReplayReport, ReplayRequest
from oncelog.settings import Settings
from oncelog.workflows.details import work_counts

LINE_EVERY_S = 10.0


async def run_replay(request: ReplayRequest | None, *, attach: str | None = None, as_json: bool) -> Exit:
    """Start a replay or attach to one, show how it comes along and its result; returns the exit code."""
    report = await ended_replay(request, attach=attach)
    if as_json:
        show.print_json(report.model_dump(mode="json"))
    else:
        show.output.print(replay_view(report))
    return exit_of(report)


def exit_of(report: ReplayReport) -> Exit:
    """Return the exit code that a report stands for."""
    return Exit.FINDINGS if report.outcome is ReplayOutcome.VIOLATED or report.counts.parked else Exit.FINE


async def ended_replay(request: ReplayRequest | None, *, attach: str | None = None) -> ReplayReport:
    """Wait for the end of a replay, with progress on standard error; a caller that stops waiting changes nothing."""
    settings = Settings.from_environment()
    replays = Replays(await connection.connect(), settings)
    replay_id = attach or (await replays.start(request) if request else "")
    errors.print(f"replay {replay_id}")
    errors.print(f"Ctrl-C leaves it running; attach again with: oncelog replay attach {replay_id}")
    report: ReplayReport | None = None
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    printed_s = time.monotonic()
    with Progress(*columns, console=errors, disable=not errors.is_terminal) as bars:
        task = bars.add_task("waiting for a worker", total=None)
        async for report in replays.follow(replay_id):
            total = report.totals.events if report.totals else None
            bars.update(task, description=_line(report), completed=report.counts.events, total=total)
            if not errors.is_terminal and time.monotonic() - printed_s >= LINE_EVERY_S:
                printed_s = time.monotonic()
                errors.print(_line(report))
    if report is None:
        raise AssertionError("the last report is the result")
    return report


def _line(report: ReplayReport) -> str:
    if report.totals is None:
        return "planning"
    speed = f", {report.events_per_s:,.0f}/s" if report.events_per_s else ""
    paused = ", paused" if report.paused else ""
    return f"{report.counts.events:,} of {report.totals.events:,} events{speed}{paused}"


def replay_view(report: ReplayReport) -> Group:
    counts, totals, end = report.counts, report.totals, report.end
    rows: list[tuple[str, Any]] = [("outcome", f"{report.outcome}, {report.mode} of {report.scope}")]
    if totals is not None:
        rows.append(
            ("log", f"{totals.events} events of {totals.aggregates} aggregates, {totals.partitions} partitions")
        )
    if counts.partitions:
        rows.append(("folded", f"{counts.events} events of {counts.aggregates} aggregates"))
    rows += [(name, str(count)) for name, count in work_counts(counts).items()]
    if end is not None:
        rows += [(f"root of {tree.name}", f"{tree.root}, {tree.size} classes") for tree in end.databases]
        rows += [(tree.name, f"{tree.root}, {tree.size} aggregates") for tree in end.classes]
        if end.comparison is not None:
            found = end.comparison
            rows.append(("compared with", found.replay_id))
            rows.append(("", f"{found.same} the same, {found.changed} changed, {found.added} new"))
        rows += [(each.class_name, f"readers see {each.index}; {each.kept} is kept") for each in end.switched]
        if end.manifest is not None:
            rows.append(("exported", f"{end.rows} instances; the files are listed in {end.manifest}"))
    rows.append(("files", report.files))
    findings = [*counts.findings, *(end.comparison.findings if end and end.comparison else ())]
    lines = [
        line
        for finding in findings
        for line in (assembled((finding.code, "bold"), f"  {finding.where}"), text_line(f"  {finding.found}", "dim"))
    ]
    return Group(show.pairs(rows), *lines)
