"""The graph against the log: each node is that of the fold at its own sequence number under the definition that it
names, which is the newest one of its class; none missing, stale or foreign.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from oncelog.domain.events import EventType
from oncelog.domain.graph import DEFINITION_BITS
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.ports import FoundNode
from oncelog.read_models.graph_model import GraphModel
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import EventFacts, LogFacts, node_digest
from oncelog.verification.shown import Codes, Seen, ShownAudit
from oncelog.verification.stream import waiting_for


@dataclass(frozen=True)
class _Seen(Seen):
    definition_sequence: int
    digest: bytes | None  # None: not to be read, which was said


class NodeAudit(ShownAudit[_Seen]):
    """The audit of the graph's nodes. Classes have none."""

    read_model = GraphModel.name
    each = "node"
    codes = Codes(
        missing=Code.NODE_MISSING,
        stale=Code.NODE_STALE,
        parked=Code.NODE_PARKED,
        wrong=Code.NODE_WRONG,
        foreign=Code.NODE_FOREIGN,
    )

    def add(self, found: FoundNode) -> None:
        """Keep what is needed of a node."""
        aggregate_id, node = str(found.aggregate_id), found.node
        wrong = ""
        if node is None:
            wrong = f"expected a node, found {found.damage}"
        elif (node.aggregate_id, node.version) != (found.aggregate_id, found.version):
            wrong = f"expected {aggregate_id} at {found.version}, found {node.aggregate_id} at {node.version}"
        if wrong:
            self.findings.append(Finding(Code.NODE_WRONG, f"node {aggregate_id}", f"{wrong}; rebuild it"))
        sequence_number, definition_sequence = divmod(found.version, 1 << DEFINITION_BITS)
        self._seen[aggregate_id] = _Seen(sequence_number, definition_sequence, node_digest(node) if node else None)

    @property
    def aggregates_ahead(self) -> set[str]:
        """Besides those of the node's own log, classes with a definition that is younger, and who is shown under it."""
        ahead = super().aggregates_ahead
        for aggregate_id, seen in self._seen.items():
            name = _class_of(aggregate_id)
            log = self.logs.get(name)
            if seen.definition_sequence > (log.head if log else 0):
                ahead |= {name, aggregate_id}
        return ahead

    def _has(self, aggregate_id: str) -> bool:
        return AggregateId.parse(aggregate_id).class_id != CLASSES

    def _is_right(self, aggregate_id: str, event: EventFacts, seen: _Seen) -> bool:
        log = self.logs.get(_class_of(aggregate_id))
        if seen.digest is None or event.node_digests is None or (log and log.findings):
            return True
        return seen.digest == dict(event.node_digests).get(seen.definition_sequence)

    def _behind(self, aggregate_id: str, log: LogFacts) -> Iterator[Finding]:
        """Yield besides what is behind its class: right as soon as the definition has come to its end."""
        behind = list(super()._behind(aggregate_id, log))
        yield from behind
        seen, class_log = self._seen.get(aggregate_id), self.logs.get(_class_of(aggregate_id))
        if behind or seen is None or class_log is None or class_log.findings:
            return
        newest = _newest_definition(class_log)
        if seen.definition_sequence < newest:
            yield Finding(
                Code.NODE_STALE,
                f"node {aggregate_id}",
                f"expected its edges under definition {newest} of the class, found definition "
                f"{seen.definition_sequence}; a consistency check writes it",
                waits_for=waiting_for(class_log, range(seen.definition_sequence + 1, class_log.head + 1)),
                aggregate_ids=(aggregate_id,),
            )


def _class_of(aggregate_id: str) -> str:
    place = AggregateId.parse(aggregate_id)
    return str(AggregateId(place.db_name, CLASSES, place.class_id))


def _newest_definition(log: LogFacts) -> int:
    """Return the sequence number of the newest definition when the class's log was first read, 0 where none was."""
    defined = (number for number, event in log.events.items() if event.event_type is EventType.CLASS_DEFINED)
    return max((number for number in defined if number <= log.head), default=0)
