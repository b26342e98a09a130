"""The current details of a running or finished command for the Web UI, in Markdown."""

from collections.abc import Mapping, Sequence

from oncelog.activities.bulk_models import BulkView
from oncelog.activities.check_models import CheckReport
from oncelog.archive.run import ArchiveReport
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.results import CommandResult
from oncelog.replay.trace import StepReport
from oncelog.replay_runs.request import ReplayCounts, ReplayOutcome, ReplayReport

FINDINGS_SHOWN = 20


def checklist(title: str, steps: Sequence[StepReport], pending: Mapping[str, str]) -> str:
    """Return the steps done with their times, and those handed over with the reason why they take longer."""
    done = [f"- ✓ **{step.name}** {step.duration_ms:.1f} ms: {step.note}  \n  `{step.at}`" for step in steps]
    waiting = [
        f"- … **{name}** is tried again until it succeeds; see Pending Activities. First failure: {reason}"
        for name, reason in pending.items()
    ]
    return "\n".join([f"### {title}", "", *done, *waiting])


def outcome_line(result: CommandResult) -> str:
    """Return a command's outcome in one line."""
    if result.rejection:
        return f"REJECTED {result.rejection.code}: {result.rejection.message}"
    return f"{result.outcome} {result.aggregate_id} version {result.sequence_number}"


def check_sheet(scope: str, report: CheckReport) -> str:
    """Return a consistency check's counts so far, and the places that it found."""
    tally = report.tally
    mode = "repairing" if report.repair else "looking only"
    counts = tally.model_dump(exclude={"findings", "oldest_left"})
    rows = [f"| {name} | {count} |" for name, count in counts.items()]
    found = [f"- **{finding.kind}** {finding.place}: {finding.what}" for finding in tally.findings[:FINDINGS_SHOWN]]
    more = len(tally.findings) - len(found)
    rest = [f"- … and {more} more in the result"] if more > 0 else []
    of_all = "" if report.aggregates_total is None else f" of {report.aggregates_total}"
    title = f"### {report.phase}: {tally.aggregates}{of_all} aggregates, {report.outcome}, {scope}, {mode}"
    return "\n".join([title, "", "| | |", "| --- | ---: |", *rows, "", *found, *rest, *_invariants(report)])


def _invariants(report: CheckReport) -> list[str]:
    """Return how far the proof of the invariants has come, or its result."""
    if report.proof is not None:
        totals, proof = report.proof.planned.totals, report.proof
        steps = f"{proof.tasks} of {totals.tasks} sources, {proof.parts} of {totals.parts} parts"
        events = f"{proof.so_far.read.events} of {totals.events} events"
        return ["", f"### {'PAUSED' if report.paused else 'invariants'}: {steps}, {events}"]
    if report.invariants is None:
        return []
    told = report.invariants
    rows = [f"| {each.title} | {each.verdict} | {each.violations} | {each.pending} |" for each in told.sections]
    listed = [
        f"- **{finding.code}** {finding.where}: {finding.found}"
        for section in told.sections
        for finding in section.findings[:FINDINGS_SHOWN]
    ]
    head = ["| invariant | verdict | violations | pending |", "| --- | --- | ---: | ---: |"]
    title = f"### invariants: {told.verdict}, {told.coverage}; `{told.files}report.html`"
    return ["", title, "", *head, *rows, "", *listed]


def replay_sheet(report: ReplayReport) -> str:
    """Return how far a replay has come, its speed, and the roots at its end."""
    counts, totals = report.counts, report.totals
    share = f"{counts.events} of {totals.events} events" if totals else "planning"
    state = "PAUSED" if report.paused and report.outcome is ReplayOutcome.RUNNING else report.outcome
    rows: list[tuple[str, object]] = [
        ("partitions", f"{counts.partitions} of {totals.partitions}" if totals else "-"),
        ("aggregates", f"{counts.aggregates} of {totals.aggregates}" if totals else "-"),
        ("events per second", report.events_per_s or "-"),
        ("seconds left", report.remaining_s if report.remaining_s is not None else "-"),
        *((name, count) for name, count in work_counts(counts).items()),
        ("findings", counts.findings_count),
        ("files", f"`{report.files}`"),
    ]
    end = report.end
    if end is not None:
        rows += [(f"root of {tree.name}", f"`{tree.root}` over {tree.size}") for tree in end.databases]
        rows += [(f"readers of {each.class_name}", f"`{each.index}`, before `{each.kept}`") for each in end.switched]
        if end.comparison is not None:
            rows.append(("compared with", f"{end.comparison.replay_id}: {end.comparison.same} the same"))
    found = [*counts.findings, *(end.comparison.findings if end and end.comparison else ())]
    listed = [f"- **{finding.code}** {finding.where}: {finding.found}" for finding in found[:FINDINGS_SHOWN]]
    table = [f"| {name} | {value} |" for name, value in rows]
    title = f"### {state}: {share}, {report.mode} of {report.scope}"
    return "\n".join([title, "", "| | |", "| --- | ---: |", *table, "", *listed])


def work_counts(counts: ReplayCounts) -> dict[str, int]:
    """Return the counts of a mode's own work, those that are not 0."""
    found = {"projected": counts.projected, "parked": counts.parked, "published": counts.published}
    return {name: count for name, count in found.items() if count}


def archive_sheet(report: ArchiveReport) -> str:
    """Return how far an archive run has come, and the damages found."""
    counts = report.counts
    total = "?" if report.classes_total is None else report.classes_total
    rows = [
        ("classes", f"{counts.classes} of {total}"),
        ("events archived", counts.events),
        ("files written", counts.files),
        ("files merged", counts.merged),
        ("files removed", counts.removed),
        ("files lost and made again", counts.lost),
        ("steps that another archiver took", counts.conflicts),
    ]
    table = [f"| {name} | {value} |" for name, value in rows]
    damages = [f"- {damage}" for damage in counts.damages[:FINDINGS_SHOWN]]
    return "\n".join([f"### archive of {report.scope}", "", "| | |", "| --- | ---: |", *table, "", *damages])


def bulk_sheet(title: str, view: BulkView, result: BulkResult | None = None) -> str:
    """Return how far a bulk command has come, and at its end its result."""
    if result is not None and result.rejection:
        return f"### {outcome_line(result)}"
    counts = result.counts if result is not None else view.counts
    percent = 100 * counts.done // counts.items if counts.items else 0
    head = f"{view.stage}: {counts.done} of {counts.items} items ({percent} %)"
    if result is not None:
        head = f"{result.outcome}{', ' + result.closed if result.closed else ''}: {counts.done} of {counts.items} items"
    rows = [
        ("applied", counts.applied),
        ("rejected", counts.rejected),
        ("not attempted", counts.not_attempted),
        ("chunks done", f"{view.chunks_done} of {view.chunks}"),
        ("chunks to be published or projected", view.undelivered),
        *((name, f"{duration_ms / 1000:.1f} s") for name, duration_ms in view.durations_ms.items()),
    ]
    results = [f"Results: `{result.results_key}`"] if result is not None else []
    table = [f"| {name} | {value} |" for name, value in rows]
    return "\n".join([f"### {head} {title}".rstrip(), "", "| | |", "| --- | ---: |", *table, "", *results])
