"""Commands against the log: each event bound by its command's record, one event per command, none of a rejected one."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field

from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.results import Rejection
from oncelog.verification.chunks import ChunkAudit, ChunkFacts, class_name_of, collides, unfounded
from oncelog.verification.entries import StoredEntries
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import EventFacts, LogFacts
from oncelog.verification.records import CommandFacts, RecordFacts, RecordReader


@dataclass(frozen=True)
class _Place:
    """Where an event of a command stands."""

    aggregate_id: str
    sequence_number: int
    event: EventFacts

    def __str__(self) -> str:
        return f"slot {self.aggregate_id} {self.sequence_number}"


@dataclass
class CommandAudit:
    """Takes the records in the order of their keys, or the facts read of them before; judges them against the logs.

    ``db_name``: commands of others are left out. ``covers``: whether the commands of an aggregate are to be judged
    here; others are known only for the events that name them. ``classes``: classes known to have events,
    beside those of the logs.
    """

    logs: Mapping[str, LogFacts]
    db_name: str | None = None
    covers: Callable[[str], bool] = lambda _aggregate_id: True
    classes: Collection[tuple[str, str]] = ()
    commands: dict[str, CommandFacts] = field(default_factory=dict)
    entries: StoredEntries = field(default_factory=StoredEntries)
    findings: list[Finding] = field(default_factory=list)
    chunks: list[ChunkFacts] = field(default_factory=list)
    _bulks: dict[str, str] = field(default_factory=dict)  # their hashes

    def __post_init__(self) -> None:
        self._reader = RecordReader(self, lambda db_name: self.db_name in (None, db_name))

    def add(self, key: str, body: bytes | None, *, damage: str = "") -> None:
        """Look at the object under a key of ``commands/``. ``body`` None: unreadable for the reason in ``damage``."""
        self._reader.add(key, body, damage=damage)

    def add_command(self, facts: CommandFacts) -> None:
        """Take a command that was read."""
        self.commands[facts.command_id] = facts

    def add_chunk(self, facts: ChunkFacts) -> None:
        """Take a chunk of a bulk command that was read, or the part of it that is about these aggregates."""
        self.chunks.append(facts)
        self._bulks[facts.command_id] = facts.command_hash

    def add_finding(self, finding: Finding, _command_id: str = "") -> None:
        """Take a finding about a record by itself."""
        self.findings.append(finding)

    @property
    def unresolved(self) -> set[str]:
        """The commands that events name which are due, and of which nothing was read."""
        self._reader.end()
        known = self.known
        return {
            event.command_id
            for log in self.logs.values()
            for number, event in log.events.items()
            if number <= log.head and event.command_id not in known
        }

    @property
    def known(self) -> Set[str]:
        """The commands of which something was read."""
        return self.commands.keys() | self._bulks.keys()

    @property
    def places(self) -> set[str]:
        """The keys of entries that records about the covered aggregates name."""
        self._reader.end()
        named = [entry for chunk in self.chunks for number in chunk.records for entry in chunk.entries(number)]
        for command in self.commands.values():
            if command.aggregate_id is not None and self.covers(command.aggregate_id):
                named += [entry for record in command.records.values() for entry in command.entries_of(record)]
        return {entry.key for entry in named}

    @property
    def unread_places(self) -> set[str]:
        """The keys of such entries that were not read."""
        return {key for key in self.places if not self.entries.is_known(key)}

    def populated(self, name: tuple[str, str]) -> bool:
        """Return whether a class has any events."""
        here = (class_name_of(aggregate_id) for aggregate_id, log in self.logs.items() if log.events)
        return name in self.classes or name in here

    def judge(self) -> Iterator[Finding]:
        """Yield everything found; ask after all records were added."""
        self._reader.end()
        yield from self.findings
        chunks = ChunkAudit(self.logs, self.populated, self.entries)
        for chunk in self.chunks:
            chunks.judge(chunk)
        yield from chunks.findings
        made: defaultdict[str, list[_Place]] = defaultdict(list)
        for aggregate_id, log in self.logs.items():
            for number, event in log.events.items():
                bound = (aggregate_id, number) in chunks.bound.get(event.command_id, ())
                if number <= log.head or bound or self._tells_of(event.command_id, aggregate_id, number):
                    made[event.command_id].append(_Place(aggregate_id, number, event))
        for command_id, places in made.items():
            yield from self._judge_events(command_id, places, chunks.bound.get(command_id, ()))
        for command in self.commands.values():
            if command.bulk is None and command.records and self.covers(command.last.aggregate_id):
                yield from self._judge_command(command, made.get(command.command_id, []))

    def _tells_of(self, command_id: str, aggregate_id: str, number: int) -> bool:
        """Return whether the records that were read tell of an event that is not due: a later one may bind it yet."""
        command = self.commands.get(command_id)
        if command is None:
            return False
        slots = [(record.aggregate_id, record.slot) for record in command.records.values()]
        return command.rejection is not None or (aggregate_id, number) in slots

    def _judge_events(
        self, command_id: str, places: list[_Place], bound: Collection[tuple[str, int]]
    ) -> Iterator[Finding]:
        command = self.commands.get(command_id)
        if command_id in self._bulks or (command is not None and command.bulk is not None):
            yield from self._judge_bulk_events(command_id, places, bound)
            return
        if len(places) > 1:
            others = " and ".join(map(str, places))
            about = tuple({place.aggregate_id for place in places})
            found = f"expected one event, found {others}"
            yield Finding(Code.EVENT_DOUBLED, f"command {command_id}", found, aggregate_ids=about)
        for place in places:
            yield from _judge_event(command, place)

    def _judge_bulk_events(
        self, command_id: str, places: list[_Place], bound: Collection[tuple[str, int]]
    ) -> Iterator[Finding]:
        """Yield the contradictions between a bulk command's events and the records of its chunks."""
        command = self.commands.get(command_id)
        rejection = command.bulk.rejection if command and command.bulk else None
        command_hash = self._bulks.get(command_id) or (command.command_hash if command else "")
        seen: dict[str, _Place] = {}
        for place in places:
            where, event, about = str(place), place.event, (place.aggregate_id,)
            if rejection is not None:
                found = f"rejected as {rejection.code}, yet its event is in {place}"
                yield Finding(Code.REJECTED_BUT_APPLIED, f"command {command_id}", found, aggregate_ids=about)
            elif (place.aggregate_id, place.sequence_number) not in bound or event.command_hash != command_hash:
                found = f"expected a record of command {command_id} that binds an item to this slot, found none"
                yield Finding(Code.EVENT_UNBOUND, where, found, aggregate_ids=about)
            if event.event_id in seen:
                found = f"expected one event of an item, found another in {seen[event.event_id]}"
                yield Finding(Code.EVENT_DOUBLED, where, found, aggregate_ids=about)
            seen[event.event_id] = place

    def _judge_command(self, command: CommandFacts, places: list[_Place]) -> Iterator[Finding]:
        where, last = f"command {command.command_id}", command.last
        about = (last.aggregate_id,)
        for number in range(1, last.number):
            record = command.records.get(number)
            if record is None:
                found = f"found {last.number}, not this one"
                yield Finding(Code.RECORD_MISSING, f"record {number} of {where}", found, aggregate_ids=about)
            elif record.slot is None:
                found = "a rejection is the last record"
                yield Finding(Code.RECORD_UNFOUNDED, f"record {number + 1} of {where}", found, aggregate_ids=about)
            elif (
                self._is_own_or_free(record, command.command_id)
                and not self._is_refused(record, command.last)
                and not self._is_place_taken(command, record)
            ):
                found = (
                    f"expected another command's event in slot {record.slot}, or its entry in a place of this one, "
                    "before this record, found none"
                )
                yield Finding(Code.RECORD_UNFOUNDED, f"record {number + 1} of {where}", found, aggregate_ids=about)
        if last.rejection is not None:
            yield from self._judge_rejection(command, last.rejection, places)
        elif not places and not self._is_damaged(last):
            yield Finding(
                Code.COMMAND_UNFINISHED,
                where,
                f"expected its event in slot {last.aggregate_id} {last.slot}, found none; reconciliation finishes it",
                waits_for=(command.command_id,),
                aggregate_ids=about,
            )

    def _judge_rejection(self, command: CommandFacts, rejection: Rejection, places: list[_Place]) -> Iterator[Finding]:
        last = command.last
        where, about = f"command {command.command_id}", (last.aggregate_id,)
        for place in places:
            found = f"rejected as {rejection.code}, yet its event is in {place}"
            yield Finding(Code.REJECTED_BUT_APPLIED, where, found, aggregate_ids=about)
        wrong = unfounded(rejection, self.logs.get(last.aggregate_id), last.expected_version)
        if wrong:
            found = f"rejected as {rejection.code}, but {wrong}"
            yield Finding(Code.REJECTION_UNFOUNDED, where, found, aggregate_ids=about)

    def _is_own_or_free(self, record: RecordFacts, command_id: str) -> bool:
        """Return whether nothing but the command itself stands in the slot that a record binds it to."""
        log = self.logs.get(record.aggregate_id)
        event = log.events.get(record.slot or 0) if log else None
        return not self._is_damaged(record) and (event is None or event.command_id == command_id)

    def _is_place_taken(self, command: CommandFacts, record: RecordFacts) -> bool:
        """Return whether a place that a record names is another's, or damage leaves that open."""
        entries = command.entries_of(record)
        return any(self.entries.is_own(each) is False or self.entries.damage_under(each.key) for each in entries)

    def _is_refused(self, record: RecordFacts, last: RecordFacts) -> bool:
        """Return whether the next record rejects the command for a name collision that can be."""
        if last.number != record.number + 1 or last.rejection is None:
            return False
        return collides(last.rejection, record.aggregate_id, self.populated)

    def _is_damaged(self, record: RecordFacts) -> bool:
        """Return whether the slot that a record names is taken by something that cannot be read."""
        log = self.logs.get(record.aggregate_id)
        return log is not None and record.slot in log.taken and record.slot not in log.events


