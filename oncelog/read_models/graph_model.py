"""The graph as a read model: of each instance, its references under its class's newest definition."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.aggregates.reading import document_data
from oncelog.domain.graph import GraphNode, edge_map
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.errors import InputInvalid, LogDamaged, SchemaUnsupported
from oncelog.ports import Graph, ProjectionStatus
from oncelog.read_models.names import ReadModelName


class ClassSchemaOf(Protocol):
    """Gives the newest rules of an instance's class; None where it is not defined."""

    async def __call__(self, aggregate_id: AggregateId, *, at_least: int) -> ClassSchema | None:
        """``at_least``: the sequence number of a definition that is known to be there, 0 for none."""
        ...


def node_of(state: Instance, class_schema: ClassSchema | None) -> GraphNode:
    """Return the node of an instance; a deleted one refers to nothing, and so does one of an undefined class.

    Raises InputInvalid for an instance that refers to more than a node may.
    """
    aggregate_id = AggregateId.parse(state.aggregate_id)
    edges = _own_edges(state, aggregate_id.db_name)
    if edges is None and class_schema is not None and not state.deleted:
        edges = class_schema.edges(class_schema.current(document_data(state), state.definition), aggregate_id.db_name)
    return GraphNode(
        aggregate_id=aggregate_id,
        sequence_number=state.sequence_number,
        definition_sequence=class_schema.reference.sequence_number if class_schema else 0,
        deleted=state.deleted,
        edges=edges or {},
    )


def _own_edges(state: Instance, db_name: str) -> dict[str, tuple[AggregateId, ...]] | None:
    """Return the edges that the code of an aggregate of one's own says; None where it says none."""
    if state.state_version is None or state.deleted:
        return None
    edges = registry().of_state(state.state_version).edges(state.data, db_name)
    return None if edges is None else edge_map(edges)


class GraphModel:
    """The ``ReadModel`` of the graph."""

    name = ReadModelName.GRAPH

    def __init__(self, graph: Graph, class_schema_of: ClassSchemaOf) -> None:
        self._graph = graph
        self._class_schema_of = class_schema_of

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Write each state's node unless a newer one is there."""
        return await self._write(states, replaces=False)

    async def replace_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Do the same, and also write over nodes of the same version."""
        return await self._write(states, replaces=True)

    async def _write(self, states: Sequence[Instance], *, replaces: bool) -> Sequence[Exception | None]:
        class_schemas = await self._class_schemas(states)
        nodes = [_node_or_refusal(state, class_schemas) for state in states]
        writable = [node for node in nodes if isinstance(node, GraphNode)]
        outcomes = iter(await self._graph.write_nodes(writable, replaces=replaces))
        return [next(outcomes) if isinstance(node, GraphNode) else node for node in nodes]

    async def refresh(self, db_name: str) -> None:
        """Let searches of the graph find all nodes projected so far; raises StoreUnavailable."""
        await self._graph.refresh_nodes(db_name)

    async def projected_versions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number of each one's node, 0 where there is none; raises StoreUnavailable."""
        return [node.sequence_number if node else 0 for node in await self._graph.read_nodes(aggregate_ids)]

    async def projection_statuses(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[ProjectionStatus]:
        """Return the status of each one's node, by events and by definition; raises StoreUnavailable, LogDamaged."""
        nodes = await self._graph.read_nodes(aggregate_ids)
        there = {(node.aggregate_id.db_name, node.aggregate_id.class_id): node.aggregate_id for node in nodes if node}
        newest = {names: await self._newest_definition(aggregate_id) for names, aggregate_id in there.items()}
        return [_standing(node, newest) if node else ProjectionStatus(0) for node in nodes]

    async def _class_schemas(self, states: Sequence[Instance]) -> Mapping[AggregateId, ClassSchema | None]:
        """Return the schema of each state's class: the newest, and at least that of any of the states."""
        known: dict[AggregateId, tuple[AggregateId, int]] = {}
        for state in states:
            aggregate_id = AggregateId.parse(state.aggregate_id)
            number = state.definition.sequence_number if state.definition else 0
            _, at_least = known.get(aggregate_id.class_name, (aggregate_id, 0))
            known[aggregate_id.class_name] = (aggregate_id, max(at_least, number))
        return {
            name: await self._class_schema_of(aggregate_id, at_least=at_least)
            for name, (aggregate_id, at_least) in known.items()
        }

    async def _newest_definition(self, aggregate_id: AggregateId) -> int:
        """Return the sequence number of the newest definition of its class, 0 where there is none to go by.

        Damage in a class's log says nothing of its instances' nodes; it is reported of the class.
        """
        try:
            class_schema = await self._class_schema_of(aggregate_id, at_least=0)
        except (LogDamaged, SchemaUnsupported):
            return 0
        return class_schema.reference.sequence_number if class_schema else 0


def _standing(node: GraphNode, newest: Mapping[tuple[str, str], int]) -> ProjectionStatus:
    names = node.aggregate_id.db_name, node.aggregate_id.class_id
    return ProjectionStatus(node.sequence_number, node.definition_sequence < newest[names])


def _node_or_refusal(
    state: Instance, class_schemas: Mapping[AggregateId, ClassSchema | None]
) -> GraphNode | InputInvalid:
    try:
        return node_of(state, class_schemas[AggregateId.parse(state.aggregate_id).class_name])
    except InputInvalid as error:
        return error
