"""Reads, judges, looks once more at what may have been under way, and reports."""

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import replace
from enum import StrEnum
from functools import partial

from pydantic import BaseModel, ConfigDict

from oncelog.errors import LogDamaged
from oncelog.verification.audit import Audit, weighed
from oncelog.verification.clients import ClientAudit
from oncelog.verification.documents import DocumentAudit
from oncelog.verification.findings import Code, Finding, Findings, Severity
from oncelog.verification.graph import NodeAudit
from oncelog.verification.history import History
from oncelog.verification.reading import Progress, Projectors, Reading, Sources, answered
from oncelog.verification.run import RunReport, judge_run, report_run

#: Given command IDs, says which of them are under way. It may name more than that, never fewer.
InFlight = Callable[[Collection[str]], Awaitable[Collection[str]]]

#: By read model, and by partition of the stream, the offset that its projectors go on from.
Reached = Mapping[str, Mapping[int, int]]

#: Maps MISSING and STALE findings to PARKED: in which read model it may be, and what it is found as then.
BEHIND = {
    code: (audit.read_model, audit.codes.parked)
    for audit in (DocumentAudit, NodeAudit)
    for code in (audit.codes.missing, audit.codes.stale)
}


class Verdict(StrEnum):
    """``SOUND``: nothing found, or only what is pending. ``UNCOUNTED``: nothing wrong, in a run that proves nothing."""

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

    ``unattended``: read models that lack something, are for projectors to show, and whose projectors were never seen.
    """

    model_config = ConfigDict(frozen=True)

    verdict: Verdict
    read: ReadCounts
    summary: Summary
    counts: dict[Severity, dict[Code, int]]
    findings: list[Finding]
    unattended: list[str]
    run: RunReport | None = None


async def nothing_in_flight(_command_ids: Collection[str]) -> Collection[str]:
    """Say that every command has come to its end, so that nothing can be pending."""
    return ()


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
    """Hold all promises against what lies in the servers, and against what clients saw.

    Others may write meanwhile. Incomplete work is checked once more after ``in_flight`` was asked for open workflows,
    and ``projectors``, where commands leave the projection to them, for their offsets; so it is pending only while a
    projector is yet to come to it. Raises StoreUnavailable.
    """
    audit = Audit(db_name=db_name)
    reading = Reading(sources, audit, progress)
    await reading.read_all()
    found = list(audit.judge())
    running: Collection[str] = ()
    reached: Reached = {}
    unsettled = [finding for finding in found if finding.waits_for]
    if unsettled or audit.aggregates_ahead:
        running = await in_flight({command_id for finding in unsettled for command_id in finding.waits_for})
        reached = await _reached(projectors, unsettled) if projectors else {}
        await _look_again(reading, audit, unsettled)
        found = list(audit.judge())
    findings = Findings()
    for finding in found:
        settled = weighed(finding, running)
        if finding.code in BEHIND:
            settled = await _parked(reading, finding) or _projected(audit, settled, reached)
        findings.add(settled)
    clients = None
    if history is not None:
        clients = ClientAudit(history, audit.logs, audit.commands.commands)
        findings.extend(clients.judge())
        findings.extend(judge_run(clients))
    lacking = {BEHIND[code][0] for code in findings.counts[Severity.PENDING] if code in BEHIND}
    return _report(
        audit,
        findings,
        report_run(clients) if clients else None,
        unattended=[read_model for read_model in _unattended(reached) if read_model in lacking],
    )


async def _reached(projectors: Projectors, unsettled: Iterable[Finding]) -> Reached:
    read_models = sorted({BEHIND[finding.code][0] for finding in unsettled if finding.code in BEHIND})
    return {name: await answered(partial(projectors.reached, name)) for name in read_models}


async def _parked(reading: Reading, finding: Finding) -> Finding | None:
    """Return a read model's being behind as what it is if it waits for a person, else None.

    A dead letter that cannot be read excuses nothing, and is named.
    """
    read_model, code = BEHIND[finding.code]
    try:
        dead_letter = await reading.parked(read_model, finding.aggregate_ids[0])
    except LogDamaged as error:
        return replace(finding, found=f"{finding.found.partition(';')[0]}; its dead letter: {error.message}")
    if dead_letter is None:
        return None
    parked = f"{dead_letter.kind} by {dead_letter.by}: {dead_letter.reason}; see the dead letters"
    found = f"{finding.found.partition(';')[0]}: {parked}"
    return replace(finding, code=code, found=found, severity=Severity.PENDING)


def _projected(audit: Audit, finding: Finding, reached: Reached) -> Finding:
    """Return a read model's being behind as pending if its projectors are yet to come to it."""
    read_model, _ = BEHIND[finding.code]
    offsets = reached.get(read_model, {})
    if finding.severity is Severity.PENDING or not audit.stream.is_ahead_of(offsets, finding.aggregate_ids[0]):
        return finding
    why = f"projectors of the {read_model} have not come to it yet"
    if read_model in _unattended(reached):
        why = f"no projector of the {read_model} was ever seen"
    return replace(finding, found=f"{finding.found.partition(';')[0]}; {why}", severity=Severity.PENDING)


def _unattended(reached: Reached) -> list[str]:
    """Return the read models of which no projector has ever committed anything."""
    return [read_model for read_model, offsets in reached.items() if offsets and not any(offsets.values())]


async def _look_again(reading: Reading, audit: Audit, unsettled: Iterable[Finding]) -> None:
    """Read anew what was not finished, then the log as far as what was sent or shown is ahead of it."""
    about = dict.fromkeys(name for finding in unsettled for name in finding.aggregate_ids)
    unfinished = [finding for finding in unsettled if finding.code is Code.COMMAND_UNFINISHED]
    await reading.read_messages()
    await reading.read_documents_again(about)
    await reading.read_nodes_again(about)
    logs = audit.aggregates_ahead | {name for finding in unfinished for name in finding.aggregate_ids}
    await reading.look_again(logs, [command_id for finding in unfinished for command_id in finding.waits_for])


def _report(audit: Audit, findings: Findings, run: RunReport | None, *, unattended: list[str]) -> Report:
    counts = findings.counts
    verdict = Verdict.SOUND
    if counts[Severity.VIOLATION]:
        verdict = Verdict.VIOLATED
    elif counts[Severity.UNCOUNTED]:
        verdict = Verdict.UNCOUNTED
    return Report(
        verdict=verdict,
        read=ReadCounts(
            aggregates=len(audit.logs),
            events=sum(len(log.events) for log in audit.logs.values()),
            commands=len(audit.commands.commands),
            messages=audit.stream.messages,
            duplicates=audit.stream.duplicates,
            documents=audit.documents.count,
            nodes=audit.nodes.count,
        ),
        summary=_summary(counts[Severity.VIOLATION], pending=counts[Severity.PENDING].total()),
        counts={severity: dict(counted) for severity, counted in counts.items() if counted},
        findings=findings.kept,
        unattended=unattended,
        run=run,
    )


def _summary(counted: Counter[Code], *, pending: int) -> Summary:
    return Summary(
        lost=counted[Code.ACKNOWLEDGED_LOST],
        duplicated=counted[Code.EVENT_DOUBLED],
        gaps=counted[Code.SEQUENCE_GAP],
        out_of_order=counted[Code.ORDER_REVERSED] + counted[Code.MESSAGE_OUT_OF_ORDER],
        stale_reads=counted[Code.READ_STALE],
        violations=counted.total(),
        pending=pending,
    )
