"""The common port of documents and graph, for their projection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance


@dataclass(frozen=True)
class ProjectionStatus:
    """How far a read model has an aggregate: at this sequence number, 0 where it has nothing of it.

    ``outdated``: its projection was made under an earlier definition of its class than the newest.
    """

    sequence_number: int
    outdated: bool = False


@runtime_checkable
class ReadModel(Protocol):
    """A projection of the log: documents, a graph. A pure function of each aggregate's events.

    It receives states, not events: a state at a sequence number carries every event up to it, so that repeated, late
    and left out writes cannot make a read model wrong, and folding is done once for all read models.
    """

    @property
    def name(self) -> str:
        """The name in dead letters, consumer groups and metrics."""
        ...

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Project each state unless a later one is projected; return per state None, or why that one is not projected.

        ``StoreUnavailable`` per item is worth repeating; any other error means that this state can never be projected.
        """
        ...

    async def projected_versions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number at which each aggregate is projected, 0 where it is not."""
        ...

    async def projection_statuses(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[ProjectionStatus]:
        """Return the projection status of each aggregate, for reconciliation; raises LogDamaged besides."""
        ...


@dataclass(frozen=True)
class Changes:
    """New events of an aggregate, through ``sequence_number``.

    ``first``: the lowest number that the stream brought anew. ``at_hand``: those events that need not be read from the
    log, by number.
    """

    aggregate_id: str
    first: int
    sequence_number: int
    at_hand: Mapping[int, Event]


@runtime_checkable
class EventReadModel(Protocol):
    """A function of events rather than states, such as a counter across aggregates, or a reaction.

    It has to know by itself which events it has: it may be shown some of them again, and some of them may be missing.
    """

    @property
    def name(self) -> str:
        """The name in dead letters, consumer groups and metrics."""
        ...

    async def project_events(self, changes: Sequence[Changes]) -> Sequence[Exception | None]:
        """Apply each aggregate's events up to its number, in order; return as ``ReadModel.project_states`` does.

        An error with ``sequence_number`` among its details is about that event; those before it are applied.
        """
        ...

    async def projected_versions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number through which each aggregate's events are applied, 0 where none are."""
        ...
