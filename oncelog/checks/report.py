"""The report of a check: a section for each of the six invariants, each with its counts and its findings."""

from collections.abc import Iterable
from datetime import datetime
from enum import IntEnum, StrEnum

from pydantic import BaseModel, ConfigDict

from oncelog.checks.scope import CheckMode, ProofScope
from oncelog.checks.step_report import FindingsReport, ReadTotals, StepReport
from oncelog.replay_runs.request import TreeReport
from oncelog.verification.findings import Code, Finding, Severity

#: So many findings of an invariant travel with a report; the file in S3 has more.
FINDINGS_TOLD_MAX = 20
#: So many earlier checks are told beside the newest.
TREND_MAX = 30


class Invariant(IntEnum):
    """The invariants, in their order."""

    DOCUMENTS_AND_GRAPH = 1
    ONE_EFFECT = 2
    ORDER = 3
    SCHEMA_AND_PROJECTION = 4
    REPLAY_DETERMINISM = 5
    READ_YOUR_WRITES = 6


TITLES = {
    Invariant.DOCUMENTS_AND_GRAPH: "Documents are a partial function of the graph",
    Invariant.ONE_EFFECT: "One command has one effect",
    Invariant.ORDER: "Events are in order, without gap or fork",
    Invariant.SCHEMA_AND_PROJECTION: "Schema and projection compose",
    Invariant.REPLAY_DETERMINISM: "A replay comes to the same state",
    Invariant.READ_YOUR_WRITES: "A client reads its own writes",
}

_PREFIXES = {
    "Document": Invariant.DOCUMENTS_AND_GRAPH,
    "Node": Invariant.DOCUMENTS_AND_GRAPH,
    "Reference": Invariant.DOCUMENTS_AND_GRAPH,
    "Index": Invariant.DOCUMENTS_AND_GRAPH,
    "Alias": Invariant.DOCUMENTS_AND_GRAPH,
    "Probe": Invariant.READ_YOUR_WRITES,
}
_OTHERS = {
    Code.DOCUMENT_WRONG: Invariant.SCHEMA_AND_PROJECTION,
    Code.SCHEMA_UNSUPPORTED: Invariant.SCHEMA_AND_PROJECTION,
    Code.FOLD_DIFFERS: Invariant.REPLAY_DETERMINISM,
    Code.DIGEST_CHANGED: Invariant.REPLAY_DETERMINISM,
    Code.STREAM_SHORTER: Invariant.REPLAY_DETERMINISM,
    Code.AGGREGATE_GONE: Invariant.REPLAY_DETERMINISM,
    **dict.fromkeys(
        (
            Code.RECORD_UNREADABLE,
            Code.RECORD_MISSING,
            Code.RECORD_FORGED,
            Code.RECORD_UNFOUNDED,
            Code.EVENT_ID_WRONG,
            Code.EVENT_UNBOUND,
            Code.EVENT_FORGED,
            Code.EVENT_DOUBLED,
            Code.REJECTED_BUT_APPLIED,
            Code.REJECTION_UNFOUNDED,
            Code.COMMAND_UNFINISHED,
            Code.RESULTS_MISSING,
            Code.RESULTS_WRONG,
            Code.CLAIM_WRONG,
        ),
        Invariant.ONE_EFFECT,
    ),
}


def invariant_of(code: Code) -> Invariant:
    """Return the invariant that a finding is about; all of the log, the archive and the stream is about order."""
    if code in _OTHERS:
        return _OTHERS[code]
    return next((found for prefix, found in _PREFIXES.items() if code.startswith(prefix)), Invariant.ORDER)


class CheckVerdict(StrEnum):
    """``PENDING``: nothing is wrong, and something was under way. ``VIOLATED``: see the findings."""

    SOUND = "SOUND"
    PENDING = "PENDING"
    VIOLATED = "VIOLATED"


class Section(BaseModel):
    """One invariant. ``checked``: counts of checked objects, by kind. ``findings``: the first ones.

    ``repaired``: violations that the check has put right.
    """

    model_config = ConfigDict(frozen=True)

    invariant: Invariant
    title: str
    verdict: CheckVerdict
    checked: dict[str, int]
    violations: int = 0
    pending: int = 0
    repaired: int = 0
    counts: dict[Severity, dict[Code, int]] = {}
    findings: tuple[Finding, ...] = ()


class TrendEntry(BaseModel):
    """One earlier check, in short. ``violations``: by invariant."""

    model_config = ConfigDict(frozen=True)

    check_id: str
    ended_at: datetime
    mode: CheckMode
    verdict: CheckVerdict
    events: int
    seconds: float
    violations: dict[int, int] = {}


