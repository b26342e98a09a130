"""The common port of documents and graph, for their projection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance


@dataclass(frozen=True)
class ProjectionStatus:
    """How far a read model has an aggregate: at this sequence number, 0 where it has nothing of it.

    ``outdated``: what is projected there was made under an earlier definition of its class than the newest.
    """

    sequence_number: int
    outdated: bool = False


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
