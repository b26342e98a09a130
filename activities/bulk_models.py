"""Models of a bulk command: between workflow and activities, and for its callers."""

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from oncelog.bulk.run import Progress
from oncelog.domain.bulk.records import Closed
from oncelog.domain.bulk.results import BulkResult, Counts


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class BulkOpenRequest(_Model):
    """A validated bulk command as JSON, and the workflow's time for it."""

    command: dict[str, Any]
    occurred_at: str


class BulkOpened(_Model):
    """How many items in how many chunks there are to do; or the result, where there is nothing to do."""

    items: int = 0
    chunks: int = 0
    result: BulkResult | None = None


class BulkRunRequest(_Model):
    """A bulk command by its ID, and how far it has come: its record has all else."""

    command_id: str
    progress: Progress


class BulkCloseRequest(_Model):
    """A bulk command that is to end before its next chunk."""

    command_id: str
    progress: Progress
    reason: Closed


class BulkDeliverRequest(_Model):
    """Chunks at their end with events not known to be delivered."""

    command_id: str
    chunks: list[int]


class BulkFinishRequest(_Model):
    """A bulk command with all its chunks at their end."""

    command_id: str


class BulkStage(StrEnum):
    """The step that a bulk command is at. ``PAUSING``: told to pause, it still ends the chunk that it has begun."""

    OPENING = "OPENING"
    RUNNING = "RUNNING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    CANCELLING = "CANCELLING"
    DELIVERING = "DELIVERING"
    REPORTING = "REPORTING"
    DONE = "DONE"


class BulkView(_Model):
    """How far a bulk command has come, for people and programs: the answer to the query ``progress``.

    ``undelivered``: how many chunks are not known to be published and projected all. ``ended``: how its workflow ended
    without a result (TERMINATED …), which the workflow itself cannot say; the stage is then the last one that it
    reached.
    """

    stage: BulkStage = BulkStage.OPENING
    counts: Counts = Counts()
    chunks: int = 0
    chunks_done: int = 0
    undelivered: int = 0
    durations_ms: dict[str, float] = Field(default_factory=dict)
    ended: str | None = None


class BulkContinuation(_Model):
    """The state that one run of the workflow passes to the next."""

    command_id: str
    command_type: str
    db_name: str
    class_id: str
    items: int
    chunks: int
    progress: Progress
    backlog: list[int]
    paused: bool
