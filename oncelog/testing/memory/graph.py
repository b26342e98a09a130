"""The in-memory twin of the graph."""

from collections.abc import AsyncIterator, Sequence

from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import GRAPH_ALIAS
from oncelog.errors import StoreUnavailable
from oncelog.ports import FoundNode
from oncelog.testing.memory.pause import Pause, let_others


class MemoryGraph:
    """``Graph`` without a server. ``available`` False plays an outage; ``nodes`` may be emptied by a test.

    ``pause`` lets other callers go first.
    """

    def __init__(self) -> None:
        self.nodes: dict[AggregateId, GraphNode] = {}
        self.available = True
        self.pause: Pause = let_others

    async def write_nodes(self, nodes: Sequence[GraphNode], *, replaces: bool = False) -> Sequence[Exception | None]:
        await self.pause()
        return [self._write(node, replaces=replaces) for node in nodes]

    async def read_nodes(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[GraphNode | None]:
        await self.pause()
        self._demand(f"reading {len(aggregate_ids)} nodes")
        return [self.nodes.get(aggregate_id) for aggregate_id in aggregate_ids]

    async def referring_nodes(
        self, db_name: str, targets: Sequence[AggregateId], predicate: str, *, after: str = "", nodes_max: int
    ) -> Sequence[GraphNode]:
        await self.pause()
        self._demand(f"searching {predicate} in the graph of {db_name}")
        wanted = set(targets)
        found = (
            node
            for node in self.nodes.values()
            if node.aggregate_id.db_name == db_name
            and str(node.aggregate_id) > after
            and wanted.intersection(node.edges.get(predicate, ()))
        )
        return sorted(found, key=lambda node: str(node.aggregate_id))[:nodes_max]

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        return [node.sequence_number if node else 0 for node in await self.read_nodes(aggregate_ids)]

    def place_of(self, db_name: str) -> str:
        return f"{GRAPH_ALIAS}.{db_name}"

    async def graph_exists(self, db_name: str) -> bool:
        self._demand(f"looking for the graph of {db_name}")
        return any(aggregate_id.db_name == db_name for aggregate_id in self.nodes)

    async def refresh_nodes(self, db_name: str) -> None:
        """A write is found at once."""

    async def scan_nodes(self, db_name: str) -> AsyncIterator[FoundNode]:
        self._demand(f"reading the graph of {db_name}")
        for aggregate_id, node in list(self.nodes.items()):
            if aggregate_id.db_name == db_name:
                await self.pause()
                yield FoundNode(aggregate_id, node.version, node)

    def _write(self, node: GraphNode, *, replaces: bool) -> Exception | None:
        if not self.available:
            return StoreUnavailable("the graph in memory", f"writing node {node.aggregate_id}", "made unavailable")
        present = self.nodes.get(node.aggregate_id)
        if present is None or present.version < node.version + replaces:
            self.nodes[node.aggregate_id] = node
        return None

    def _demand(self, doing: str) -> None:
        if not self.available:
            raise StoreUnavailable("the graph in memory", doing, "made unavailable")
