"""All checks of the stored data together; pure; the caller reads the servers.

All of it may be judged at once, or some aggregates at a time.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.state_digest import StateDigest
from oncelog.domain.stored_names import COMMANDS, UNIQUE
from oncelog.errors import InputInvalid
from oncelog.ports import UNPUBLISHED, Document, FoundNode, TopicFacts, TopicRecord, Watermark
from oncelog.stores.kafka.messages import Message
from oncelog.verification.chains import ChainWalk
from oncelog.verification.commands import CommandAudit
from oncelog.verification.containers import ContainerAudit
from oncelog.verification.findings import Code, Finding, Severity
from oncelog.verification.log import SLOT_KEY, LogAudit, LogFacts
from oncelog.verification.shown import DOCUMENTS, NODES, ShownAudit, document_facts, node_facts
from oncelog.verification.stream import StreamAudit
from oncelog.verification.unique import UniqueAudit, doubled, doubled_finding


@dataclass
class ClassLogs:
    """The logs of classes, and their definitions, under the classes' own aggregate IDs."""

    logs: dict[str, LogFacts] = field(default_factory=dict)
    class_schemas: dict[str, list[ClassSchema]] = field(default_factory=dict)

    def add(self, audit: LogAudit) -> None:
        """Take the log of a class, which may go on."""
        self.logs[audit.facts.aggregate_id] = audit.facts
        self.class_schemas[audit.facts.aggregate_id] = audit.defined


@dataclass
class Audit:
    """Takes objects, then messages and documents, and returns the findings about them.

    Objects under ``events/`` come first, those of classes (``events/{db_name}/_class/``) before all others, and each
    aggregate's in the order of their keys, then those under ``commands/`` and ``unique/``, then messages in the order
    of their partitions, documents, and nodes. ``db_name``: only this database. ``classes``: the class logs known
    already. ``populated``: classes that are known to have events. ``covers``: whether an aggregate is judged here.
    ``projected``: of an aggregate, the sequence numbers at which it is shown; None: any.
    """

    db_name: str | None = None
    classes: ClassLogs = field(default_factory=ClassLogs)
    populated: Collection[tuple[str, str]] = ()
    covers: Callable[[str], bool] = lambda _aggregate_id: True
    projected: Callable[[str], Collection[int] | None] = lambda _aggregate_id: None
    containers: ContainerAudit = field(default_factory=ContainerAudit)
    logs: dict[str, LogFacts] = field(default_factory=dict)
    digests: list[StateDigest] = field(default_factory=list)
    _open: LogAudit | None = None
    _foreign: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commands = CommandAudit(self.logs, self.db_name, self.covers, self.populated)
        self.unique = UniqueAudit(self.commands)
        self._chains = ChainWalk(self.unique)
        self.stream = StreamAudit(self.logs, db_name=self.db_name)
        unread = self.containers.is_unread
        class_logs = self.classes.logs
        self.documents = ShownAudit(DOCUMENTS, self.logs, class_logs, partial(unread, DOCUMENTS.read_model))
        self.nodes = ShownAudit(NODES, self.logs, class_logs, partial(unread, NODES.read_model))

    def add_object(
        self,
        key: str,
        body: bytes | None,
        *,
        damage: str = "",
        watermark: Watermark = UNPUBLISHED,
        is_due: bool = True,
    ) -> None:
        """Look at an object of S3. ``body`` None: it could not be read for the reason in ``damage``.

        ``watermark``: stored with an event. ``is_due``: see ``LogFacts.head``.
        """
        if key.startswith(COMMANDS):
            self.commands.add(key, body, damage=damage)
            return
        if key.startswith(UNIQUE):
            self._chains.add(key, body, damage=damage)
            self.commands.entries.add(key, body, damage=damage)
            return
        slot = slot_of(key)
        if slot is None:
            found = "expected an event's slot here, found a key that names none; remove it"
            self._foreign.append(Finding(Code.OBJECT_FOREIGN, key, found))
            return
        aggregate_id, number = slot
        if self._open is None or self._open.facts.aggregate_id != aggregate_id:
            self.end_log()
            self._open = self._log_audit(aggregate_id)
            self.logs[aggregate_id] = self._open.facts
        self._open.add(number, body, damage=damage, watermark=watermark, is_due=is_due)

    def end_log(self) -> None:
        """End the log that is open: no further slot of it comes."""
        digest = self._open.end() if self._open else None
        if digest is not None:
            self.digests.append(digest)
        self._open = None

    def add_topic(self, topic: TopicFacts, records: Sequence[TopicRecord]) -> None:
        """Look at a topic of events as it is, and at the records of its generations."""
        self.stream.add_topic(topic, records)

    def add_message(self, message: Message) -> None:
        """Look at a message; each partition's in their order."""
        self.stream.add(message)

    def add_document(self, document: Document) -> None:
        """Look at a document."""
        self.documents.add(document_facts(document))

    def add_node(self, found: FoundNode) -> None:
        """Look at a node of the graph."""
        self.nodes.add(node_facts(found))

    def _log_audit(self, aggregate_id: str) -> LogAudit:
        place = AggregateId.parse(aggregate_id)
        name = str(AggregateId(place.db_name, CLASSES, place.class_id))
        class_schemas = self.classes.class_schemas.get(name, ())
        audit = LogAudit(
            aggregate_id,
            class_schemas,
            projected=self.projected(aggregate_id),
            document_definition=self.containers.definition_of(aggregate_id),
        )
        if place.class_id == CLASSES:
            self.classes.add(audit)
        return audit

    def judge_log(self) -> Iterator[Finding]:
        """Yield the findings about the logs alone (P2, P3)."""
        self.end_log()
        yield from self._foreign
        for aggregate_id, log in self.logs.items():
            yield from (replace(finding, aggregate_ids=(aggregate_id,)) for finding in log.findings)

    def judge_aggregates(self) -> Iterator[Finding]:
        """Yield all violations and unfinished work of the aggregates, in any state of their indices."""
        yield from self.judge_log()
        yield from self.commands.judge()
        yield from self.judge_unique()
        yield from self.stream.judge()
        yield from self.documents.judge()
        yield from self.nodes.judge()

    def judge_unique(self) -> Iterator[Finding]:
        """Yield the findings about the claims of unique values."""
        self._chains.end()
        yield from self.unique.judge()

    def judge_holders(self) -> Iterator[Finding]:
        """Yield the values that two instances hold, and the instances that a constraint does not cover yet."""
        for doubled_value in doubled(self.logs.values()):
            yield doubled_finding(*doubled_value)
        yield from self.unique.uncovered()

    def judge(self) -> Iterator[Finding]:
        """Yield everything that is wrong or not finished; all aggregates are at hand."""
        yield from self.judge_aggregates()
        yield from self.judge_holders()
        yield from self.containers.judge()


def slot_of(key: str) -> tuple[str, int] | None:
    """Return the aggregate and the number of the slot that a key of ``events/`` names, None if it names none."""
    match = SLOT_KEY.fullmatch(key)
    if match is None or int(match[2]) == 0 or not _names_aggregate(match[1]):
        return None
    return match[1], int(match[2])


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
