"""The summary of a reconciliation: counts, and the places that a person may want to look at."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict

from oncelog.domain.frozen_model import summed_counts


class FindingKind(StrEnum):
    HALF_DONE = "HALF_DONE"  # finished by now, where the check repairs
    DAMAGE = "DAMAGE"  # needs a person
    PARKED = "PARKED"  # waits in the dead letters, with its reason
    UNFINISHED = "UNFINISHED"  # a server gave no answer: the next check tries again


#: How many findings of a kind are kept with their places; all are counted, and all are in the worker's log.
FINDINGS_MAX = {
    FindingKind.HALF_DONE: 20,
    FindingKind.DAMAGE: 100,
    FindingKind.PARKED: 20,
    FindingKind.UNFINISHED: 20,
}


class Finding(BaseModel):
    """One finding: its kind, its place and its description."""

    model_config = ConfigDict(frozen=True)

    kind: FindingKind
    place: str
    what: str


class ReconcileSummary(BaseModel):
    """The counts and findings of a run; summaries of parts add up.

    ``commands``, ``aggregates``: looked at. ``found``: incomplete, of which ``finished`` commands were brought to their
    end, ``closed`` ones had come to it without a status that has it, or were ended as they stood (bulk commands with
    chunks that were not begun), ``published`` aggregates' events were sent and ``projected`` ones projected in every
    read model that was behind, and of ``reindexed`` classes documents follow their definition now. Left alone:
    ``running``, with their workflow under way, ``recent``, within the grace period, and ``parked``, once for each read
    model in which the projection waits for a person in the dead letters. ``damaged`` and ``unfinished`` are under
    ``findings``. ``oldest_left``: when the oldest object not known to be whole was written.
    """

    model_config = ConfigDict(frozen=True)

    commands: int = 0
    aggregates: int = 0
    found: int = 0
    finished: int = 0
    closed: int = 0
    published: int = 0
    projected: int = 0
    reindexed: int = 0
    running: int = 0
    recent: int = 0
    parked: int = 0
    damaged: int = 0
    unfinished: int = 0
    findings: tuple[Finding, ...] = ()
    oldest_left: datetime | None = None

    def __add__(self, other: "ReconcileSummary") -> "ReconcileSummary":
        return ReconcileSummary.sum((self, other))

    @classmethod
    def sum(cls, summaries: Iterable["ReconcileSummary"]) -> Self:
        """Add up; of too many findings the first are kept."""
        parts = tuple(summaries)
        left = [part.oldest_left for part in parts if part.oldest_left is not None]
        findings = _first_of_each_kind(finding for part in parts for finding in part.findings)
        return cls(**summed_counts(cls, parts), findings=findings, oldest_left=min(left, default=None))


def _first_of_each_kind(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    kept: list[Finding] = []
    seen: Counter[FindingKind] = Counter()
    for finding in findings:
        seen[finding.kind] += 1
        if seen[finding.kind] <= FINDINGS_MAX[finding.kind]:
            kept.append(finding)
    return tuple(kept)
