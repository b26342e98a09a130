"""One aggregate's log, object by object: whole, in its place, numbered 1..n, chained; and its folded states."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from oncelog.domain.canonical import canonical_bytes, parse_stored, sha256_hex
from oncelog.domain.events import Effect, Event, EventType, checksum_of, read_event
from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.ontology.class_schema import ClassSchema, add_definition
from oncelog.domain.references import Reference, required_references
from oncelog.domain.state_digest import StateDigest
from oncelog.errors import AggregateDefect, InputInvalid, LogDamaged, SchemaUnsupported
from oncelog.ports import UNPUBLISHED, Watermark
from oncelog.read_models.document import document_of, migrated
from oncelog.read_models.graph_model import node_of
from oncelog.stores.sealed_state import open_state, seal_state
from oncelog.verification.findings import Code, Finding, InvalidObject
from oncelog.verification.history import document_digest
from oncelog.verification.holdings import Definitions, Holdings

SLOT_KEY = re.compile(r"events/([^/]+/[^/]+/[^/]+)/([0-9]{20})\.json")

#: Of a long run of missing slots this many are named one by one.
GAPS_NAMED_MAX = 10


@dataclass(frozen=True, slots=True)
class EventFacts:
    """The facts about an event that the other checks need, less than a kilobyte for data of any size.

    ``value_digest``: of its bytes. ``content_digest``: see ``content_digest``, ``frame_digest``: the same without its
    data. ``document_digests``: of the document at this event, in the form of each definition that its class's index may
    have had since the check began; None where damage before it leaves the state unknown. ``node_digests``: of the node,
    under each definition (0: none) that it may name, unless it refers to more than a node may; None likewise.
    """

    event_id: str
    event_type: str
    command_id: str
    command_hash: str
    value_digest: bytes
    content_digest: bytes
    frame_digest: bytes
    checksum: str
    document_digests: frozenset[str] | None
    node_digests: tuple[tuple[int, bytes], ...] | None


@dataclass
class LogFacts:
    """The log of one aggregate. ``events`` by sequence number; a damaged slot has none, but ``taken`` has it.

    ``head``: the highest slot that is due, for it was taken before the check began; events beyond it explain a
    message or a document, and are not themselves expected in the stream or in a read model yet. ``watermark``: the
    highest that an event was written with. ``holdings``: the unique values held after each event.
    """

    aggregate_id: str
    head: int = 0
    events: dict[int, EventFacts] = field(default_factory=dict)
    taken: set[int] = field(default_factory=set)
    watermark: Watermark = UNPUBLISHED
    holdings: Holdings = field(default_factory=Holdings)
    references: tuple[Reference, ...] = ()  # those at the last event that must exist
    findings: list[Finding] = field(default_factory=list)


class LogAudit:
    """Goes through the objects of one aggregate in the order of their keys.

    ``class_schemas``: of the aggregate's class. ``projected``: the sequence numbers of which the document and the
    node are known to be shown, so that others need no digest; None: any of them. ``document_definition``: the sequence
    number of the definition that documents fitted when the check began; None: as the log has them. ``defined``: where
    the aggregate is itself a class, its definitions.
    """

    def __init__(
        self,
        aggregate_id: str,
        class_schemas: Sequence[ClassSchema] = (),
        *,
        projected: Collection[int] | None = None,
        document_definition: int | None = None,
    ) -> None:
        self.facts = LogFacts(aggregate_id)
        self.defined: list[ClassSchema] = []
        self._class_schemas = class_schemas
        self._definitions = Definitions(class_schemas)
        self._projected = projected
        self._document_definition = document_definition
        self._is_class = AggregateId.parse(aggregate_id).class_id == CLASSES
        self._number = 0  # of the slot just before
        self._last: Event | None = None  # the event in it, if that is sound
        self._state: Instance | None = Instance(aggregate_id=aggregate_id)
        self._second = self._state

    def add(
        self,
        sequence_number: int,
        body: bytes | None,
        *,
        damage: str = "",
        watermark: Watermark = UNPUBLISHED,
        is_due: bool = True,
    ) -> None:
        """Look at the object of a slot. ``body`` None: it could not be read for the reason in ``damage``."""
        self._missing_before(sequence_number)
        facts = self.facts
        facts.watermark = max(facts.watermark, watermark)
        facts.taken.add(sequence_number)
        self._number = sequence_number
        if is_due:
            facts.head = sequence_number
        where = f"slot {facts.aggregate_id} {sequence_number}"
        try:
            event = _sound(facts.aggregate_id, sequence_number, body, damage, where)
        except InvalidObject as error:
            facts.findings.append(error.finding)
            self._last, self._state = None, None
            facts.holdings.note(sequence_number, self._state, self._definitions, is_due=is_due)
            return
        self._check_link(event, where)
        self._fold(event)
        facts.events[sequence_number] = self._facts_of(event)
        self._last = event
        facts.holdings.note(sequence_number, self._state, self._definitions, is_due=is_due)
        self._define(event)

    def _facts_of(self, event: Event) -> EventFacts:
        fields = event.model_dump(mode="json")
        return EventFacts(
            event_id=event.event_id,
            event_type=event.event_type,
            command_id=event.command_id,
            command_hash=event.command_hash,
            value_digest=digest(event.canonical),
            content_digest=content_digest(fields, migrated=_is_migrated(event)),
            frame_digest=content_digest(fields, migrated=True),
            checksum=event.checksum,
            document_digests=self._document_digests(),
            node_digests=self._node_digests(),
        )

    def end(self) -> StateDigest | None:
        """Return the digest of the state at the last event, None where damage leaves it unknown.

        The second fold has to come to the same one.
        """
        if self._state is None or self._second is None or not self._number:
            return None
        self.facts.references = required_references(self._state, self._class_schemas)
        digest, second = StateDigest.of(self._state), StateDigest.of(self._second)
        if digest != second:
            found = f"expected two folds of the same events to agree, found digests {digest.digest} and {second.digest}"
            self._find(Code.FOLD_DIFFERS, f"aggregate {digest.aggregate_id}", f"{found}; report it as a defect")
        return digest

    def _document_digests(self) -> frozenset[str] | None:
        if self._state is None or not self._is_projected(self._state):
            return None
        document = document_of(self._state)
        schemas = list(self._class_schemas)
        if self._document_definition is not None:
            # The index may have been followed by one of a later definition since it was looked at.
            schemas = [each for each in schemas if each.reference.sequence_number >= self._document_definition]
        forms = [migrated(document, class_schema) for class_schema in schemas]
        if self._document_definition is None or not forms:  # the log's own form, or a definition that is unreadable
            forms.append(document)
        return frozenset(document_digest(one) for one in forms)

    def _is_projected(self, state: Instance) -> bool:
        return self._projected is None or state.sequence_number in self._projected

    def _node_digests(self) -> tuple[tuple[int, bytes], ...] | None:
        if self._state is None or not self._is_projected(self._state):
            return None
        if self._is_class:
            return ()
        found: list[tuple[int, bytes]] = []
        for class_schema in (None, *self._class_schemas):
            try:
                node = node_of(self._state, class_schema)
            except InputInvalid:
                continue
            found.append((node.definition_sequence, node_digest(node)))
        return tuple(found)

    def _define(self, event: Event) -> None:
        if event.event_type not in (EventType.CLASS_DEFINED, EventType.CLASS_RETIRED):
            return
        try:
            add_definition(self.defined, event)
        except (LogDamaged, SchemaUnsupported) as error:
            self._find(Code.OBJECT_UNREADABLE, f"slot {event.aggregate_id} {event.sequence_number}", error.message)

    def _missing_before(self, sequence_number: int) -> None:
        missing = range(self._number + 1, sequence_number)
        if not missing:
            return
        self._last, self._state = None, None
        for number in missing[:GAPS_NAMED_MAX]:
            self._find(
                Code.SEQUENCE_GAP,
                f"slot {self.facts.aggregate_id} {number}",
                f"expected an event, found none, yet slot {sequence_number} is taken; restore the object",
            )
        if len(missing) > GAPS_NAMED_MAX:
            where = f"slots {self.facts.aggregate_id} {missing[GAPS_NAMED_MAX]} to {missing[-1]}"
            self._find(Code.SEQUENCE_GAP, where, "expected events, found none; restore the objects")

    def _check_link(self, event: Event, where: str) -> None:
        """Compare with the event before, where that is known."""
        if event.sequence_number > 1 and self._last is None:
            return
        expected = self._last.checksum if self._last else None
        if event.previous_checksum != expected:
            found = f"expected to follow checksum {expected}, found {event.previous_checksum}: one of the two is forged"
            self._find(Code.CHAIN_BROKEN, where, found)
            self._state = None

    def _fold(self, event: Event) -> None:
        """Fold the event twice; the second state is stored and read again at every power of two, as workers do."""
        if self._state is None or self._second is None:
            return
        try:
            self._state, self._second = evolve(self._state, event), evolve(self._second, event)
        except AggregateDefect as error:
            self._find(Code.SCHEMA_UNSUPPORTED, f"slot {event.aggregate_id} {event.sequence_number}", error.message)
            self._state = None
            return
        except (LogDamaged, SchemaUnsupported):
            self._state = None  # its link was looked at already
            return
        number = event.sequence_number
        if number & (number - 1) == 0:
            self._second = open_state(seal_state(self._second), aggregate_id=event.aggregate_id)

    def _find(self, code: Code, where: str, found: str) -> None:
        self.facts.findings.append(Finding(code, where, found))


def _sound(aggregate_id: str, sequence_number: int, body: bytes | None, damage: str, where: str) -> Event:
    """Return the event if it is whole and in its place; raises InvalidObject."""
    if body is None:
        raise InvalidObject(Code.OBJECT_UNREADABLE, where, f"expected an event, found {damage}")
    try:
        fields = parse_stored(body, where=where)
        expected = checksum_of(fields) if isinstance(fields, dict) and "checksum" in fields else None
        if expected and fields["checksum"] != expected:
            found = f"expected checksum {expected}, found {str(fields['checksum'])[:80]}: it was altered"
            raise InvalidObject(Code.CHECKSUM_WRONG, where, f"{found}; restore the first version")
        event = read_event(body, where=where)
    except SchemaUnsupported as error:
        raise InvalidObject(Code.SCHEMA_UNSUPPORTED, where, error.message) from error
    except (InputInvalid, LogDamaged) as error:
        found = f"expected an event: {error.message}; restore the first version"
        raise InvalidObject(Code.OBJECT_UNREADABLE, where, found) from error
    if event.canonical != body:
        found = "expected the canonical form (RFC 8785), found other bytes of the same content"
        raise InvalidObject(Code.NOT_CANONICAL, where, found)
    if (event.aggregate_id, event.sequence_number) != (aggregate_id, sequence_number):
        found = (
            f"expected its own event, found {event.aggregate_id} {event.sequence_number}: an object was moved; "
            "restore the first version"
        )
        raise InvalidObject(Code.OBJECT_MISPLACED, where, found)
    return event


def content_digest(fields: dict[str, object], *, migrated: bool = False) -> bytes:
    """Return a digest of the event's fields that its command and record alone decide, in any slot.

    ``migrated``: the event is an update that brought the data into the form of a new definition, so that its data
    follows from the state before as well, and is left out.
    """
    names = ("event_type", "aggregate_id", "command_id", "data", "occurred_at", "actor", "correlation_id")
    chosen = {name: fields.get(name) for name in (*names, "causation_id", "definition", "constraints")}
    return digest(canonical_bytes({**chosen, "data": "migrated"} if migrated else chosen))


def _is_migrated(event: Event) -> bool:
    replaces = (event.model_extra or {}).get("effect") == Effect.REPLACE
    return event.event_type is EventType.INSTANCE_UPDATED and replaces


def node_digest(node: GraphNode) -> bytes:
    """Return a digest of a node's content beside its own name and version."""
    edges = {predicate: [str(target) for target in targets] for predicate, targets in node.edges.items()}
    return digest(canonical_bytes({"deleted": node.deleted, "edges": edges}))


def digest(data: bytes) -> bytes:
    """Return the first 16 bytes of the SHA-256."""
    return bytes.fromhex(sha256_hex(data)[:32])
