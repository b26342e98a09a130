"""What the Web UI shows of a running or finished command, in Markdown."""

from collections.abc import Mapping, Sequence

from activities.check_models import CheckReport
from factline.domain.results import CommandResult
from factline.pipeline.trace import StepReport

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
    """Return what a command came to in one line."""
    if result.rejection:
        return f"REJECTED {result.rejection.code}: {result.rejection.message}"
    return f"{result.outcome} {result.aggregate_id} version {result.sequence_number}"


def check_sheet(scope: str, report: CheckReport) -> str:
    """Return what a consistency check has seen so far, and the places that it found."""
    tally = report.tally
    mode = "repairing" if report.repair else "looking only"
    counts = tally.model_dump(exclude={"findings", "oldest_left"})
    rows = [f"| {name} | {count} |" for name, count in counts.items()]
    found = [f"- **{finding.kind}** {finding.place}: {finding.what}" for finding in tally.findings[:FINDINGS_SHOWN]]
    more = len(tally.findings) - len(found)
    rest = [f"- … and {more} more in the result"] if more > 0 else []
    title = f"### {report.phase}: {report.outcome}, {scope}, {mode}"
    return "\n".join([title, "", "| | |", "| --- | ---: |", *rows, "", *found, *rest])
