"""A run in numbers: its operations, the outcomes of unanswered commands, how long recovery took, and if it counts."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from oncelog.verification.clients import ClientAudit, Sent
from oncelog.verification.findings import Code, Finding, Severity
from oncelog.verification.history import Fault, Kind

#: A run in which fewer of the commands were answered proves nothing.
ANSWERED_RATIO_MIN = 0.9

NANOSECONDS = 1_000_000_000


class Unknowns(BaseModel):
    """Commands that were answered with "unknown" at least once, and their outcomes.

    ``answered``: a later attempt had its answer. The others never had one: ``committed``, ``refused`` and
    ``unfinished`` by their records and events, ``absent`` if there is neither.
    """

    model_config = ConfigDict(frozen=True)

    commands: int
    answered: int
    committed: int
    refused: int
    unfinished: int
    absent: int


class Recovery(BaseModel):
    """Seconds over all faults that ended. ``first_answer_*``: from the end to the next definite answer to any command.

    ``all_answered_*``: from the end until every command that was in flight then has its answer.
    """

    model_config = ConfigDict(frozen=True)

    faults: int
    first_answer_p50_s: float | None
    first_answer_p99_s: float | None
    all_answered_p50_s: float | None
    all_answered_p99_s: float | None


class RunReport(BaseModel):
    """The figures of a history, beside findings."""

    model_config = ConfigDict(frozen=True)

    counts: bool
    commands: int
    answered: int
    applied: int
    rejected: int
    reads: int
    clients: int
    aggregates: int
    faults: dict[str, int]
    seeds: list[int]
    unknowns: Unknowns
    recovery: Recovery


def report_run(audit: ClientAudit) -> RunReport:
    """Count the operations and faults of a history."""
    sent, history = list(audit.sent.values()), audit.history
    answered = [command for command in sent if command.answered_ns < math.inf]
    applied = [command for command in answered if any(answer.applied for answer in command.answers)]
    aggregates = {made.aggregate_id for command in sent for made in audit.made.get(command.command_id, [])}
    seeds = {fault.note.seed for fault in history.faults} | {run.get("seed") for run in history.runs}
    return RunReport(
        counts=not list(judge_run(audit)),
        commands=len(sent),
        answered=len(answered),
        applied=len(applied),
        rejected=len(answered) - len(applied),
        reads=len(history.reads),
        clients=len({operation.invoked.client for operation in history.operations}),
        aggregates=len(aggregates),
        faults=dict(sorted(Counter(fault.note.kind for fault in history.faults).items())),
        seeds=sorted(seed for seed in seeds if isinstance(seed, int)),
        unknowns=_unknowns(audit, sent),
        recovery=_recovery(sent, history.faults),
    )


def judge_run(audit: ClientAudit) -> Iterator[Finding]:
    """Yield why a run does not count: too few answers, or a fault that met nothing under way."""
    sent = list(audit.sent.values())
    answered = sum(command.answered_ns < math.inf for command in sent)
    if answered < ANSWERED_RATIO_MIN * len(sent) or not sent:
        found = f"expected at least {ANSWERED_RATIO_MIN:.0%} of the commands to be answered, found {answered} of "
        yield Finding(Code.TOO_QUIET, "the run", f"{found}{len(sent)}", severity=Severity.UNCOUNTED)
    for number, fault in enumerate(audit.history.faults, start=1):
        ended_ns = math.inf if fault.ended_ns is None else fault.ended_ns
        if not any(command.started_ns <= ended_ns and command.answered_ns >= fault.started_ns for command in sent):
            where = f"fault {number}, {fault.note.kind} of {fault.note.target}"
            found = "expected a command under way between its start and its end, found none"
            yield Finding(Code.FAULT_MISSED, where, found, severity=Severity.UNCOUNTED)


def _unknowns(audit: ClientAudit, sent: Sequence[Sent]) -> Unknowns:
    unknown = [command for command in sent if any(_is_unknown(operation.answer) for operation in command.operations)]
    ends = Counter(_end_of(audit, command) for command in unknown)
    return Unknowns(
        commands=len(unknown),
        answered=ends["answered"],
        committed=ends["committed"],
        refused=ends["refused"],
        unfinished=ends["unfinished"],
        absent=ends["absent"],
    )


def _is_unknown(answer: object) -> bool:
    return answer is None or getattr(answer, "kind", None) is Kind.INFO


def _end_of(audit: ClientAudit, command: Sent) -> str:
    if command.answered_ns < math.inf:
        return "answered"
    if audit.made.get(command.command_id):
        return "committed"
    record = audit.records.get(command.command_id)
    if record is None or not record.is_known:
        return "absent"
    return "refused" if record.rejection else "unfinished"


def _recovery(sent: Sequence[Sent], faults: Sequence[Fault]) -> Recovery:
    answers_ns = sorted(command.answered_ns for command in sent if command.answered_ns < math.inf)
    ends_ns = [fault.ended_ns for fault in faults if fault.ended_ns is not None]
    first = [after - end for end in ends_ns if (after := next((at for at in answers_ns if at >= end), None))]
    everything = [
        max(
            (command.answered_ns - end for command in sent if command.started_ns <= end < command.answered_ns),
            default=0,
        )
        for end in ends_ns
    ]
    return Recovery(
        faults=len(ends_ns),
        first_answer_p50_s=_percentile_s(first, 0.5),
        first_answer_p99_s=_percentile_s(first, 0.99),
        all_answered_p50_s=_percentile_s(everything, 0.5),
        all_answered_p99_s=_percentile_s(everything, 0.99),
    )


def _percentile_s(durations_ns: Sequence[float], share: float) -> float | None:
    """Return the smallest duration that the share of all does not exceed, in seconds; None where it never ended."""
    if not durations_ns:
        return None
    found = sorted(durations_ns)[math.ceil(share * len(durations_ns)) - 1]
    return round(found / NANOSECONDS, 3) if found < math.inf else None
