"""Coordination through Redis, for speed and never for safety: leases on aggregates, and how far commands have come."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.results import CommandResult
from oncelog.domain.unique.entry import ValueChain
from oncelog.ports.stream import Watermark


@dataclass(frozen=True)
class Lease:
    """A lease on an aggregate, granted. Head and watermark are proposals, S3 decides.

    ``known`` is False where Redis lacks the head or the watermark: ``published`` is then at 0, and ``head`` the last
    one that Redis remembers, 0 for none. ``published`` is the watermark of the topic's current generation. ``state`` is
    the cached state at ``head``, if it is small enough to be kept.
    """

    head: int
    published: Watermark
    known: bool
    state: Instance | None


@dataclass(frozen=True)
class Waiting:
    """Another command's lease. ``position``: how many are to come before us, the holder included."""

    position: int


@dataclass(frozen=True)
class StreamProgress:
    """The known progress of a stream: its ``state`` at the head (None leaves the head), and its watermark.

    A watermark is raised within its own generation only. ``release`` releases the lease and the place in the queue, if
    its holder has them.
    """

    aggregate_id: AggregateId
    state: Instance | None = None
    published: Watermark | None = None
    release: bool = False


class Leases(Protocol):
    """Leases on streams, and their known heads: for speed, never for safety (docs/protocol.md, R5).

    Every call takes many aggregates in one round trip.
    """

    async def acquire_leases(
        self, aggregate_ids: Sequence[AggregateId], holder: str, *, queueing: bool = True
    ) -> Sequence[Lease | Waiting]:
        """Acquire each lease that is free, expired or already held by this holder, if no earlier attempt waits for it.

        ``holder`` is the command ID. Where it is not granted, a holder that is ``queueing`` gets a place in the
        queue, and loses it by not asking again for a while.
        """
        ...

    async def save_progress(self, progress: Sequence[StreamProgress], holder: str) -> None:
        """Raise each aggregate's known head and watermark, never lower them, and release the leases to be released."""
        ...

    async def published(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Watermark | None]:
        """Return each watermark of its topic's current generation, or None where none is known."""
        ...

    async def heads(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int | None]:
        """Return each head, the highest slot known to be taken, or None where it is not known."""
        ...

    async def forget_stream(self, aggregate_id: AggregateId) -> None:
        """Drop the known head and watermark, because they were seen to be wrong; lease and queue stay."""
        ...


class ChainHints(Protocol):
    """The last known places of chains of unique values: for speed, never for safety."""

    async def last_places(self, chains: Sequence[ValueChain]) -> Sequence[int | None]:
        """Return the last place of each chain that is known, None where none is."""
        ...

    async def save_last_places(self, places: Sequence[tuple[ValueChain, int]]) -> None:
        """Keep the last place of each chain in place of the one before."""
        ...


class Stage(StrEnum):
    """How far a command has come, in order."""

    ACCEPTED = "ACCEPTED"
    PERSISTED = "PERSISTED"
    PUBLISHED = "PUBLISHED"
    PROJECTED = "PROJECTED"
    COMPLETED = "COMPLETED"
    REJECTED = "REJECTED"


@dataclass(frozen=True)
class CommandStatus:
    """The status of a command. ``history``: each stage and when it was first reached (RFC 3339, worker's clock).

    ``workflow``: Temporal's name for the state of a command that had not come to its end when it was asked, UNKNOWN
    where it has none; None where it was not asked or gave no answer. ``remark``: the remedy where the workflow
    is gone. Neither is kept.
    """

    command_id: str
    command_hash: str
    command_type: str
    aggregate_id: str
    stage: Stage
    history: Sequence[tuple[Stage, str]] = field(default_factory=tuple)
    result: BulkResult | CommandResult | None = None
    workflow: str | None = None
    remark: str = ""


class CommandStatuses(Protocol):
    """The fast answer to a duplicate, and the status of a command from acceptance on; forgotten after a while."""

    async def claim_command(self, status: CommandStatus) -> CommandStatus | None:
        """Claim a command ID (SET NX with TTL): None if it is ours now, else the stored status."""
        ...

    async def complete_command(self, status: CommandStatus) -> None:
        """Keep the final status with its result, adding to the stored history, also if it was forgotten."""
        ...

    async def read_status(self, command_id: str) -> CommandStatus | None:
        """Return the status, or None."""
        ...
