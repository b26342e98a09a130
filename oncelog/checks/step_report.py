"""The result of a step of a check: how much was read, and the findings in bounded number."""

import time
from collections import Counter
from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from oncelog.domain.frozen_model import summed_counts
from oncelog.verification.findings import FINDINGS_KEPT_MAX, Code, Finding, Findings, Severity

#: By this, two findings are told to be one: code, place, aggregates.
FindingKey = tuple[Code, str, frozenset[str]]


class FindingsReport(BaseModel):
    """Findings in bounded number. ``counts``: of all; ``kept``: the first of each severity."""

    model_config = ConfigDict(frozen=True)

    counts: dict[Severity, dict[Code, int]] = Field(default_factory=dict)
    kept: tuple[Finding, ...] = ()

    @classmethod
    def of(cls, findings: Findings, *, kept_max: int = FINDINGS_KEPT_MAX) -> Self:
        """Return the report of collected findings."""
        counts = {severity: dict(counted) for severity, counted in findings.counts.items() if counted}
        return cls(counts=counts, kept=tuple(findings.kept[:kept_max]))

    def __add__(self, other: "FindingsReport") -> "FindingsReport":
        summed: dict[Severity, dict[Code, int]] = {}
        for severity in Severity:
            counted = Counter(self.counts.get(severity, {})) + Counter(other.counts.get(severity, {}))
            if counted:
                summed[severity] = dict(counted)
        room = Counter(finding.severity for finding in self.kept)
        kept = list(self.kept)
        for finding in other.kept:
            if room[finding.severity] < FINDINGS_KEPT_MAX:
                room[finding.severity] += 1
                kept.append(finding)
        return FindingsReport(counts=summed, kept=tuple(kept))

    def shortened(self, kept_max: int) -> "FindingsReport":
        """Return the same with fewer of the findings themselves."""
        return self.model_copy(update={"kept": self.kept[:kept_max]})

    def without(self, known: set[FindingKey]) -> "FindingsReport":
        """Return the same without known findings; the remaining ones are known from then on."""
        counts = {severity: dict(counted) for severity, counted in self.counts.items()}
        kept = []
        for finding in self.kept:
            key = finding.code, finding.where, frozenset(finding.aggregate_ids)
            if key in known:
                counts[finding.severity][finding.code] -= 1
            else:
                kept.append(finding)
                known.add(key)
        left = {severity: {code: n for code, n in counted.items() if n} for severity, counted in counts.items()}
        return FindingsReport(counts={each: counted for each, counted in left.items() if counted}, kept=tuple(kept))

    def count(self, severity: Severity) -> int:
        """Return how many there are of a severity."""
        return sum(self.counts.get(severity, {}).values())


class ReadTotals(BaseModel):
    """How much was read. ``archived``: events with bytes from the archive; ``digests``: folded states.

    ``duplicates``: late repetitions of messages, which are harmless. ``second_looks``: aggregates and commands that
    were looked at again before anything was reported. ``chains``: of unique values, that were audited; ``entries``: of
    them that were read, ``entries_listed``: of which the key was looked at.
    """

    model_config = ConfigDict(frozen=True)

    aggregates: int = 0
    events: int = 0
    archived: int = 0
    commands: int = 0
    messages: int = 0
    duplicates: int = 0
    documents: int = 0
    nodes: int = 0
    digests: int = 0
    second_looks: int = 0
    chains: int = 0
    entries: int = 0
    entries_listed: int = 0
    seconds: float = 0.0

    def __add__(self, other: "ReadTotals") -> "ReadTotals":
        return ReadTotals(**summed_counts(ReadTotals, (self, other)))


class StepReport(BaseModel):
    """The result of one step of a check. ``unattended``: read models of which no projector was ever seen."""

    model_config = ConfigDict(frozen=True)

    read: ReadTotals = ReadTotals()
    findings: FindingsReport = FindingsReport()
    unattended: tuple[str, ...] = ()

    def __add__(self, other: "StepReport") -> "StepReport":
        return StepReport(
            read=self.read + other.read,
            findings=self.findings + other.findings,
            unattended=tuple(sorted({*self.unattended, *other.unattended})),
        )

    def since(self, started_s: float) -> "StepReport":
        """Return the same with the seconds since then, of ``time.monotonic``."""
        return self + StepReport(read=ReadTotals(seconds=round(time.monotonic() - started_s, 3)))

    def shortened(self, kept_max: int) -> "StepReport":
        """Return the same with fewer of the findings themselves."""
        return self.model_copy(update={"findings": self.findings.shortened(kept_max)})
