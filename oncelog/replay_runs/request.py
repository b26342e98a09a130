"""Models of a replay run: its request, its plan, its reports. Its workflow and activities exchange them."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from oncelog.domain.commands import ClassId, DbName
from oncelog.domain.frozen_model import summed_counts
from oncelog.read_models.index_rebuild import SwitchedIndex
from oncelog.read_models.names import ReadModelName
from oncelog.replay_runs.formats import ExportFormat
from oncelog.replay_runs.partitions import PlanTotals

#: A partition is closed once it has so many events, at the end of an aggregate.
PARTITION_EVENTS = 10_000
PARALLEL_MAX = 64
FINDINGS_KEPT_MAX = 100


class ReplayMode(StrEnum):
    """The purpose of a replay. Each mode computes the digests of all that it folds.

    ``VERIFY``: they are held against those of the last replay of the same scope, and the states against documents and
    nodes. ``AS_OF``: the states are written to S3 as files, as they stand or stood. ``REBUILD``: a read model is made
    again from the log. ``REPUBLISH``: every event is sent to a topic. ``RESTORE``: all that is derived is brought back.
    """

    VERIFY = "verify"
    AS_OF = "as_of"
    REBUILD = "rebuild"
    REPUBLISH = "republish"
    RESTORE = "restore"


class ReplayScope(BaseModel):
    """The part of the log that is replayed: all of it, a database, a class, or one aggregate.

    ``since``: only aggregates with an event written at or after this time, by S3's clock. ``as_of_time``,
    ``as_of_version``: each aggregate as it stood then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    db_name: DbName | None = None
    class_id: Literal["_class"] | ClassId | None = None  # the class of the definitions, or any other
    aggregate_id: str | None = None
    since: AwareDatetime | None = None
    as_of_time: AwareDatetime | None = None
    as_of_version: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.class_id is not None and self.db_name is None:
            raise ValueError("class_id: expected db_name with it, found none")
        if self.aggregate_id is not None and (self.db_name or self.class_id):
            raise ValueError("aggregate_id: expected no db_name and no class_id beside it")
        if self.as_of_time is not None and self.as_of_version is not None:
            raise ValueError("expected either as_of_time or as_of_version, found both")
        return self

    @property
    def name(self) -> str:
        """The part of the log in words, such as ``shop/Product``."""
        return self.aggregate_id or "/".join(part for part in (self.db_name, self.class_id) if part) or "everything"

    @property
    def is_whole(self) -> bool:
        """Whether every aggregate of a class is folded to its head, so that roots can be compared with others."""
        return self.aggregate_id is None and self.since is None and not (self.as_of_time or self.as_of_version)


class ReplayFinding(BaseModel):
    """A thing that is not as it must be: a stable code, the place, and the expected and actual content."""

    model_config = ConfigDict(frozen=True)

    code: str
    where: str
    found: str


class ReplayCounts(BaseModel):
    """Sums over partitions. ``findings``: the first ones; ``findings_count``: all of them.

    ``archived``: events that came from the archive. ``projected``: documents and nodes written, or there already;
    ``parked``: aggregates that cannot be projected. ``published``: events sent.
    """

    model_config = ConfigDict(frozen=True)

    partitions: int = 0
    aggregates: int = 0
    events: int = 0
    archived: int = 0
    bytes_written: int = 0
    projected: int = 0
    parked: int = 0
    published: int = 0
    findings_count: int = 0
    findings: tuple[ReplayFinding, ...] = ()

    def __add__(self, other: "ReplayCounts") -> "ReplayCounts":
        return ReplayCounts(
            **summed_counts(ReplayCounts, (self, other)),
            findings=(*self.findings, *other.findings)[:FINDINGS_KEPT_MAX],
        )


class ReplayProgress(BaseModel):
    """How far a replay has come, for a run of its workflow that goes on where another has ended."""

    model_config = ConfigDict(frozen=True)

    totals: PlanTotals
    started_at: datetime
    next_partition: int = 0
    counts: ReplayCounts = ReplayCounts()


