"""Models between workflows and activities: one model in, one model out."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from oncelog.domain.results import CommandResult
from oncelog.replay.trace import StepReport


class CommitRequest(BaseModel):
    """A validated command as JSON, the workflow's time for it, and whether to publish while holding the lease."""

    model_config = ConfigDict(frozen=True)

    command: dict[str, Any]
    occurred_at: str
    publish: bool = True


class CommitReport(BaseModel):
    """The outcome of the command, and whether its event is on Kafka already."""

    model_config = ConfigDict(frozen=True)

    result: CommandResult
    published: bool
    steps: list[StepReport]


class DeliverRequest(BaseModel):
    """A command that came to its end, and the steps it went through so far."""

    model_config = ConfigDict(frozen=True)

    command_type: str
    result: CommandResult
    published: bool
    steps: list[StepReport]


class DeliverReport(BaseModel):
    """The steps taken now. ``failures``: step to the reason why it is not done."""

    model_config = ConfigDict(frozen=True)

    steps: list[StepReport]
    failures: dict[str, str] = Field(default_factory=dict)


class ReindexRequest(BaseModel):
    """A class, by its own aggregate ID, and the definition that was committed just now."""

    model_config = ConfigDict(frozen=True)

    class_name: str
    sequence_number: int
