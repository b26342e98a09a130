"""``oncelog verify``: a check of the invariants in one process, and of the clients' history, if there is one."""

import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from oncelog.checks.part import Counted
from oncelog.checks.run import CheckRunner
from oncelog.checks.scope import ProofScope
from oncelog.checks.servers import InFlight, Progress, Servers, nothing_in_flight
from oncelog.checks.step_report import FindingsReport, ReadTotals, StepReport
from oncelog.errors import LogDamaged
from oncelog.verification.audit import Audit
from oncelog.verification.clients import ClientAudit
from oncelog.verification.findings import Code, Finding, Findings, Severity
from oncelog.verification.history import History
from oncelog.verification.log import LogFacts
from oncelog.verification.reading import Projectors, Sources
from oncelog.verification.records import CommandFacts
from oncelog.verification.run import RunReport, judge_run, report_run

__all__ = ["Report", "Verdict", "nothing_in_flight", "verify"]

RUN = "verify"


class Verdict(StrEnum):
    """``SOUND``: no findings, or only pending ones. ``UNCOUNTED``: nothing wrong, in a run that proves nothing."""

    SOUND = "sound"
    UNCOUNTED = "uncounted"
    VIOLATED = "violated"


class ReadCounts(BaseModel):
    """How much was read. ``duplicates``: late repetitions of messages, which are harmless."""

    model_config = ConfigDict(frozen=True)

    aggregates: int
    events: int
    commands: int
    messages: int
    duplicates: int
    documents: int
    nodes: int


class Summary(BaseModel):
    """The findings that everybody asks for first, by number; ``violations``: all of them."""

    model_config = ConfigDict(frozen=True)

    lost: int
    duplicated: int
    gaps: int
    out_of_order: int
    stale_reads: int
    violations: int
    pending: int


class Report(BaseModel):
    """The report of ``oncelog verify``. ``counts``: of all findings; ``findings`` keeps the first ones only.

    ``unattended``: read models that lack something, for projectors to show, of which no projector was ever seen.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    read: ReadCounts
    summary: Summary
    counts: dict[Severity, dict[Code, int]]
    findings: list[Finding]
    unattended: list[str]
    run: RunReport | None = None


class FolderObjects:
    """``LargeObjects`` in a folder of this machine: where a verification that writes to no server spills its facts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def object_size(self, key: str) -> int | None:
        path = self._folder / key
        return path.stat().st_size if path.exists() else None

    async def read_object(self, key: str, wanted: range) -> bytes:
        with (self._folder / key).open("rb") as file:
            file.seek(wanted.start)
            data = file.read(len(wanted))
        if len(data) != len(wanted):
            raise LogDamaged(f"{key}: expected {len(wanted)} bytes, found {len(data)}; verify again", where=key)
        return data

    async def write_object(self, key: str, parts: AsyncIterator[bytes]) -> None:
        path = self._folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            async for part in parts:
                file.write(part)


class _Kept:
    """All facts, for a history of clients to be held against; memory grows with the log."""

    def __init__(self) -> None:
        self.logs: dict[str, LogFacts] = {}
        self.commands: dict[str, CommandFacts] = {}

    def keep(self, audit: Audit) -> None:
        """Take an audit after its last look."""
        self.logs.update(audit.logs)

    def keep_command(self, facts: CommandFacts) -> None:
        """Take a command."""
        self.commands[facts.command_id] = facts


def _unwatched(_what: str, _count: int) -> None:
    """No projector follows."""


async def verify(
    sources: Sources,
    *,
    in_flight: InFlight,
    projectors: Projectors | None = None,
    db_name: str | None = None,
    history: History | None = None,
    progress: Progress = _unwatched,
) -> Report:
    """Hold all promises against the objects in the servers, and against the clients' history.

    Others may write meanwhile. ``in_flight`` is asked for open workflows and ``projectors``, where commands leave the
    projection to them, for their offsets, before a second look. Memory is bounded unless there is a history. Raises
    StoreUnavailable.
    """
    kept = _Kept() if history is not None else None
    with tempfile.TemporaryDirectory(prefix="oncelog-verify-") as folder:
        # Redis holds nothing that S3 cannot restore: a verification does without it.
        servers = Servers(replace(sources, statuses=None), FolderObjects(Path(folder)), in_flight, projectors)
        runner = CheckRunner(
            servers,
            keep=kept.keep if kept else None,
            keep_command=kept.keep_command if kept else None,
        )
        scope = ProofScope(db_name=db_name)
        plan = await runner.plan(RUN, scope, listed=lambda count: progress("listed", count))
        for task in plan.tasks:
            await runner.collect(RUN, task.number, progress=progress)
        done = ReadTotals()
        for number in range(plan.parts):
            done += (await runner.part(RUN, number, counted=_counting(done, progress))).read
        report, _ = await runner.end(RUN, None)
    findings = _findings_of(report.findings)
    if history is None or kept is None:
        return _report(report, findings, None)
    clients = ClientAudit(history, kept.logs, kept.commands)
    findings.extend(clients.judge())
    findings.extend(judge_run(clients))
    return _report(report, findings, report_run(clients))


def _counting(done: ReadTotals, progress: Progress) -> Counted:
    return lambda read: progress("events", (done + read).events)


def _findings_of(report: FindingsReport) -> Findings:
    findings = Findings(kept=list(report.kept))
    for severity, counted in report.counts.items():
        findings.counts[severity] = Counter(counted)
    return findings


def _report(step: StepReport, findings: Findings, run: RunReport | None) -> Report:
    counts = findings.counts
    verdict = Verdict.SOUND
    if counts[Severity.VIOLATION]:
        verdict = Verdict.VIOLATED
    elif counts[Severity.UNCOUNTED]:
        verdict = Verdict.UNCOUNTED
    read = step.read.model_dump()
    return Report(
        verdict=verdict,
        read=ReadCounts(**{name: read[name] for name in ReadCounts.model_fields}),
        summary=_summary(counts[Severity.VIOLATION], pending=counts[Severity.PENDING].total()),
        counts={severity: dict(counted) for severity, counted in counts.items() if counted},
        findings=findings.kept,
        unattended=list(step.unattended),
        run=run,
    )


def _summary(counted: Mapping[Code, int], *, pending: int) -> Summary:
    counted = Counter(counted)
    return Summary(
        lost=counted[Code.ACKNOWLEDGED_LOST],
        duplicated=counted[Code.EVENT_DOUBLED],
        gaps=counted[Code.SEQUENCE_GAP],
        out_of_order=counted[Code.ORDER_REVERSED] + counted[Code.MESSAGE_OUT_OF_ORDER],
        stale_reads=counted[Code.READ_STALE],
        violations=counted.total(),
        pending=pending,
    )
