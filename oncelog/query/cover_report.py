"""The report of a run that brings the instances of a class under its unique constraints."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from oncelog.domain.events import DefinitionReference
from oncelog.domain.results import Rejection, RejectionCode


class CoverRefusal(BaseModel):
    """An instance that could not be covered. ``version``: the instance's; ``rejection``: why."""

    model_config = ConfigDict(frozen=True)

    aggregate_id: str
    version: int
    rejection: Rejection

    @property
    def is_duplicate(self) -> bool:
        """Whether another instance holds a value of it."""
        return self.rejection.code is RejectionCode.UNIQUE_VIOLATED

    def detail(self, name: str) -> Any:
        """Return a detail of the rejection, such as ``holder``; None where it has no such detail."""
        return self.rejection.details.get(name)


class CoverReport(BaseModel):
    """The end of a run. ``instances``: those alive when they were looked at; ``covered``: by this run.

    ``since``: by constraint, the sequence number of the definition that brought it. ``uncovered``: by constraint, how
    many instances are left. ``refused``: the count of all, of which ``refusals`` are the first; ``commands``: the bulk
    commands that name all in their results. ``not_attempted``: left by a cancelled bulk command. ``unreadable``:
    instances with an unreadable last event, which count as not covered. ``ended_at``: by S3's clock, RFC 3339.
    """

    model_config = ConfigDict(frozen=True)

    db_name: str
    class_id: str
    definition: DefinitionReference
    retired: bool = False
    since: dict[str, int] = {}
    instances: int = 0
    covered: int = 0
    refused: int = 0
    not_attempted: int = 0
    unreadable: int = 0
    uncovered: dict[str, int] = {}
    refusals: tuple[CoverRefusal, ...] = ()
    commands: tuple[str, ...] = ()
    ended_at: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every constraint covers every instance."""
        return not any(self.uncovered.values())