class ReplayRequest(BaseModel):
    """A replay. ``parallel``: partitions at a time. ``events_per_s``: at most, over all of them; None: no limit.

    ``partition_events``: about so many events to a partition, which is the unit of work and of progress.

    ``read_model``: for a rebuild. ``topic``: for republish.

    ``dry_run``: only plan, and estimate. ``compare_with``: the ID of an earlier replay; None: the last one of the same
    scope. ``so_far``: for the replay itself, which goes on in a run of its own when its history grows long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: ReplayMode = ReplayMode.VERIFY
    scope: ReplayScope = ReplayScope()
    format: ExportFormat = ExportFormat.NDJSON
    read_model: ReadModelName = ReadModelName.DOCUMENTS
    topic: str | None = None
    parallel: Annotated[int, Field(ge=1, le=PARALLEL_MAX)] = 4
    events_per_s: Annotated[float, Field(gt=0)] | None = None
    partition_events: Annotated[int, Field(ge=1)] = PARTITION_EVENTS
    dry_run: bool = False
    compare_with: str | None = None
    so_far: ReplayProgress | None = None

    @model_validator(mode="after")
    def _is_whole_where_that_counts(self) -> Self:
        if self.mode is ReplayMode.REBUILD and not self.scope.is_whole:
            raise ValueError("rebuild: expected a database or a class, found a part of one, or another moment")
        if self.mode in (ReplayMode.RESTORE, ReplayMode.REPUBLISH) and (
            self.scope.as_of_time or self.scope.as_of_version
        ):
            raise ValueError(f"{self.mode}: expected all events, found another moment")
        if self.mode is ReplayMode.REPUBLISH and not self.topic:
            raise ValueError("republish: expected a topic, found none")
        return self


class TreeReport(BaseModel):
    """A class or a database: how many leaves its tree has, and its Merkle root in hexadecimal."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: int
    root: str


class Comparison(BaseModel):
    """Digests held against those of an earlier replay. ``changed``: aggregates with new events since then."""

    model_config = ConfigDict(frozen=True)

    replay_id: str
    same: int = 0
    changed: int = 0
    added: int = 0
    findings_count: int = 0
    findings: tuple[ReplayFinding, ...] = ()


class ExportedFile(BaseModel):
    """A file of an export in S3, with its SHA-256 in hexadecimal."""

    model_config = ConfigDict(frozen=True)

    key: str
    rows: int
    size_bytes: int
    sha256: str


class ExportedFiles(BaseModel):
    """The files of a partition, or of a whole export, in the order of their keys."""

    model_config = ConfigDict(frozen=True)

    files: tuple[ExportedFile, ...] = ()


class ReplayEnd(BaseModel):
    """The joined digests of a replay. ``databases``, ``classes``: sorted by name.

    ``manifest``: the key in S3 of the list of exported files; None where nothing was exported. ``switched``: classes
    with readers that see another index.
    """

    model_config = ConfigDict(frozen=True)

    manifest: str | None = None
    rows: int = 0
    switched: tuple[SwitchedIndex, ...] = ()

    databases: tuple[TreeReport, ...] = ()
    classes: tuple[TreeReport, ...] = ()
    comparison: Comparison | None = None


class ReplayOutcome(StrEnum):
    """The outcome of a replay."""

    RUNNING = "RUNNING"
    PLANNED = "PLANNED"  # a dry run
    SOUND = "SOUND"
    VIOLATED = "VIOLATED"  # see the findings


class ReplayReport(BaseModel):
    """A replay so far, or at its end. Times are the workflow's; ``remaining_s``: by the speed so far.

    ``files``: the folder in S3 that holds its digests, reports and exported files.
    """

    model_config = ConfigDict(frozen=True)

    replay_id: str
    outcome: ReplayOutcome
    mode: ReplayMode
    scope: str
    paused: bool = False
    started_at: datetime | None = None
    totals: PlanTotals | None = None
    counts: ReplayCounts = ReplayCounts()
    events_per_s: float | None = None
    remaining_s: float | None = None
    files: str
    end: ReplayEnd | None = None
