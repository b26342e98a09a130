"""All checks of what lies in the servers, together; pure; its caller reads the servers."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.errors import InputInvalid
from oncelog.ports import UNPUBLISHED, Document, FoundNode, IndexFacts, TopicFacts, TopicRecord, Watermark
from oncelog.stores.kafka.messages import Message
from oncelog.verification.bulk import BulkAudit
from oncelog.verification.commands import CommandAudit
from oncelog.verification.containers import ContainerAudit
from oncelog.verification.documents import DocumentAudit
from oncelog.verification.findings import Code, Finding, Severity
from oncelog.verification.graph import NodeAudit
from oncelog.verification.log import SLOT_KEY, LogAudit, LogFacts
from oncelog.verification.stream import StreamAudit


@dataclass
class Audit:
    """Takes objects, then messages and documents, and says what is not as it must be.

    Objects under ``events/`` come first, those of classes (``events/{db_name}/_class/``) before all others, and each
    aggregate's in the order of their keys, then those under ``commands/``, then messages in the order of their
    partitions, documents, and nodes. ``db_name``: only this database.
    """

    db_name: str | None = None
    logs: dict[str, LogFacts] = field(default_factory=dict)
    archive: list[Finding] = field(default_factory=list)  # what disagrees in the archive
    _open: LogAudit | None = None
    _foreign: list[Finding] = field(default_factory=list)
    _results: dict[str, list[Finding]] = field(default_factory=dict)
    _class_schemas: dict[str, list[ClassSchema]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.commands = CommandAudit(self.logs, self.db_name)
        self.stream = StreamAudit(self.logs, db_name=self.db_name)
        self.containers = ContainerAudit()
        self.documents = DocumentAudit(self.logs, partial(self.containers.is_unread, DocumentAudit.read_model))
        self.nodes = NodeAudit(self.logs, partial(self.containers.is_unread, NodeAudit.read_model))

    def add_object(self, key: str, body: bytes | None, *, damage: str = "", watermark: Watermark = UNPUBLISHED) -> None:
        """Look at an object of S3. ``body`` None: it could not be read for the reason in ``damage``.

        ``watermark``: the one that an event was written with.
        """
        if key.startswith("commands/"):
            self.commands.add(key, body, damage=damage)
            return
        match = SLOT_KEY.fullmatch(key)
        if match is None or int(match[2]) == 0 or not _names_aggregate(match[1]):
            found = "expected an event's slot here, found a key that names none; remove it"
            self._foreign.append(Finding(Code.OBJECT_FOREIGN, key, found))
            return
        if self._open is None or self._open.facts.aggregate_id != match[1]:
            self._open = self._log_audit(match[1])
            self.logs[match[1]] = self._open.facts
        self._open.add(int(match[2]), body, damage=damage, watermark=watermark)

    def add_results(self, bulk: BulkAudit, summary: bytes | None, results: bytes | None) -> None:
        """Look at a bulk command's results, as last read; None: they could not be."""
        self._results[bulk.command_id] = list(bulk.judge_results(summary, results))

    def add_topic(self, topic: TopicFacts, records: Sequence[TopicRecord]) -> None:
        """Look at a topic of events as it is, and at the records of its generations."""
        self.stream.add_topic(topic, records)

    def add_message(self, message: Message) -> None:
        """Look at a message; each partition's in their order."""
        self.stream.add(message)

    def add_indices(self, indices: Sequence[IndexFacts]) -> None:
        """Look at the indices of the read models, once before documents and nodes are read, and once after."""
        self.containers.add(indices)

    def add_document(self, document: Document) -> None:
        """Look at a document."""
        self.documents.add(document)

    def add_node(self, found: FoundNode) -> None:
        """Look at a node of the graph."""
        self.nodes.add(found)

    def look_again(self, aggregate_id: str, slots: Mapping[int, tuple[bytes | None, str]]) -> None:
        """Take in an aggregate's log as it is now, with what was written since; only the new slots are added."""
        known = self.logs.get(aggregate_id)
        again = self._log_audit(aggregate_id)
        for number, (body, damage) in sorted(slots.items()):
            again.add(number, body, damage=damage)
        again.facts.head = known.head if known else 0
        again.facts.findings = known.findings if known else []
        again.facts.watermark = known.watermark if known else UNPUBLISHED
        self.logs[aggregate_id] = again.facts

    def _log_audit(self, aggregate_id: str) -> LogAudit:
        place = AggregateId.parse(aggregate_id)
        name = str(AggregateId(place.db_name, CLASSES, place.class_id))
        audit = LogAudit(aggregate_id, self._class_schemas.get(name, ()))
        if place.class_id == CLASSES:
            self._class_schemas[aggregate_id] = audit.defined
        return audit

    @property
    def aggregates_ahead(self) -> set[str]:
        """Those whose messages, documents or nodes are of events that the log did not have when it was read."""
        return self.stream.aggregates_ahead | self.documents.aggregates_ahead | self.nodes.aggregates_ahead

    def judge_log(self) -> Iterator[Finding]:
        """Yield what is wrong in the logs alone (P2, P3)."""
        yield from self._foreign
        for log in self.logs.values():
            yield from log.findings

    def judge(self) -> Iterator[Finding]:
        """Yield everything that is wrong or not finished."""
        yield from self.judge_log()
        yield from self.archive
        yield from self.commands.judge()
        for found in self._results.values():
            yield from found
        yield from self.stream.judge()
        yield from self.containers.judge()
        yield from self.documents.judge()
        yield from self.nodes.judge()


def _names_aggregate(text: str) -> bool:
    try:
        AggregateId.parse(text)
    except (InputInvalid, UnicodeDecodeError):
        return False
    return True


def weighed(finding: Finding, in_flight: Collection[str]) -> Finding:
    """Return the finding as pending if a command that would mend it is under way."""
    if not any(command_id in in_flight for command_id in finding.waits_for):
        return finding
    return replace(finding, severity=Severity.PENDING)
