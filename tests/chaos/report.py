"""The results of runs, in numbers: one report per run, and one of all of them, for people and as JSON."""

import bisect
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oncelog.activities.check_models import CheckOutcome, CheckReport
from oncelog.checks.verify import Report
from oncelog.verification.findings import Finding
from oncelog.verification.history import History
from tests.chaos.load import ReconcileSummary
from tests.chaos.nemesis import Nemesis

NANOSECONDS = 1_000_000_000


def report_of(
    nemesis: Nemesis,
    tally: ReconcileSummary,
    verdict: Report,
    history: History,
    *,
    beside: Sequence[str],
    swept: CheckReport,
    stuck: Sequence[str],
) -> dict[str, Any]:
    """Return all that is to be said of one run.

    ``beside``: findings that the verification does not have, of topics that are gone and of unique values;
    ``swept``: the last consistency check, when everything was mended; ``stuck``: workflows that did not end by then.
    """
    run = verdict.run
    assert run is not None  # verified with a history
    findings = [*map(finding_text, verdict.findings), *beside]
    return {
        "well": not (findings or stuck) and swept.outcome is CheckOutcome.CLEAN and _was_quiet(nemesis, tally),
        "commands": run.commands,
        "answered": run.answered,
        "applied": run.applied,
        "rejected": run.rejected,
        "reads": run.reads,
        "clients": run.clients,
        "aggregates": run.aggregates,
        "faults": sum(run.faults.values()),
        "faults_by_kind": run.faults,
        "faults_skipped": dict(nemesis.skipped),
        "faults_left_out": nemesis.left_out,
        "faults_with_trouble": [f"{done.planned.kind}: {done.trouble}" for done in nemesis.done if done.trouble],
        **verdict.summary.model_dump(),
        "unknowns": run.unknowns.model_dump(),
        "stuck_workflows": list(stuck),
        "recovery": run.recovery.model_dump(),
        "recoveries_s": recoveries_s(history),
        "last_check": swept.model_dump(mode="json"),
        "verdict": verdict.verdict,
        "findings": findings,
        "servers_restarted": nemesis.installation.restarted,
        "unnoticed_damage": nemesis.unnoticed,
        "complaints": tally.complaints,
        "calls": dict(sorted(tally.calls.items())),
        "answers": dict(sorted(tally.answers.items())),
        "read_back": verdict.read.model_dump(),
    }


def finding_text(finding: Finding) -> str:
    """Return a finding as the report has it."""
    return f"{finding.severity} {finding.code} {finding.where}: {finding.found}"


def _was_quiet(nemesis: Nemesis, tally: ReconcileSummary) -> bool:
    """Return whether every fault was done and mended without manual help, and none was read past."""
    in_trouble = any(done.trouble for done in nemesis.done)
    return not (nemesis.unnoticed or tally.complaints or in_trouble or nemesis.left_out)


def recoveries_s(history: History) -> list[float]:
    """Return for each fault how long after its end the last command that it had hit was answered, in seconds.

    A command is hit by the first fault whose end it lives through. Other faults may come meanwhile: the figure is
    the wait that callers saw. A command that was never answered is infinite.
    """
    ends = sorted(fault.ended_ns for fault in history.faults if fault.ended_ns is not None)
    waits = dict.fromkeys(ends, 0.0)
    for started_ns, answered_ns in _lives(history).values():
        hit_by = bisect.bisect_left(ends, started_ns)
        if hit_by < len(ends) and ends[hit_by] < answered_ns:
            waits[ends[hit_by]] = max(waits[ends[hit_by]], (answered_ns - ends[hit_by]) / NANOSECONDS)
    return [round(wait_s, 3) for wait_s in waits.values()]


def _lives(history: History) -> dict[str, tuple[float, float]]:
    """Return for each command when it was first sent and first answered, in nanoseconds."""
    found: dict[str, tuple[float, float]] = {}
    for operation in history.commands:
        command_id = (operation.invoked.command or {})["command_id"]
        started, answered = found.get(command_id, (math.inf, math.inf))
        ended = operation.ended_ns if operation.ended_ns is not None else math.inf
        found[command_id] = (min(started, operation.started_ns), min(answered, ended))
    return found


def percentile(values: Iterable[float], share: float) -> float | None:
    """Return the smallest value that the share of all does not exceed, or None of none."""
    ordered = sorted(values)
    return ordered[math.ceil(share * len(ordered)) - 1] if ordered else None


def together(reports: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Add the runs up, by seed."""
    runs = list(reports.values())
    kinds: Counter[str] = Counter()
    for run in runs:
        kinds.update(run["faults_by_kind"])
    recoveries = [value for run in runs for value in run["recoveries_s"]]
    added = ("commands", "answered", "applied", "rejected", "reads", "aggregates", "faults")
    bad = ("lost", "duplicated", "gaps", "out_of_order", "stale_reads", "pending")
    return {
        "well": all(run["well"] for run in runs),
        "seeds": list(reports),
        "clients": max(run["clients"] for run in runs),
        **{name: sum(run[name] for run in runs) for name in (*added, *bad)},
        "faults_by_kind": dict(sorted(kinds.items())),
        "kinds_with_ten": sum(times >= 10 for times in kinds.values()),
        "unknowns": {name: sum(run["unknowns"][name] for run in runs) for name in runs[0]["unknowns"]},
        "unique": {name: sum(run["unique"][name] for run in runs) for name in runs[0]["unique"]},
        "stuck_workflows": sum(len(run["stuck_workflows"]) for run in runs),
        "findings": sum(len(run["findings"]) for run in runs),
        "recovery_p50_s": percentile(recoveries, 0.5),
        "recovery_p99_s": percentile(recoveries, 0.99),
    }


def as_text(total: Mapping[str, Any]) -> str:
    """Return the sum of all runs as people read it."""
    unknowns = total["unknowns"]
    answers = f"{total['answered']} answered: {total['applied']} applied, {total['rejected']} rejected"
    rows = [
        ("verdict", "well" if total["well"] else "NOT WELL, see the reports"),
        ("seeds", ", ".join(map(str, total["seeds"]))),
        (
            "commands",
            f"{total['commands']}, {answers}",
        ),
        ("clients, aggregates, reads", f"{total['clients']}, {total['aggregates']}, {total['reads']}"),
        ("faults", f"{total['faults']}; {total['kinds_with_ten']} kinds at least ten times"),
        *((f"  {kind}", str(count)) for kind, count in total["faults_by_kind"].items()),
        ("lost, duplicated, gaps", f"{total['lost']}, {total['duplicated']}, {total['gaps']}"),
        ("out of order, stale reads", f"{total['out_of_order']}, {total['stale_reads']}"),
        ("unique values", ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in total["unique"].items())),
        ("other findings", str(total["findings"])),
        (
            "unknown at first",
            f"{unknowns['commands']}: "
            + ", ".join(f"{n} {name}" for name, n in unknowns.items() if name != "commands"),
        ),
        ("stuck workflows", str(total["stuck_workflows"])),
        ("recovery p50, p99", f"{total['recovery_p50_s']} s, {total['recovery_p99_s']} s"),
    ]
    return "\n".join(f"{name:30} {value}" for name, value in rows)
