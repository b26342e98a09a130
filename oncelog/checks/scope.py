"""Models of a check of the invariants: its scope, its plan, and the tasks and results of its steps."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from oncelog.checks.step_report import FindingsReport, StepReport
from oncelog.domain.commands import ClassId, DbName
from oncelog.domain.identifiers import CLASSES
from oncelog.ports import IndexFacts
from oncelog.replay_runs.partitions import Partition
from oncelog.verification.findings import Finding

#: A part is closed once it has so many events, at the end of an aggregate.
PART_EVENTS = 10_000
#: So many commands are read by one step.
SLICE_COMMANDS = 10_000
PARALLEL_MAX = 64


class CheckMode(StrEnum):
    """How much of the log a check covers.

    ``INCREMENTAL``: aggregates and commands written since the last check. ``SAMPLED``: aggregates that a seed draws.
    """

    FULL = "full"
    SAMPLED = "sampled"
    INCREMENTAL = "incremental"


class ProofScope(BaseModel):
    """The part of an installation that is checked.

    ``share``: of a sample, from above 0 to 1; ``seed``: draws it, the same aggregates each time. ``since``: of an
    incremental check. ``due_before``: the check speaks of objects written before, by S3's clock. ``slots_only``: read
    every slot, where an archived row with the slot's ETag would do.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    db_name: DbName | None = None
    class_id: ClassId | None = None
    mode: CheckMode = CheckMode.FULL
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    since: AwareDatetime | None = None
    due_before: AwareDatetime | None = None
    slots_only: bool = False

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.class_id is not None and self.db_name is None:
            raise ValueError("class_id: expected db_name with it, found none")
        return self

    @property
    def name(self) -> str:
        """The scope in words, such as ``shop/Product``."""
        return "/".join(part for part in (self.db_name, self.class_id) if part) or "everything"

    def covers_class(self, db_name: str, class_id: str) -> bool:
        """Return whether a class is within the scope; the classes of a database are the class ``_class``."""
        if self.db_name not in (None, db_name):
            return False
        return self.class_id in (None, class_id) or class_id == CLASSES

    def covers(self, aggregate_id: str) -> bool:
        """Return whether an aggregate is within the scope, which a class is with its instances."""
        db_name, class_id, instance_key = aggregate_id.split("/", 2)
        if self.db_name not in (None, db_name):
            return False
        if self.class_id not in (None, instance_key if class_id == CLASSES else class_id):
            return False
        return self.mode is not CheckMode.SAMPLED or self.draws(aggregate_id)

    def draws(self, name: str) -> bool:
        """Return whether the seed draws an aggregate, or the folder of a chain."""
        return _drawn(name, self.seed) < self.share

    def is_due(self, written_at: datetime | None) -> bool:
        """Return whether the check speaks of objects written then."""
        return self.due_before is None or written_at is None or written_at < self.due_before

    def is_old(self, written_at: datetime | None) -> bool:
        """Return whether an earlier check has spoken of objects written then."""
        return self.since is not None and written_at is not None and written_at < self.since


def _drawn(name: str, seed: int) -> float:
    """Return a number from 0 up to 1 that follows from the name and the seed alone."""
    digest = hashlib.sha256(f"{seed}:{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


class CollectKind(StrEnum):
    """A source that is read once; its facts are spilled for the parts."""

    COMMANDS = "commands"
    STREAM = "stream"
    DOCUMENTS = "documents"
    NODES = "nodes"
    ARCHIVE = "archive"
    UNIQUE = "unique"
    FOREIGN = "foreign"


class CollectTask(BaseModel):
    """One step of collecting. ``after``, ``end``: keys of records, above the one and up to the other.

    ``place``: the class of an archive or of entries, the database of a graph, or the folder that foreign keys lie in.
    """

    model_config = ConfigDict(frozen=True)

    number: int
    kind: CollectKind
    after: str = ""
    end: str | None = None
    place: str = ""


class CheckPlan(BaseModel):
    """A check, divided. ``generations``: of the topics of instances and of classes. ``indices``: as first seen.

    Kept in S3, since it grows with the log.
    """

    model_config = ConfigDict(frozen=True)

    scope: ProofScope
    partitions: tuple[Partition, ...]
    tasks: tuple[CollectTask, ...]
    generations: dict[bool, int] = Field(default_factory=dict)
    indices: tuple[IndexFacts, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def populated(self) -> frozenset[tuple[str, str]]:
        """The classes that have events."""
        return frozenset((each.part.db_name, each.part.class_id) for each in self.partitions)

    @property
    def parts(self) -> int:
        """How many parts there are; the last is of aggregates that no partition holds."""
        return len(self.partitions) + 1

    @property
    def totals(self) -> "CheckTotals":
        return CheckTotals(
            tasks=len(self.tasks),
            parts=self.parts,
            aggregates=sum(each.aggregates for each in self.partitions),
            events=sum(each.events for each in self.partitions),
        )


class CheckTotals(BaseModel):
    """The size of a plan."""

    model_config = ConfigDict(frozen=True)

    tasks: int
    parts: int
    aggregates: int
    events: int


class Spilled(BaseModel):
    """Where the facts for each part lie in one file: ``ranges`` by part, the bytes from and up to."""

    model_config = ConfigDict(frozen=True)

    name: str
    ranges: Mapping[int, tuple[int, int]]


class Collected(BaseModel):
    """The files and findings of one step of collecting.

    ``offsets``: of the stream, the last message that was read of each partition. ``chains``: findings about chains,
    which other steps may have, too.
    """

    model_config = ConfigDict(frozen=True)

    files: tuple[Spilled, ...] = ()
    offsets: dict[int, int] = Field(default_factory=dict)
    report: StepReport = StepReport()
    chains: FindingsReport = FindingsReport()
