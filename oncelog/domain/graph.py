"""The graph: lightweight nodes with their relationships only, nothing of an instance's data."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import EDGES_MAX
from oncelog.errors import InputInvalid

#: Room for the definition's sequence number below that of the instance in a node's version.
DEFINITION_BITS = 20


@dataclass(frozen=True)
class GraphNode:
    """One instance in the graph: its ID, the events that it reflects, and its references.

    ``definition_sequence``: the sequence number of the class's definition that declares the relationships, 0 where
    there is none. ``edges``: predicate to the instances referred to, each once, in order of their IDs; none in a
    tombstone.
    """

    aggregate_id: AggregateId
    sequence_number: int
    definition_sequence: int = 0
    deleted: bool = False
    edges: Mapping[str, tuple[AggregateId, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = sum(len(targets) for targets in self.edges.values())
        if count > EDGES_MAX:
            raise InputInvalid(
                f"node {self.aggregate_id}: expected at most {EDGES_MAX} references, found {count}; "
                "let the other side refer to this one instead"
            )
        if self.definition_sequence >= 2**DEFINITION_BITS:
            raise InputInvalid(
                f"node {self.aggregate_id}: expected a class with fewer than {2**DEFINITION_BITS} definitions, "
                f"found {self.definition_sequence}"
            )

    @property
    def version(self) -> int:
        """A number that grows with every event, and with every definition at the same event; it fences writes."""
        return self.sequence_number << DEFINITION_BITS | self.definition_sequence

    @property
    def targets(self) -> tuple[AggregateId, ...]:
        """The IDs of all instances that the node refers to, each once, sorted."""
        return tuple(sorted({target for targets in self.edges.values() for target in targets}, key=str))


def edge_map(edges: Mapping[str, set[AggregateId]]) -> dict[str, tuple[AggregateId, ...]]:
    """Return edges as a node holds them: predicates and targets in order, without empty ones."""
    return {predicate: tuple(sorted(targets, key=str)) for predicate, targets in sorted(edges.items()) if targets}
