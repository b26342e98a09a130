"""Ports of reconciliation: the log catalogue, its checkpoint, and the workflows under way."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, Protocol, TypeVar

from oncelog.domain.identifiers import AggregateId
from oncelog.ports.stream import Generations

Item = TypeVar("Item")


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some of many, in the order of their keys. ``position``: the key to go on after, None on the last page."""

    items: Sequence[Item]
    position: str | None


@dataclass(frozen=True)
class KnownCommand:
    """A command that has a record. ``written_at``: when the newest was written that was listed, by S3's clock.

    ``last_record``: the number of the last record that was listed; there may be later ones.
    """

    command_id: str
    written_at: datetime
    last_record: int = 1

    @property
    def log_fields(self) -> Mapping[str, str | int]:
        """The fields that name it in log entries."""
        return {"command_id": self.command_id}


@dataclass(frozen=True)
class ListedStream:
    """How far an aggregate's log goes. ``written_at``: when its head was written, by S3's clock.

    ``missing``: the lowest slot below the head that was not listed; of a log longer than a page, only the slots on
    the page are checked.
    """

    aggregate_id: AggregateId
    head: int
    written_at: datetime
    missing: int | None = None

    @property
    def log_fields(self) -> Mapping[str, str | int]:
        """The fields that name it in log entries."""
        named = {"aggregate_id": str(self.aggregate_id)}
        return {**named, "sequence_number": self.head} if self.head else named


class LogCatalogue(Protocol):
    """The streams and commands in the log, by listing alone: for readers of all of it, never to decide on a command."""

    async def commands(self, *, after: str = "") -> Page[KnownCommand]:
        """Return the next commands that have a record; ``after``: the position of the page before."""
        ...

    async def listed_streams(
        self, *, after: str = "", db_name: str | None = None, class_id: str | None = None
    ) -> Page[ListedStream]:
        """Return the next aggregates that have events; ``class_id`` goes with ``db_name`` only."""
        ...

    async def classes(self, *, after: str = "", db_name: str | None = None) -> Page[ListedStream]:
        """Return the next classes that have events of their own; a page may be empty and not be the last."""
        ...

    async def class_names(self, *, db_name: str | None = None) -> Sequence[tuple[str, str]]:
        """Return ``(db_name, class_id)`` of each class that has events, of it or of its instances.

        The classes themselves are the class ``_class`` of their database. One request per class.
        """
        ...

    async def parking_read_models(self) -> Sequence[str]:
        """Return the names of all read models that ever had a dead letter. One request per name."""
        ...


@dataclass(frozen=True)
class LogCheckpoint:
    """A checkpoint: all that was written until ``through`` was seen whole, published in topics of these generations."""

    through: datetime
    generations: Generations

    def published_in(self, generations: Generations) -> datetime | None:
        """Return until when all is published in these generations, None if the checkpoint is of others."""
        return self.through if self.generations == generations else None


class Checkpoints(Protocol):
    """The checkpoint: up to which time the log is known to be complete, by S3's own clock, so that a check need
    not read all of it each time.
    """

    async def now(self) -> datetime:
        """Return the time by S3's clock."""
        ...

    async def read_checkpoint(self) -> LogCheckpoint | None:
        """Return the checkpoint, or None if there is none that is readable."""
        ...

    async def save_checkpoint(self, through: datetime, generations: Generations) -> None:
        """Save the checkpoint, with the generations that were current when the check began."""
        ...


class RunningWorkflows(Protocol):
    """The open workflows. Its answer may be out of date at once, so it saves work and is no ground for safety."""

    async def is_running(self, command_id: str) -> bool:
        """Return whether the command's workflow is open; False where Temporal knows nothing of it (any more)."""
        ...

    async def running_among(self, command_ids: Collection[str]) -> Collection[str]:
        """Return the commands that have an open workflow, by a single query where they are many.

        A workflow that was started or has ended within the last seconds may be reported wrongly.
        """
        ...
