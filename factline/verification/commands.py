"""Commands against the log: each event bound by its command's record, one event per command, none of a rejected one."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from factline.domain.commands import Command, parse_command
from factline.domain.events import EventType
from factline.domain.identifiers import derive_event_id
from factline.domain.instance import EVENTS
from factline.domain.records import CommandRecord, read_record
from factline.domain.results import Rejection, RejectionCode
from factline.errors import InputInvalid, LogDamaged
from factline.verification.findings import Code, Finding, Unsound
from factline.verification.log import EventFacts, LogFacts, content_digest

RECORD_KEY = re.compile(r"commands/([^/]+)/([0-9]{6})\.json")


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """What the checks need of one record. ``content_digests``: of the events that its command may make."""

    number: int
    aggregate_id: str
    slot: int | None
    rejection: Rejection | None
    expected_version: int | None
    content_digests: tuple[bytes, bytes]


@dataclass
class CommandFacts:
    """One command as its records tell it, those that can be read, by number."""

    command_id: str
    command_hash: str = ""
    records: dict[int, RecordFacts] = field(default_factory=dict)

    @property
    def last(self) -> RecordFacts:
        return self.records[max(self.records)]


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
    """Takes the records in any order, after the logs were read, so that no event is younger than its record.

    A record that was seen before is passed over, for it never changes. ``db_name``: commands of others are left out.
    """

    logs: Mapping[str, LogFacts]
    db_name: str | None = None
    commands: dict[str, CommandFacts] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def add(self, key: str, body: bytes | None, *, damage: str = "") -> None:
        """Look at the object under a key of ``commands/``. ``body`` None: unreadable for the reason in ``damage``."""
        match = RECORD_KEY.fullmatch(key)
        if match is None:
            self._find(Code.OBJECT_FOREIGN, key, "expected a command's record here, found a key that names none")
            return
        command_id, number = unquote(match[1]), int(match[2])
        where = f"record {number} of command {command_id}"
        facts = self.commands.setdefault(command_id, CommandFacts(command_id))
        if number in facts.records:
            return
        try:
            record = _own_record(command_id, number, body, damage, where)
            command = _own_command(record, facts.command_hash, where)
        except Unsound as error:
            self.findings.append(error.finding)
            return
        if self.db_name not in (None, command.db_name):
            del self.commands[command_id]
            return
        facts.command_hash = record.command_hash
        facts.records[number] = RecordFacts(
            number=number,
            aggregate_id=record.aggregate_id,
            slot=record.slot,
            rejection=record.rejection,
            expected_version=command.expected_version,
            content_digests=_asked_for(command, record),
        )

    def judge(self) -> Iterator[Finding]:
        """Yield everything found; ask after all records were added."""
        yield from self.findings
        made: defaultdict[str, list[_Place]] = defaultdict(list)
        for aggregate_id, log in self.logs.items():
            for number, event in log.events.items():
                if number <= log.head or event.command_id in self.commands:
                    made[event.command_id].append(_Place(aggregate_id, number, event))
        for command_id, places in made.items():
            yield from self._judge_events(command_id, places)
        for command in self.commands.values():
            if command.records:
                yield from self._judge_command(command, made.get(command.command_id, []))

    def _judge_events(self, command_id: str, places: list[_Place]) -> Iterator[Finding]:
        if len(places) > 1:
            others = " and ".join(map(str, places))
            yield Finding(Code.EVENT_DOUBLED, f"command {command_id}", f"expected one event, found {others}")
        command = self.commands.get(command_id)
        for place in places:
            yield from _judge_event(command, place)

    def _judge_command(self, command: CommandFacts, places: list[_Place]) -> Iterator[Finding]:
        where, last = f"command {command.command_id}", command.last
        for number in range(1, last.number):
            record = command.records.get(number)
            if record is None:
                yield Finding(Code.RECORD_MISSING, f"record {number} of {where}", f"found {last.number}, not this one")
            elif record.slot is None:
                yield Finding(
                    Code.RECORD_UNFOUNDED, f"record {number + 1} of {where}", "a rejection is the last record"
                )
            elif self._is_own_or_free(record, command.command_id):
                found = f"expected another command's event in slot {record.slot} before this record, found none"
                yield Finding(Code.RECORD_UNFOUNDED, f"record {number + 1} of {where}", found)
        if last.rejection is not None:
            yield from self._judge_rejection(command, last, places)
        elif not places and not self._is_damaged(last):
            yield Finding(
                Code.COMMAND_UNFINISHED,
                where,
                f"expected its event in slot {last.aggregate_id} {last.slot}, found none; the sweep finishes it",
                waits_for=(command.command_id,),
                aggregate_id=last.aggregate_id,
            )

    def _judge_rejection(self, command: CommandFacts, last: RecordFacts, places: list[_Place]) -> Iterator[Finding]:
        rejection = last.rejection
        assert rejection is not None  # the caller looked
        where = f"command {command.command_id}"
        for place in places:
            yield Finding(
                Code.REJECTED_BUT_APPLIED, where, f"rejected as {rejection.code}, yet its event is in {place}"
            )
        found = self._unfounded(last, rejection)
        if found:
            yield Finding(Code.REJECTION_UNFOUNDED, where, f"rejected as {rejection.code}, but {found}")

    def _unfounded(self, record: RecordFacts, rejection: Rejection) -> str | None:
        """Return why the state that a rejection was decided on does not lead to it, or None."""
        version = rejection.details.get("found_version")
        log = self.logs.get(record.aggregate_id)
        if not isinstance(version, int):
            return None
        if version and (log is None or version not in log.taken):
            return f"version {version} never was"
        event = log.events.get(version) if log else None
        if version and event is None:
            return None  # damage leaves it open
        deleted = event is not None and event.event_type is EventType.INSTANCE_DELETED
        holds = {
            RejectionCode.INSTANCE_EXISTS: version > 0 and not deleted,
            RejectionCode.INSTANCE_NOT_FOUND: version == 0,
            RejectionCode.INSTANCE_DELETED: deleted,
            RejectionCode.VERSION_CONFLICT: record.expected_version not in (None, version),
        }.get(rejection.code, True)
        return None if holds else f"version {version} is no reason for that"

    def _is_own_or_free(self, record: RecordFacts, command_id: str) -> bool:
        """Return whether nothing but the command itself stands in the slot that a record binds it to."""
        log = self.logs.get(record.aggregate_id)
        event = log.events.get(record.slot or 0) if log else None
        return not self._is_damaged(record) and (event is None or event.command_id == command_id)

    def _is_damaged(self, record: RecordFacts) -> bool:
        """Return whether the slot that a record names is taken by something that cannot be read."""
        log = self.logs.get(record.aggregate_id)
        return log is not None and record.slot in log.taken and record.slot not in log.events

    def _find(self, code: Code, where: str, found: str) -> None:
        self.findings.append(Finding(code, where, found))


def _own_record(command_id: str, number: int, body: bytes | None, damage: str, where: str) -> CommandRecord:
    """Return the record if it can be read and is the one that its key names; raises Unsound."""
    if body is None:
        raise Unsound(Code.RECORD_UNREADABLE, where, f"expected a command's record, found {damage}")
    try:
        record = read_record(body, where=where)
    except LogDamaged as error:
        raise Unsound(Code.RECORD_UNREADABLE, where, f"{error.message}; restore the first version") from error
    if (record.command_id, record.number) != (command_id, number):
        found = f"expected its own record, found {record.number} of {record.command_id}: an object was moved"
        raise Unsound(Code.RECORD_FORGED, where, found)
    if not isinstance(record, CommandRecord):
        raise Unsound(Code.RECORD_UNREADABLE, where, "expected the record of a command on one instance, found another")
    return record


def _own_command(record: CommandRecord, command_hash: str, where: str) -> Command:
    """Return the command that the record holds if it is the one that it and those before say; raises Unsound."""
    if command_hash not in ("", record.command_hash):
        found = f"expected the command of the records before, hash {command_hash}, found {record.command_hash}"
        raise Unsound(Code.RECORD_FORGED, where, found)
    try:
        command = parse_command(record.command)
    except InputInvalid as error:
        raise Unsound(Code.RECORD_UNREADABLE, where, f"expected a command: {error.message}") from error
    expected = (command.hash, command.command_id, str(command.aggregate_id))
    if expected != (record.command_hash, record.command_id, record.aggregate_id):
        found = f"expected hash {command.hash} of its own command, found {record.command_hash}: it was altered"
        raise Unsound(Code.RECORD_FORGED, where, found)
    return command


def _judge_event(command: CommandFacts | None, place: _Place) -> Iterator[Finding]:
    """Yield what is wrong between one event and the records of its command."""
    event, where = place.event, str(place)
    if event.event_id != derive_event_id(event.command_id, 0):
        found = f"expected event ID {derive_event_id(event.command_id, 0)}, found {event.event_id}"
        yield Finding(Code.EVENT_ID_WRONG, where, found)
    if command is None:
        found = f"expected a record of its command {event.command_id}, found none: it was lost, or never was asked for"
        yield Finding(Code.RECORD_MISSING, where, found)
        return
    if not command.records:
        return  # what is there cannot be read, which is said already
    binding = next(
        (
            record
            for record in command.records.values()
            if (record.aggregate_id, record.slot) == (place.aggregate_id, place.sequence_number)
        ),
        None,
    )
    if binding is None or command.command_hash != event.command_hash:
        found = f"expected a record of command {event.command_id} that binds it to this slot, found none"
        yield Finding(Code.EVENT_UNBOUND, where, found)
    elif event.content_digest not in binding.content_digests:
        found = f"expected what command {event.command_id} asks for, found other content"
        yield Finding(Code.EVENT_FORGED, where, found)


def _asked_for(command: Command, record: CommandRecord) -> tuple[bytes, bytes]:
    """Return the content digest of the event that the command asks for, as it is and over a new definition."""
    definition = record.definition
    fields: dict[str, object] = {
        "event_type": EVENTS[command.command_type][0],
        "aggregate_id": str(command.aggregate_id),
        "command_id": command.command_id,
        "data": command.payload,
        "occurred_at": record.occurred_at,
        "definition": definition and definition.model_dump(mode="json"),
        "actor": command.actor,
        "correlation_id": command.correlation_id,
        "causation_id": command.causation_id,
    }
    return content_digest(fields), content_digest(fields, migrated=True)
