"""The findings of a verification: one stable code each, the place, and the expected and actual content."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

#: Of more findings than this only the number is kept, by code.
FINDINGS_KEPT_MAX = 1_000


class Severity(StrEnum):
    """``PENDING``: right as soon as the commands under way have ended. ``UNCOUNTED``: the run proves nothing.

    ``REPAIRED``: it was a violation, and the check that found it has put it right.
    """

    VIOLATION = "violation"
    PENDING = "pending"
    REPAIRED = "repaired"
    UNCOUNTED = "uncounted"


class Code(StrEnum):
    """The code of every finding; ``docs/verification.md`` gives the meaning and the remedy of each."""

    # The log
    OBJECT_UNREADABLE = "ObjectUnreadable"
    OBJECT_FOREIGN = "ObjectForeign"
    OBJECT_MISPLACED = "ObjectMisplaced"
    CHECKSUM_WRONG = "ChecksumWrong"
    NOT_CANONICAL = "NotCanonical"
    SCHEMA_UNSUPPORTED = "SchemaUnsupported"
    SEQUENCE_GAP = "SequenceGap"
    CHAIN_BROKEN = "ChainBroken"
    # The archive, which is derived from it
    ARCHIVE_DAMAGED = "ArchiveDamaged"
    ARCHIVE_FORGED = "ArchiveForged"
    ARCHIVE_GAP = "ArchiveGap"
    # Commands, and the events they made
    RECORD_UNREADABLE = "RecordUnreadable"
    RECORD_MISSING = "RecordMissing"
    RECORD_FORGED = "RecordForged"
    RECORD_UNFOUNDED = "RecordUnfounded"
    EVENT_ID_WRONG = "EventIdWrong"
    EVENT_UNBOUND = "EventUnbound"
    EVENT_FORGED = "EventForged"
    EVENT_DOUBLED = "EventDoubled"
    REJECTED_BUT_APPLIED = "RejectedButApplied"
    REJECTION_UNFOUNDED = "RejectionUnfounded"
    COMMAND_UNFINISHED = "CommandUnfinished"
    RESULTS_MISSING = "ResultsMissing"
    RESULTS_WRONG = "ResultsWrong"
    CLAIM_WRONG = "ClaimWrong"
    # Unique values: their chains and holders
    ENTRY_MISSING = "EntryMissing"
    ENTRY_FORGED = "EntryForged"
    ENTRY_UNFOUNDED = "EntryUnfounded"
    CHAIN_GAP = "ChainGap"
    UNIQUE_DOUBLED = "UniqueDoubled"
    INSTANCE_UNCOVERED = "InstanceUncovered"
    # The stream
    MESSAGE_MISSING = "MessageMissing"
    MESSAGE_OUT_OF_ORDER = "MessageOutOfOrder"
    MESSAGE_ALTERED = "MessageAltered"
    MESSAGE_FOREIGN = "MessageForeign"
    STREAM_SPLIT = "StreamSplit"
    TOPIC_REPLACED = "TopicReplaced"
    WATERMARK_AHEAD = "WatermarkAhead"
    # The indices and aliases of documents and of the graph
    INDEX_CLOSED = "IndexClosed"
    INDEX_BLOCKED = "IndexBlocked"
    INDEX_UNASSIGNED = "IndexUnassigned"
    ALIAS_LOST = "AliasLost"
    ALIAS_AMBIGUOUS = "AliasAmbiguous"
    # Documents
    DOCUMENT_MISSING = "DocumentMissing"
    DOCUMENT_STALE = "DocumentStale"
    DOCUMENT_PARKED = "DocumentParked"
    DOCUMENT_WRONG = "DocumentWrong"
    DOCUMENT_FOREIGN = "DocumentForeign"
    # The graph
    NODE_MISSING = "NodeMissing"
    NODE_STALE = "NodeStale"
    NODE_PARKED = "NodeParked"
    NODE_WRONG = "NodeWrong"
    NODE_FOREIGN = "NodeForeign"
    # References that must exist
    REFERENCE_DANGLING = "ReferenceDangling"
    # The fold of an aggregate, twice in one run, and against runs before
    FOLD_DIFFERS = "FoldDiffers"
    DIGEST_CHANGED = "DigestChanged"
    STREAM_SHORTER = "StreamShorter"
    AGGREGATE_GONE = "AggregateGone"
    # A probe command, all the way
    PROBE_FAILED = "ProbeFailed"
    PROBE_STALE = "ProbeStale"
    PROBE_UNREADABLE = "ProbeUnreadable"
    # Clients' histories
    ACKNOWLEDGED_LOST = "AcknowledgedLost"
    REFUSED_PRESENT = "RefusedPresent"
    NEVER_SENT = "NeverSent"
    ANSWER_CHANGED = "AnswerChanged"
    ANSWER_WRONG = "AnswerWrong"
    REUSE_ACCEPTED = "ReuseAccepted"
    ORDER_REVERSED = "OrderReversed"
    REJECTION_STALE = "RejectionStale"
    READ_STALE = "ReadStale"
    READ_WRONG = "ReadWrong"
    TOO_QUIET = "TooQuiet"
    FAULT_MISSED = "FaultMissed"


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it must be. ``where`` names the place, ``found`` says expected, found and the remedy.

    ``waits_for``: the commands that would mend it by coming to their end; while one of them is under way it is
    pending. ``aggregate_ids``: a second look may show these to be right by now.
    """

    code: Code
    where: str
    found: str
    severity: Severity = Severity.VIOLATION
    waits_for: tuple[str, ...] = ()
    aggregate_ids: tuple[str, ...] = ()


class InvalidObject(Exception):
    """An object is invalid, so that nothing else can be said of it."""

    def __init__(self, code: Code, where: str, found: str) -> None:
        super().__init__(found)
        self.finding = Finding(code, where, found)


@dataclass
class Findings:
    """Collects findings in bounded memory: all are counted, the first ones of each severity are kept."""

    kept: list[Finding] = field(default_factory=list)
    counts: dict[Severity, Counter[Code]] = field(
        default_factory=lambda: {severity: Counter() for severity in Severity}
    )

    def add(self, finding: Finding) -> None:
        counted = self.counts[finding.severity]
        if counted.total() < FINDINGS_KEPT_MAX:
            self.kept.append(finding)
        counted[finding.code] += 1

    def extend(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self.add(finding)

    def of(self, severity: Severity) -> list[Finding]:
        """Return those kept of one severity, in the order in which they were found."""
        return [finding for finding in self.kept if finding.severity is severity]
