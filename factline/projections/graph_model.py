"""The graph as a read model: of each instance, what it refers to as its class's newest definition says."""

from collections.abc import Sequence
from typing import Protocol

from factline.domain.graph import GraphNode
from factline.domain.identifiers import AggregateId
from factline.domain.instance import Instance
from factline.domain.ontology.rules import Rules
from factline.errors import InputInvalid
from factline.ports import Graph


class RulesOf(Protocol):
    """Gives the newest rules of an instance's class; None where it is not defined."""

    async def __call__(self, aggregate_id: AggregateId, *, at_least: int) -> Rules | None:
        """``at_least``: the sequence number of a definition that is known to be there, 0 for none."""
        ...


def node_of(state: Instance, rules: Rules | None) -> GraphNode:
    """Return the node of an instance; a deleted one refers to nothing, and so does one of an undefined class.

    Raises InputInvalid for an instance that refers to more than a node may.
    """
    aggregate_id = AggregateId.parse(state.aggregate_id)
    edges = {}
    if rules is not None and not state.deleted:
        edges = rules.edges(rules.current(state.data, state.definition), aggregate_id.db_name)
    return GraphNode(
        aggregate_id=aggregate_id,
        sequence_number=state.sequence_number,
        definition_sequence=rules.reference.sequence_number if rules else 0,
        deleted=state.deleted,
        edges=edges,
    )


class GraphModel:
    """The ``ReadModel`` of the graph."""

    name = "graph"

    def __init__(self, graph: Graph, rules_of: RulesOf) -> None:
        self._graph = graph
        self._rules_of = rules_of

    async def apply(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Write each state's node unless a newer one is there."""
        rules: dict[tuple[str, str], Rules | None] = {}
        known = _newest_known(states)
        outcomes: list[Exception | None] = [None] * len(states)
        nodes: dict[int, GraphNode] = {}
        for index, state in enumerate(states):
            aggregate_id = AggregateId.parse(state.aggregate_id)
            names = (aggregate_id.db_name, aggregate_id.class_id)
            if names not in rules:
                rules[names] = await self._rules_of(aggregate_id, at_least=known[names])
            try:
                nodes[index] = node_of(state, rules[names])
            except InputInvalid as error:
                outcomes[index] = error
        for index, outcome in zip(nodes, await self._graph.write(list(nodes.values())), strict=True):
            outcomes[index] = outcome
        return outcomes

    async def refresh(self, db_name: str) -> None:
        """Let searches of the graph find whatever was shown so far; raises StoreUnavailable."""
        await self._graph.refresh(db_name)

    async def positions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number of each one's node, 0 where there is none; raises StoreUnavailable."""
        return [node.sequence_number if node else 0 for node in await self._graph.read(aggregate_ids)]


def _newest_known(states: Sequence[Instance]) -> dict[tuple[str, str], int]:
    """Return of each class the newest definition that any of its instances was decided under, 0 for none."""
    found: dict[tuple[str, str], int] = {}
    for state in states:
        aggregate_id = AggregateId.parse(state.aggregate_id)
        names = (aggregate_id.db_name, aggregate_id.class_id)
        found[names] = max(found.get(names, 0), state.definition.sequence_number if state.definition else 0)
    return found
