"""The common port of documents and graph, for their projection."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance


@dataclass(frozen=True)
class ProjectionStatus:
    """How far a read model shows an aggregate: at this sequence number, 0 where it shows nothing of it.

    ``outdated``: what is shown there was made under an earlier definition of its class than the newest.
    """

    sequence_number: int
    outdated: bool = False


class ReadModel(Protocol):
    """A view of the log: documents, a graph. A pure function of each aggregate's events.

    It is shown states, not events: a state at a sequence number carries every event up to it, so that repeated, late
    and left out writes cannot make a read model wrong, and folding is done once for all read models.
    """

    @property
    def name(self) -> str:
        """The name in dead letters, consumer groups and metrics."""
        ...

    async def apply(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Show each state unless a later one is shown; return per state None, or why that one is not shown.

        ``StoreUnavailable`` per item is worth repeating; any other error means that this state can never be shown.
        """
        ...

    async def positions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number that is shown of each aggregate, 0 where nothing is."""
        ...

    async def projection_statuses(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[ProjectionStatus]:
        """Return the projection status of each aggregate, for reconciliation; raises LogDamaged besides."""
        ...
