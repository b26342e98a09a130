"""``oncelog verify``: the checks on a deployment, with progress, as a table or as JSON."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from oncelog.checks.verify import Report, Verdict, nothing_in_flight, verify
from oncelog.cli.exits import Exit
from oncelog.cli.show import pairs
from oncelog.cli.terminal import errors, text_line
from oncelog.client.client import Oncelog
from oncelog.composition.checks import projectors_of, sources_of
from oncelog.domain.identifiers import check_name
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from oncelog.verification.findings import Finding, Severity
from oncelog.verification.history import History, read_history
from oncelog.verification.run import RunReport

SHOWN_MAX = 40


async def run_verify(*, histories: Sequence[Path], db_name: str | None, drained: bool) -> Report:
    """Verify the installation that the environment leads to; ``drained``: nothing is under way, so Temporal is
    not asked.
    """
    if db_name is not None:
        check_name(db_name, "--db")
    history: History | None = read_history(histories) if histories else None
    settings = Settings.from_environment()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TextColumn("{task.completed}"), TimeElapsedColumn())
    async with await Stores.connect(settings) as stores:
        oncelog = Oncelog(stores.ports, settings)
        with Progress(*columns, console=errors, disable=not errors.is_terminal) as bars:
            tasks = {}

            def progress(what: str, count: int) -> None:
                if what not in tasks:
                    tasks[what] = bars.add_task(what, total=None)
                bars.update(tasks[what], completed=count)

            return await verify(
                sources_of(stores, settings),
                in_flight=nothing_in_flight if drained else oncelog.under_way,
                projectors=None if drained else projectors_of(settings),
                db_name=db_name,
                history=history,
                progress=progress,
            )


def exit_of(report: Report) -> Exit:
    """Return the report's exit code: pending findings do not count."""
    return Exit.FINE if report.verdict is Verdict.SOUND else Exit.FINDINGS


def report_view(report: Report) -> Group:
    """Return a report for people."""
    style = "bold green" if report.verdict is Verdict.SOUND else "bold red"
    read, summary = report.read, report.summary
    rows = [
        ("verdict", text_line(report.verdict, style)),
        ("log", f"{read.events} events of {read.aggregates} aggregates"),
        ("commands", str(read.commands)),
        ("stream", f"{read.messages} messages, {read.duplicates} of them late duplicates"),
        ("documents, nodes", f"{read.documents}, {read.nodes}"),
        ("lost, duplicated, gaps", f"{summary.lost}, {summary.duplicated}, {summary.gaps}"),
        ("out of order, stale reads", f"{summary.out_of_order}, {summary.stale_reads}"),
        ("pending", str(summary.pending)),
    ]
    parts: list[RenderableType] = [pairs(rows)]
    parts += [text_line(_unattended(read_model)) for read_model in report.unattended]
    if report.run:
        parts += [Text(), pairs(_run_rows(report.run))]
    for severity in Severity:
        found = [finding for finding in report.findings if finding.severity is severity]
        if found:
            parts += [Text(), _findings_view(severity, found, sum(report.counts[severity].values()))]
    return Group(*parts)


def _unattended(read_model: str) -> str:
    return (
        f"no projector of the {read_model} was ever seen, so nobody shows it but consistency checks; "
        f"run one with ONCELOG_PROJECTOR_READ_MODEL={read_model}"
    )


def _run_rows(run: RunReport) -> list[tuple[str, str]]:
    unknowns, recovery = run.unknowns, run.recovery
    return [
        ("run", "counts" if run.counts else "does not count"),
        ("commands", f"{run.commands} sent, {run.answered} answered: {run.applied} applied, {run.rejected} rejected"),
        ("clients, aggregates, reads", f"{run.clients}, {run.aggregates}, {run.reads}"),
        ("faults", ", ".join(f"{count} {kind}" for kind, count in run.faults.items()) or "none"),
        ("seeds", ", ".join(map(str, run.seeds)) or "none"),
        (
            "unknowns",
            f"{unknowns.commands}: {unknowns.answered} answered later, {unknowns.committed} committed, "
            f"{unknowns.refused} refused, {unknowns.unfinished} unfinished, {unknowns.absent} absent",
        ),
        (
            "recovery, next answer",
            f"p50 {_seconds(recovery.first_answer_p50_s)}, p99 {_seconds(recovery.first_answer_p99_s)}",
        ),
        (
            "recovery, all answered",
            f"p50 {_seconds(recovery.all_answered_p50_s)}, p99 {_seconds(recovery.all_answered_p99_s)}",
        ),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:g} s"


def _findings_view(severity: Severity, found: Sequence[Finding], count: int) -> Group:
    table = Table(
        "code", "where", "found", title=f"{severity} ({count})", box=None, pad_edge=False, title_justify="left"
    )
    for finding in found[:SHOWN_MAX]:
        table.add_row(text_line(finding.code, style="bold"), text_line(finding.where), text_line(finding.found, "dim"))
    rest = count - min(len(found), SHOWN_MAX)
    return Group(table, *([text_line(f"… and {rest} more; --json has more of them")] if rest else []))
