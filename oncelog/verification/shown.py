"""A read model against the log: each aggregate shown right at its own version, none missing or foreign.

Documents and nodes are judged alike. A node besides names the definition that its edges were made under, which has to
be the newest one of its class.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from oncelog.domain.events import EventType
from oncelog.domain.graph import DEFINITION_BITS
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.ports import Document, FoundNode
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.verification.findings import Code, Finding
from oncelog.verification.history import document_digest
from oncelog.verification.log import EventFacts, LogFacts, node_digest
from oncelog.verification.stream import waiting_for


@dataclass(frozen=True)
class ShownFacts:
    """The facts about one aggregate in a read model that the checks need.

    ``digest``: of its content, None where it cannot be read. ``definition``: the sequence number of the definition
    that a node names. ``wrong``: its own defect, in words.
    """

    aggregate_id: str
    sequence_number: int
    digest: str | None
    definition: int = 0
    wrong: str = ""


@dataclass(frozen=True)
class Shape:
    """The difference between read models: their names, their findings, and whether they show classes."""

    read_model: str
    noun: str
    shows_classes: bool
    missing: Code
    stale: Code
    parked: Code
    wrong: Code
    foreign: Code


DOCUMENTS = Shape(
    read_model=DocumentsModel.name,
    noun="document",
    shows_classes=True,
    missing=Code.DOCUMENT_MISSING,
    stale=Code.DOCUMENT_STALE,
    parked=Code.DOCUMENT_PARKED,
    wrong=Code.DOCUMENT_WRONG,
    foreign=Code.DOCUMENT_FOREIGN,
)
NODES = Shape(
    read_model=GraphModel.name,
    noun="node",
    shows_classes=False,
    missing=Code.NODE_MISSING,
    stale=Code.NODE_STALE,
    parked=Code.NODE_PARKED,
    wrong=Code.NODE_WRONG,
    foreign=Code.NODE_FOREIGN,
)
SHAPES = {shape.read_model: shape for shape in (DOCUMENTS, NODES)}


def document_facts(document: Document) -> ShownFacts:
    """Return the facts about a document; ``sequence_number`` is the version that its server compares."""
    aggregate_id = str(document.aggregate_id)
    claimed = document.body.get("aggregate_id"), document.body.get("sequence_number")
    wrong = ""
    if claimed != (aggregate_id, document.sequence_number):
        wrong = f"expected {aggregate_id} at version {document.sequence_number}, found {claimed[0]} at {claimed[1]}"
    return ShownFacts(aggregate_id, document.sequence_number, document_digest(document), wrong=wrong)


def node_facts(found: FoundNode) -> ShownFacts:
    """Return the facts about a node."""
    node = found.node
    wrong = ""
    if node is None:
        wrong = f"expected a node, found {found.damage}"
    elif (node.aggregate_id, node.version) != (found.aggregate_id, found.version):
        wrong = f"expected {found.aggregate_id} at {found.version}, found {node.aggregate_id} at {node.version}"
    sequence_number, definition = divmod(found.version, 1 << DEFINITION_BITS)
    digest = node_digest(node).hex() if node else None
    return ShownFacts(str(found.aggregate_id), sequence_number, digest, definition, wrong)


@dataclass
class ShownAudit:
    """Takes documents or nodes in any order; one added again replaces the first.

    ``classes``: the logs of classes, under their own aggregate IDs. ``is_unread``: whether the index of an aggregate
    could not be read, so that nothing is missing there. ``covers``: whether an aggregate is to be judged here.
    """

    shape: Shape
    logs: Mapping[str, LogFacts]
    classes: Mapping[str, LogFacts]
    is_unread: Callable[[str], bool] = lambda _aggregate_id: False
    findings: list[Finding] = field(default_factory=list)
    _shown: dict[str, ShownFacts] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self._shown)

    def add(self, facts: ShownFacts) -> None:
        """Keep the facts about a document or a node."""
        if facts.wrong:
            where = f"{self.shape.noun} {facts.aggregate_id}"
            about = (facts.aggregate_id,)
            found = f"{facts.wrong}; rebuild it"
            self.findings.append(Finding(self.shape.wrong, where, found, aggregate_ids=about))
        self._shown[facts.aggregate_id] = facts

    def judge(self) -> Iterator[Finding]:
        """Yield everything found; ask after all of it was added."""
        yield from self.findings
        for aggregate_id, shown in self._shown.items():
            finding = self._wrong(aggregate_id, shown)
            if finding:
                yield finding
        for aggregate_id, log in self.logs.items():
            if self._has(aggregate_id) and not self.is_unread(aggregate_id):
                yield from self._behind(aggregate_id, log)

    def _has(self, aggregate_id: str) -> bool:
        """Return whether aggregates of this kind are shown at all."""
        return self.shape.shows_classes or AggregateId.parse(aggregate_id).class_id != CLASSES

    def _wrong(self, aggregate_id: str, shown: ShownFacts) -> Finding | None:
        where, number, about = f"{self.shape.noun} {aggregate_id}", shown.sequence_number, (aggregate_id,)
        log = self.logs.get(aggregate_id)
        if log is None or number not in log.taken or not self._has(aggregate_id):
            found = f"expected what the log makes of it, found version {number}, which the log does not have; delete it"
            return Finding(self.shape.foreign, where, found, aggregate_ids=about)
        event = log.events.get(number)
        if event is None or self._is_right(aggregate_id, event, shown):
            return None  # right, or damage in the log leaves the right content open
        found = f"expected the fold of events 1 to {number}, found other; rebuild it"
        return Finding(self.shape.wrong, where, found, aggregate_ids=about)

    def _is_right(self, aggregate_id: str, event: EventFacts, shown: ShownFacts) -> bool:
        """Return whether it is the log's fold up to this event, or damage leaves that fold unknown."""
        if self.shape is DOCUMENTS:
            return event.document_digests is None or shown.digest in event.document_digests
        class_log = self.classes.get(class_of(aggregate_id))
        if shown.digest is None or event.node_digests is None or (class_log and class_log.findings):
            return True
        expected = dict(event.node_digests).get(shown.definition)
        return expected is not None and shown.digest == expected.hex()

    def _behind(self, aggregate_id: str, log: LogFacts) -> Iterator[Finding]:
        """Yield a finding if it is behind the log or a node's class: right as soon as its command has ended."""
        shown = self._shown.get(aggregate_id)
        if log.head in log.events and not (shown and shown.sequence_number >= log.head):
            numbers = range((shown.sequence_number if shown else 0) + 1, log.head + 1)
            yield Finding(
                self.shape.stale if shown else self.shape.missing,
                f"{self.shape.noun} {aggregate_id}",
                f"expected version {log.head}, found {f'version {shown.sequence_number}' if shown else 'none'}; "
                "a consistency check writes it",
                waits_for=waiting_for(log, numbers),
                aggregate_ids=(aggregate_id,),
            )
            return
        class_log = self.classes.get(class_of(aggregate_id))
        if self.shape is DOCUMENTS or shown is None or class_log is None or class_log.findings:
            return
        newest = _newest_definition(class_log)
        if shown.definition < newest:
            yield Finding(
                self.shape.stale,
                f"node {aggregate_id}",
                f"expected its edges under definition {newest} of the class, found definition {shown.definition}; "
                "a consistency check writes it",
                waits_for=waiting_for(class_log, range(shown.definition + 1, class_log.head + 1)),
                aggregate_ids=(aggregate_id,),
            )


def class_of(aggregate_id: str) -> str:
    """Return the aggregate ID of the class that an instance belongs to."""
    place = AggregateId.parse(aggregate_id)
    return str(AggregateId(place.db_name, CLASSES, place.class_id))


def _newest_definition(log: LogFacts) -> int:
    """Return the sequence number of the newest definition that is due, 0 where none is."""
    defined = (number for number, event in log.events.items() if event.event_type is EventType.CLASS_DEFINED)
    return max((number for number in defined if number <= log.head), default=0)