class InvariantsReport(BaseModel):
    """The report of a check. ``coverage``: in words. ``roots``: of each database. ``files``: its folder in S3.

    ``compared_with``: the earlier check that digests were compared with. ``speaks_of``: end of the covered time, by
    S3's clock.
    """

    model_config = ConfigDict(frozen=True)

    check_id: str
    verdict: CheckVerdict
    scope: str
    mode: CheckMode
    coverage: str
    speaks_of: datetime | None
    ended_at: datetime
    seconds: float
    read: ReadTotals
    sections: tuple[Section, ...]
    roots: tuple[TreeReport, ...] = ()
    compared_with: str | None = None
    unattended: tuple[str, ...] = ()
    files: str = ""
    trend: tuple[TrendEntry, ...] = ()

    @property
    def entry(self) -> TrendEntry:
        """This check, as the next ones tell of it."""
        return TrendEntry(
            check_id=self.check_id,
            ended_at=self.ended_at,
            mode=self.mode,
            verdict=self.verdict,
            events=self.read.events,
            seconds=self.seconds,
            violations={int(section.invariant): section.violations for section in self.sections},
        )

    def shortened(self) -> "InvariantsReport":
        """Return the same with few findings, for a workflow's result."""
        sections = tuple(
            section.model_copy(update={"findings": section.findings[:FINDINGS_TOLD_MAX]}) for section in self.sections
        )
        return self.model_copy(update={"sections": sections, "trend": ()})


def sections_of(step: StepReport, *, probes: int) -> tuple[Section, ...]:
    """Return a section for each invariant."""
    read = step.read
    checked = {
        Invariant.DOCUMENTS_AND_GRAPH: {"documents": read.documents, "nodes": read.nodes},
        Invariant.ONE_EFFECT: {"commands": read.commands, "events": read.events},
        Invariant.ORDER: {
            "events": read.events,
            "archived": read.archived,
            "messages": read.messages,
            "entries": read.entries,
        },
        Invariant.SCHEMA_AND_PROJECTION: {"documents": read.documents},
        Invariant.REPLAY_DETERMINISM: {"digests": read.digests},
        Invariant.READ_YOUR_WRITES: {"probes": probes},
    }
    return tuple(_section(invariant, checked[invariant], step.findings) for invariant in Invariant)


def _section(invariant: Invariant, checked: dict[str, int], findings: FindingsReport) -> Section:
    counts = {
        severity: {code: count for code, count in counted.items() if invariant_of(code) is invariant}
        for severity, counted in findings.counts.items()
    }
    violations, pending, repaired = (
        sum(counts.get(severity, {}).values()) for severity in (Severity.VIOLATION, Severity.PENDING, Severity.REPAIRED)
    )
    return Section(
        invariant=invariant,
        title=TITLES[invariant],
        verdict=_verdict(violations, pending),
        checked=checked,
        violations=violations,
        pending=pending,
        repaired=repaired,
        counts={severity: counted for severity, counted in counts.items() if counted},
        findings=tuple(finding for finding in findings.kept if invariant_of(finding.code) is invariant),
    )


def verdict_of(sections: Iterable[Section]) -> CheckVerdict:
    """Return the verdict that follows from the sections."""
    told = tuple(sections)
    return _verdict(sum(each.violations for each in told), sum(each.pending for each in told))


def _verdict(violations: int, pending: int) -> CheckVerdict:
    if violations:
        return CheckVerdict.VIOLATED
    return CheckVerdict.PENDING if pending else CheckVerdict.SOUND


def coverage_of(scope: ProofScope, read: ReadTotals, listed: int) -> str:
    """Return in words how much of the scope was looked at."""
    if scope.mode is CheckMode.FULL:
        return f"all {read.aggregates} aggregates, every slot, command, message, document and node"
    chains = f"{read.chains} chains of unique values, {read.entries} entries read and {read.entries_listed} listed"
    if scope.mode is CheckMode.SAMPLED:
        share = f"{read.aggregates} of {listed} aggregates ({scope.share:.3%} drawn by seed {scope.seed})"
        what = f"{share} with their events' commands, messages, documents and nodes; {chains}"
        return f"{what}; no command without an event, and no other document or node"
    what = f"{read.aggregates} aggregates that were written since {scope.since}, or that commands since then are about"
    return f"{what}; {chains}; no documents or nodes of other aggregates"
