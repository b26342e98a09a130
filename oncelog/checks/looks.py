"""A direct look at some aggregates: everything about them is read anew, their logs last.

Records, messages, documents and nodes are read before the log, so that none of them is ahead of it; and the log's
events are due only as far as they were written before the check began.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from oncelog.checks.entry_reads import entries_again, read_entries
from oncelog.checks.known_facts import KnownFacts, add_records
from oncelog.checks.record_sink import RecordSink
from oncelog.checks.scope import CheckPlan
from oncelog.checks.servers import Servers
from oncelog.checks.spill import FactKind, fact_order
from oncelog.domain.canonical import parse_stored
from oncelog.domain.graph import DEFINITION_BITS, GraphNode
from oncelog.domain.identifiers import CLASSES, AggregateId, command_folder, derive_event_id
from oncelog.domain.stored_names import COMMANDS, event_key, stream_folder
from oncelog.errors import InputInvalid, LogDamaged
from oncelog.ports import Document, FoundNode, IndexFacts
from oncelog.verification import reading
from oncelog.verification.audit import Audit, ClassLogs
from oncelog.verification.chunks import ChunkFacts
from oncelog.verification.containers import ContainerAudit
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import LogAudit
from oncelog.verification.records import CommandFacts, RecordReader
from oncelog.verification.stream import MessageFacts, message_facts

SHOWN_PER_READ = 200


@dataclass
class CommandLookup(RecordSink):
    """Facts that the records of some commands tell about some aggregates. ``places``: where their events should be."""

    places: list[tuple[str, int, str]] = field(default_factory=list)  # aggregate, slot, event ID

    def add_command(self, facts: CommandFacts) -> None:
        super().add_command(facts)
        self.commands[facts.command_id] = facts
        if facts.records and facts.last.slot is not None:
            event_id = derive_event_id(facts.command_id, 0)
            self.places.append((facts.last.aggregate_id, facts.last.slot, event_id))

    def add_chunk(self, facts: ChunkFacts) -> None:
        super().add_chunk(facts)
        for item in facts.last_items.values():
            if item.slot is not None:
                self.places.append((item.aggregate_id, item.slot, derive_event_id(facts.command_id, item.index)))


class Looks:
    """Looks at aggregates of one part. Every method raises StoreUnavailable."""

    def __init__(self, servers: Servers, plan: CheckPlan, offsets: Mapping[int, int]) -> None:
        self._servers = servers
        self._sources = servers.sources
        self._scope = plan.scope
        self._plan = plan
        self._offsets = dict(offsets)
        self._tail: dict[str, list[MessageFacts]] = {}

    def new_audit(
        self, classes: ClassLogs, *, covers: Collection[str], shown: Mapping[str, Collection[int]] | None
    ) -> Audit:
        """Return an audit of these aggregates. ``shown``: at which versions they are shown; None: not known yet."""
        audit = Audit(
            classes=ClassLogs(dict(classes.logs), dict(classes.class_schemas)),
            populated=self._plan.populated,
            covers=lambda aggregate_id: aggregate_id in covers,
            projected=(lambda _name: None) if shown is None else (lambda name: shown.get(name, ())),
            containers=containers_of(self._plan.indices),
        )
        audit.stream.generations = dict(self._plan.generations)
        return audit

    async def class_logs(self, db_name: str, class_id: str) -> ClassLogs:
        """Read the log of a class as it is now; none where the class was never defined."""
        classes = ClassLogs()
        if class_id == CLASSES:
            return classes
        name = AggregateId(db_name, CLASSES, class_id)
        audit: LogAudit | None = None
        async for found in reading.objects(self._sources.bucket, stream_folder(name)):
            number = int(found.key[-25:-5]) if found.key[-25:-5].isdigit() else 0
            if number:
                audit = audit or LogAudit(str(name))
                due = self._scope.is_due(found.written_at)
                audit.add(number, found.body, damage=found.damage, watermark=found.watermark, is_due=due)
        if audit is not None:
            classes.add(audit)
        return classes

    async def direct(self, aggregate_ids: Sequence[str], known: KnownFacts) -> Audit:
        """Read everything about some aggregates of one class, and return it, to be judged.

        ``known``: facts collected about them; messages that came since are read, too.
        """
        covered = set(aggregate_ids)
        entries = await entries_again(self._sources.bucket, known.entries)
        facts = CommandLookup(covers=lambda aggregate_id: aggregate_id in covered)
        spilled: list[tuple[FactKind, object]] = []
        facts.spill = lambda _about, kind, value: spilled.append((kind, value))
        await self.read_commands(known.command_ids, facts)
        tail = await self._messages_since(covered)
        documents, nodes, damages = await self._shown(aggregate_ids)
        shown: dict[str, set[int]] = {name: set() for name in covered}
        for document in documents:
            shown[str(document.aggregate_id)].add(document.sequence_number)
        for node in nodes:
            shown[str(node.aggregate_id)].add(node.version >> DEFINITION_BITS)
        place = AggregateId.parse(aggregate_ids[0])
        classes = await self.class_logs(place.db_name, place.class_id)
        audit = self.new_audit(classes, covers=covered, shown=shown)
        for aggregate_id in sorted(covered, key=fact_order):
            async for found in reading.objects(self._sources.bucket, stream_folder(AggregateId.parse(aggregate_id))):
                due = self._scope.is_due(found.written_at)
                audit.add_object(found.key, found.body, damage=found.damage, watermark=found.watermark, is_due=due)
        audit.end_log()
        audit.unique.extend(entries, known.refusals)
        await self.resolve(audit, covered, known=spilled)
        for message in (*known.messages, *tail):
            audit.stream.add_facts(message)
        _add_shown(audit, documents, nodes, damages)
        return audit

    async def resolve(
        self, audit: Audit, covered: Collection[str], *, known: Iterable[tuple[FactKind, object]] = ()
    ) -> None:
        """Add the records that are known, then those of commands that due events name, and the entries they name."""
        add_records(audit, known)
        if unresolved := audit.commands.unresolved | audit.unique.unresolved:
            await self._resolve_commands(audit, covered, unresolved)
        await self._resolve_places(audit, covered, audit.commands.unread_places)

    async def resolve_entries(self, audit: Audit, covered: Collection[str]) -> None:
        """Add the records that entries name, and the entries that others cite as evidence."""
        await self._resolve_commands(audit, covered, audit.unique.unresolved)
        await self._resolve_places(audit, covered, ())

    async def _resolve_places(self, audit: Audit, covered: Collection[str], places: Collection[str]) -> None:
        """Add the entries in some places, and those that others cite as evidence."""
        unread = audit.unique.unread_evidence.union(places)
        for facts in await read_entries(self._sources.bucket, audit.commands.entries, unread):
            if facts.entry.aggregate_id in covered:
                audit.unique.add_entry(facts)
        await read_entries(self._sources.bucket, audit.commands.entries, audit.unique.unread_evidence)

    async def _resolve_commands(self, audit: Audit, covered: Collection[str], unresolved: Collection[str]) -> None:
        """Add the records of commands that events or entries name, and that are not known."""
        lookup = CommandLookup(covers=lambda aggregate_id: aggregate_id in covered)
        lookup.spill = lambda _about, kind, value: add_records(audit, [(kind, value)])
        await self.read_commands(unresolved, lookup)
        for facts in lookup.commands.values():
            if facts.bulk is not None or not facts.records or facts.last.aggregate_id not in covered:
                audit.commands.add_command(facts)

    async def read_commands(self, command_ids: Iterable[str], sink: RecordSink) -> None:
        """Read all records of some commands."""
        reader = RecordReader(sink)
        for command_id in sorted(command_ids):
            prefix = f"{COMMANDS}{command_folder(command_id)}/"
            async for found in reading.objects(self._sources.bucket, prefix):
                reader.add(found.key, found.body, damage=found.damage)
        reader.end()

    async def doubled(self, audit: Audit, findings: Sequence[Finding]) -> list[Finding]:
        """Return events that have a second one elsewhere, among those that no record binds to their slot."""
        unbound = {finding.where for finding in findings if finding.code is Code.EVENT_UNBOUND}
        doubled: list[Finding] = []
        for log in audit.logs.values():
            for number, event in log.events.items():
                if f"slot {log.aggregate_id} {number}" not in unbound:
                    continue
                lookup = CommandLookup()
                await self.read_commands([event.command_id], lookup)
                for aggregate_id, slot, event_id in lookup.places:
                    if event_id != event.event_id or (aggregate_id, slot) == (log.aggregate_id, number):
                        continue
                    if await self._has_event(aggregate_id, slot, event_id):
                        others = f"slot {aggregate_id} {slot} and slot {log.aggregate_id} {number}"
                        where = f"command {event.command_id}"
                        doubled.append(Finding(Code.EVENT_DOUBLED, where, f"expected one event, found {others}"))
        return doubled

    async def _has_event(self, aggregate_id: str, slot: int, event_id: str) -> bool:
        found = await reading.read_object(self._sources.bucket, event_key(AggregateId.parse(aggregate_id), slot))
        try:
            fields = parse_stored(found.body or b"", where=found.key)
        except InputInvalid:
            return False
        return isinstance(fields, dict) and fields.get("event_id") == event_id

    async def _messages_since(self, covered: Collection[str]) -> list[MessageFacts]:
        """Return the messages about some aggregates that came since the stream was read."""
        async for message in self._sources.stream.messages(after=dict(self._offsets)):
            self._offsets[message.partition] = message.offset
            facts = message_facts(message)
            if isinstance(facts, MessageFacts):
                self._tail.setdefault(facts.aggregate_id, []).append(facts)
        return [facts for aggregate_id in covered for facts in self._tail.get(aggregate_id, ())]

    async def _shown(self, aggregate_ids: Sequence[str]) -> tuple[list[Document], list[FoundNode], dict[str, str]]:
        """Return the documents and nodes of some aggregates as they are now, and nodes that cannot be read."""
        containers = containers_of(self._plan.indices)
        documents: list[Document] = []
        nodes: list[FoundNode] = []
        damages: dict[str, str] = {}
        for start in range(0, len(aggregate_ids), SHOWN_PER_READ):
            some = aggregate_ids[start : start + SHOWN_PER_READ]
            readable = [AggregateId.parse(each) for each in some if not containers.is_unread("documents", each)]
            read = await reading.answered(partial(self._sources.documents.read_documents, readable))
            documents += [document for document in read if document is not None]
            readable = [AggregateId.parse(each) for each in some if not containers.is_unread("graph", each)]
            for aggregate_id, node in zip(readable, await self._nodes(readable, damages), strict=True):
                if node is not None:
                    nodes.append(FoundNode(aggregate_id, node.version, node))
        return documents, nodes, damages

    async def _nodes(self, aggregate_ids: Sequence[AggregateId], damages: dict[str, str]) -> Sequence[GraphNode | None]:
        """Read nodes; unreadable ones are named in ``damages``."""
        try:
            return await reading.answered(partial(self._sources.graph.read_nodes, aggregate_ids))
        except LogDamaged as error:
            if len(aggregate_ids) == 1:
                damages[str(aggregate_ids[0])] = error.message
                return [None]
            return [node for each in aggregate_ids for node in await self._nodes([each], damages)]


def _add_shown(
    audit: Audit, documents: Sequence[Document], nodes: Sequence[FoundNode], damages: Mapping[str, str]
) -> None:
    for document in documents:
        audit.add_document(document)
    for node in nodes:
        audit.add_node(node)
    for aggregate_id, damage in damages.items():
        log = audit.logs.get(aggregate_id)
        version = (log.head if log else 0) << DEFINITION_BITS
        audit.add_node(FoundNode(AggregateId.parse(aggregate_id), version, None, damage))


def containers_of(indices: Sequence[IndexFacts]) -> ContainerAudit:
    """Return an audit of the indices for the judgement of single documents and nodes; indices are judged elsewhere."""
    containers = ContainerAudit()
    containers.add(indices)
    return containers
