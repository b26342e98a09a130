"""Models of an archive run: its request, its plan, the reports of its steps, and the sum of them."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from oncelog.domain.frozen_model import Value
from oncelog.domain.identifiers import CLASSES, NAME

DbName = Annotated[str, StringConstraints(pattern=f"^{NAME.pattern}$")]
ClassName = Annotated[str, StringConstraints(pattern=f"^({NAME.pattern}|{CLASSES})$")]

DAMAGES_NAMED_MAX = 20


class PackReport(Value):
    """The outcome of one packing step.

    ``position``: the stream to go on with, None at the end of the class. ``conflict``: another archiver published
    meanwhile; nothing was done. ``lost``: files that were gone or damaged, and were dropped: their events are archived
    again by a further pass. ``damages``: streams with a log that cannot be archived.
    """

    position: str | None
    events: int = 0
    files: int = 0
    conflict: bool = False
    lost: int = 0
    damages: tuple[str, ...] = ()


class MergeReport(Value):
    """The outcome of one merging step: nothing where ``files_before`` is 0."""

    files_before: int = 0
    files_after: int = 0
    events: int = 0
    conflict: bool = False
    lost: int = 0


class ArchiveCounts(BaseModel):
    """The sum of the steps so far."""

    model_config = ConfigDict(frozen=True)

    classes: int = 0
    events: int = 0
    files: int = 0
    merged: int = 0
    removed: int = 0
    lost: int = 0
    conflicts: int = 0
    damages: tuple[str, ...] = ()

    def packed(self, report: PackReport) -> Self:
        """Return the counts with a packing step added."""
        return self.model_copy(
            update={
                "events": self.events + report.events,
                "files": self.files + report.files,
                "lost": self.lost + report.lost,
                "conflicts": self.conflicts + report.conflict,
                "damages": tuple(dict.fromkeys((*self.damages, *report.damages)))[:DAMAGES_NAMED_MAX],
            }
        )


class ArchivePlan(BaseModel):
    """The classes of a run, ``(db_name, class_id)`` each, and when it began by S3's clock (RFC 3339)."""

    model_config = ConfigDict(frozen=True)

    started_at: str
    classes: tuple[tuple[str, str], ...]


class ArchiveProgress(BaseModel):
    """The progress of a run: the rest of its plan."""

    model_config = ConfigDict(frozen=True)

    plan: ArchivePlan
    total: int
    counts: ArchiveCounts = ArchiveCounts()


class ArchiveRequest(BaseModel):
    """A run over everything, or over one database or class. ``so_far`` is for the workflow itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    db_name: DbName | None = None
    class_id: ClassName | None = None
    parallel: int = Field(default=2, ge=1, le=64)
    so_far: ArchiveProgress | None = None

    @model_validator(mode="after")
    def _names_a_scope(self) -> Self:
        if self.class_id and not self.db_name:
            raise ValueError("expected a db_name with the class_id")
        return self

    @property
    def scope(self) -> str:
        """The scope in words."""
        return "/".join(name for name in (self.db_name, self.class_id) if name) or "everything"


class ArchiveReport(BaseModel):
    """How far an archive run has come, or its result. ``damaged``: whether some of the log cannot be archived."""

    model_config = ConfigDict(frozen=True)

    scope: str
    started_at: str | None = None
    classes_total: int | None = None
    counts: ArchiveCounts = ArchiveCounts()

    @property
    def damaged(self) -> bool:
        return bool(self.counts.damages)