def _judge_event(command: CommandFacts | None, place: _Place) -> Iterator[Finding]:
    """Yield the contradictions between one event and the records of its command."""
    event, where, about = place.event, str(place), (place.aggregate_id,)
    if command is None:
        found = f"expected a record of its command {event.command_id}, found none: it was lost, or never was asked for"
        yield Finding(Code.RECORD_MISSING, where, found, aggregate_ids=about)
        return
    if event.event_id != derive_event_id(event.command_id, 0):
        found = f"expected event ID {derive_event_id(event.command_id, 0)}, found {event.event_id}"
        yield Finding(Code.EVENT_ID_WRONG, where, found, aggregate_ids=about)
    if not command.records:
        return  # its records cannot be read, which is said already
    bindings = [
        record
        for record in command.records.values()
        if (record.aggregate_id, record.slot) == (place.aggregate_id, place.sequence_number)
    ]
    if not bindings or command.command_hash != event.command_hash:
        found = f"expected a record of command {event.command_id} that binds it to this slot, found none"
        yield Finding(Code.EVENT_UNBOUND, where, found, aggregate_ids=about)
    elif not any(event.content_digest.hex() in binding.content_digests for binding in bindings):
        found = f"expected what command {event.command_id} asks for, found other content"
        yield Finding(Code.EVENT_FORGED, where, found, aggregate_ids=about)
