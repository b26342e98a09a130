"""Commands against the log: each event bound by its command's record, one event per command, none of a rejected one."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.records import CommandRecord
from oncelog.verification.bulk import BulkAudit, collides, unfounded
from oncelog.verification.findings import Code, Finding, InvalidObject
from oncelog.verification.log import EventFacts, LogFacts
from oncelog.verification.records import CommandFacts, RecordFacts, check_own, facts_of, own_record

RECORD_KEY = re.compile(r"commands/(?P<command_id>[^/]+)/(chunks/(?P<chunk>[0-9]{6})/)?(?P<number>[0-9]{6})\.json")


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
    _others: set[str] = field(default_factory=set)

    def add(self, key: str, body: bytes | None, *, damage: str = "") -> None:
        """Look at the object under a key of ``commands/``. ``body`` None: unreadable for the reason in ``damage``."""
        match = RECORD_KEY.fullmatch(key)
        if match is None:
            self._find(Code.OBJECT_FOREIGN, key, "expected a command's record here, found a key that names none")
            return
        command_id, chunk, number = unquote(match["command_id"]), match["chunk"], int(match["number"])
        if command_id in self._others:
            return
        facts = self.commands.setdefault(command_id, CommandFacts(command_id))
        if chunk is not None:
            self._add_chunk(facts, int(chunk), number, body, damage)
        elif number not in facts.records:
            self._add_record(facts, number, body, damage)

    def _add_record(self, facts: CommandFacts, number: int, body: bytes | None, damage: str) -> None:
        where = f"record {number} of command {facts.command_id}"
        try:
            record = own_record(facts.command_id, number, body, damage, where)
            db_name = check_own(record, facts.command_hash, where)
        except InvalidObject as error:
            self.findings.append(error.finding)
            return
        if self.db_name not in (None, db_name):
            del self.commands[facts.command_id]
            self._others.add(facts.command_id)
            return
        facts.command_hash = record.command_hash
        if isinstance(record, CommandRecord):
            facts.records[number] = facts_of(record)
        else:
            facts.bulk = BulkAudit(record, self.logs)

    def _add_chunk(self, facts: CommandFacts, chunk: int, number: int, body: bytes | None, damage: str) -> None:
        if facts.bulk is not None:
            facts.bulk.add(chunk, number, body, damage=damage)
        elif not facts.is_known:
            found = f"expected record 1 of bulk command {facts.command_id} before its chunks, found none"
            self._find(Code.RECORD_MISSING, f"record 1 of command {facts.command_id}", found)
        else:
            found = "expected no chunks of a command on one instance"
            self._find(Code.OBJECT_FOREIGN, f"chunk {chunk} of command {facts.command_id}", found)

    @property
    def finished_bulks(self) -> list[BulkAudit]:
        """Those whose results should lie there."""
        bulks = [facts.bulk for facts in self.commands.values() if facts.bulk is not None]
        for bulk in bulks:
            bulk.end()
        return [bulk for bulk in bulks if bulk.finished and bulk.rejection is None]

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
            if command.bulk is not None:
                command.bulk.end()
                yield from command.bulk.findings
            elif command.records:
                yield from self._judge_command(command, made.get(command.command_id, []))

    def _judge_events(self, command_id: str, places: list[_Place]) -> Iterator[Finding]:
        command = self.commands.get(command_id)
        if command is not None and command.bulk is not None:
            yield from _judge_bulk_events(command.bulk, places)
            return
        if len(places) > 1:
            others = " and ".join(map(str, places))
            yield Finding(Code.EVENT_DOUBLED, f"command {command_id}", f"expected one event, found {others}")
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
            elif self._is_own_or_free(record, command.command_id) and not self._is_refused(record, command.last):
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
                aggregate_ids=(last.aggregate_id,),
            )

    def _judge_rejection(self, command: CommandFacts, last: RecordFacts, places: list[_Place]) -> Iterator[Finding]:
        rejection = last.rejection
        assert rejection is not None  # the caller looked
        where = f"command {command.command_id}"
        for place in places:
            yield Finding(
                Code.REJECTED_BUT_APPLIED, where, f"rejected as {rejection.code}, yet its event is in {place}"
            )
        found = unfounded(rejection, self.logs.get(last.aggregate_id), last.expected_version)
        if found:
            yield Finding(Code.REJECTION_UNFOUNDED, where, f"rejected as {rejection.code}, but {found}")

    def _is_own_or_free(self, record: RecordFacts, command_id: str) -> bool:
        """Return whether nothing but the command itself stands in the slot that a record binds it to."""
        log = self.logs.get(record.aggregate_id)
        event = log.events.get(record.slot or 0) if log else None
        return not self._is_damaged(record) and (event is None or event.command_id == command_id)

    def _is_refused(self, record: RecordFacts, last: RecordFacts) -> bool:
        """Return whether the next record rejects the command for a name collision that can be."""
        if last.number != record.number + 1 or last.rejection is None:
            return False
        return collides(last.rejection, record.aggregate_id, self.logs)

    def _is_damaged(self, record: RecordFacts) -> bool:
        """Return whether the slot that a record names is taken by something that cannot be read."""
        log = self.logs.get(record.aggregate_id)
        return log is not None and record.slot in log.taken and record.slot not in log.events

    def _find(self, code: Code, where: str, found: str) -> None:
        self.findings.append(Finding(code, where, found))


def _judge_bulk_events(bulk: BulkAudit, places: list[_Place]) -> Iterator[Finding]:
    """Yield what is wrong between a bulk command's events and the records of its chunks."""
    bulk.end()
    seen: dict[str, _Place] = {}
    for place in places:
        where, event = str(place), place.event
        if bulk.rejection is not None:
            found = f"rejected as {bulk.rejection.code}, yet its event is in {place}"
            yield Finding(Code.REJECTED_BUT_APPLIED, f"command {bulk.command_id}", found)
        elif (place.aggregate_id, place.sequence_number) not in bulk.bound or (
            event.command_hash != bulk.record.command_hash
        ):
            found = f"expected a record of command {bulk.command_id} that binds an item to this slot, found none"
            yield Finding(Code.EVENT_UNBOUND, where, found)
        if event.event_id in seen:
            found = f"expected one event of an item, found another in {seen[event.event_id]}"
            yield Finding(Code.EVENT_DOUBLED, where, found)
        seen[event.event_id] = place


def _judge_event(command: CommandFacts | None, place: _Place) -> Iterator[Finding]:
    """Yield what is wrong between one event and the records of its command."""
    event, where = place.event, str(place)
    if command is None:
        found = f"expected a record of its command {event.command_id}, found none: it was lost, or never was asked for"
        yield Finding(Code.RECORD_MISSING, where, found)
        return
    if event.event_id != derive_event_id(event.command_id, 0):
        found = f"expected event ID {derive_event_id(event.command_id, 0)}, found {event.event_id}"
        yield Finding(Code.EVENT_ID_WRONG, where, found)
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
