"""Instances as nodes with their relationships."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId


@dataclass(frozen=True)
class FoundNode:
    """A node as it lies in its store. ``aggregate_id``: the name by which it is found, even if its content has another.

    ``version``: as the store compares it. ``node`` None: it cannot be read, for the reason in ``damage``.
    """

    aggregate_id: AggregateId
    version: int
    node: GraphNode | None
    damage: str = ""


class Graph(Protocol):
    """The graph of instances: the newest node by version wins, in any order of writes."""

    async def write_nodes(self, nodes: Sequence[GraphNode], *, replaces: bool = False) -> Sequence[Exception | None]:
        """Write each unless one of its version or above is there; return per node None, or why it was not written.

        ``replaces``: also over one of the same version.

        ``StoreUnavailable`` per item is worth repeating; ``InputInvalid`` means that this node can never be held.
        """
        ...

    async def read_nodes(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[GraphNode | None]:
        """Return each node as it is now (real time), tombstones included, or None; raises StoreUnavailable."""
        ...

    async def referring_nodes(
        self, db_name: str, targets: Sequence[AggregateId], predicate: str, *, after: str = "", nodes_max: int
    ) -> Sequence[GraphNode]:
        """Return nodes with an edge of this predicate to any of the targets, in order of aggregate ID, those above
        ``after``, ``nodes_max`` at most; raises StoreUnavailable.

        A write of a moment ago may be missing where the store searches an index that is refreshed.
        """
        ...

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number as of which ``referring`` finds each node, 0 where it finds none."""
        ...

    async def refresh_nodes(self, db_name: str) -> None:
        """Let ``referring_nodes`` find all nodes written so far; for changes of many nodes, not for one read."""
        ...


class GraphCatalogue(Protocol):
    """The graphs of databases as a whole: for operators, for the check of presence, and for verification."""

    def place_of(self, db_name: str) -> str:
        """Return the operator's name for the place of the database's graph."""
        ...

    async def graph_exists(self, db_name: str) -> bool:
        """Return whether there is a graph of the database at all, be it empty; raises StoreUnavailable."""
        ...

    def scan_nodes(self, db_name: str) -> AsyncIterator[FoundNode]:
        """Yield every node of a database, tombstones included, in any order; raises StoreUnavailable.

        A concurrent write may or may not be among them.
        """
        ...


class WholeGraph(Graph, GraphCatalogue, Protocol):
    """Both ports of one graph, for a verification."""
