"""Commands' records, read: the facts that the checks need of each, and its own defects."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import unquote

from oncelog.domain.commands import Command, parse_command
from oncelog.domain.instance import EVENTS
from oncelog.domain.records import AnyRecord, CommandRecord, read_record
from oncelog.domain.results import Rejection
from oncelog.domain.unique.entry import Place, UniqueEntry, entries_of
from oncelog.errors import InputInvalid
from oncelog.verification.bulk import BulkReader, readable_record
from oncelog.verification.chains import RefusalFacts, refusal_of
from oncelog.verification.chunks import ChunkFacts
from oncelog.verification.findings import Code, Finding, InvalidObject
from oncelog.verification.log import content_digest

RECORD_KEY = re.compile(r"commands/(?P<command_id>[^/]+)/(chunks/(?P<chunk>[0-9]{6})/)?(?P<number>[0-9]{6})\.json")


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """The facts about one record that the checks need.

    ``content_digests``: of the events that its command may make. ``places``: in the chains of unique values.
    """

    number: int
    aggregate_id: str
    slot: int | None
    rejection: Rejection | None
    expected_version: int | None
    content_digests: tuple[str, str]
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class BulkFacts:
    """A bulk command, of which its chunks are told apart. ``rejection``: of all of it."""

    rejection: Rejection | None = None


@dataclass
class CommandFacts:
    """One command as its records tell it, those that can be read, by number."""

    command_id: str
    command_hash: str = ""
    records: dict[int, RecordFacts] = field(default_factory=dict)
    bulk: BulkFacts | None = None

    @property
    def is_known(self) -> bool:
        """Whether any of its records could be read."""
        return bool(self.records) or self.bulk is not None

    @property
    def aggregate_id(self) -> str | None:
        """The aggregate that its records are about; None of a bulk command, and where none could be read."""
        return self.last.aggregate_id if self.records else None

    @property
    def last(self) -> RecordFacts:
        return self.records[max(self.records)]

    def entries_of(self, record: RecordFacts) -> list[UniqueEntry]:
        """Return the entries of the places that one of its records names."""
        if record.slot is None:
            return []
        return entries_of(
            record.aggregate_id, record.slot, record.places, command_id=self.command_id, record=record.number
        )

    def refusals(self) -> Iterator[RefusalFacts]:
        """Yield its rejection's claim about the holder of a unique value."""
        if self.records and (refusal := refusal_of(self.last.rejection, f"command {self.command_id}")):
            yield refusal

    @property
    def rejection(self) -> Rejection | None:
        """The reason for which it was rejected as a whole, as far as its records tell."""
        if self.bulk is not None:
            return self.bulk.rejection
        return self.last.rejection if self.records else None


def own_record(command_id: str, number: int, body: bytes | None, damage: str, where: str) -> AnyRecord:
    """Return the record if it can be read and is the one that its key names; raises InvalidObject."""
    record = readable_record(read_record, "a command's record", body, damage=damage, where=where)
    if (record.command_id, record.number) != (command_id, number):
        found = f"expected its own record, found {record.number} of {record.command_id}: an object was moved"
        raise InvalidObject(Code.RECORD_FORGED, where, found)
    return record


def check_own(record: AnyRecord, command_hash: str, where: str) -> str:
    """Return the database of a record's command; raise InvalidObject if it is not the command of its key and hash."""
    if command_hash not in ("", record.command_hash):
        found = f"expected the command of the records before, hash {command_hash}, found {record.command_hash}"
        raise InvalidObject(Code.RECORD_FORGED, where, found)
    try:
        command = parse_command(record.command, stored=True) if isinstance(record, CommandRecord) else record.bulk
    except InputInvalid as error:
        raise InvalidObject(Code.RECORD_UNREADABLE, where, f"expected a command: {error.message}") from error
    about = str(command.aggregate_id) if isinstance(command, Command) else None
    named = record.aggregate_id if isinstance(record, CommandRecord) else None
    if (command.hash, command.command_id, about) != (record.command_hash, record.command_id, named):
        found = f"expected hash {command.hash} of its own command, found {record.command_hash}: it was altered"
        raise InvalidObject(Code.RECORD_FORGED, where, found)
    return command.db_name


def facts_of(record: CommandRecord) -> RecordFacts:
    """Return the facts that the checks need of a record that was found to be its own."""
    command = parse_command(record.command, stored=True)
    return RecordFacts(
        number=record.number,
        aggregate_id=record.aggregate_id,
        slot=record.slot,
        rejection=record.rejection,
        expected_version=command.expected_version,
        content_digests=_asked_for(command, record),
        places=record.places or (),
    )


def _asked_for(command: Command, record: CommandRecord) -> tuple[str, str]:
    """Return the content digest of the event that the command asks for, as it is and over a new definition."""
    definition = record.definition
    fields: dict[str, object] = {
        "event_type": record.event.event_type if record.event else EVENTS.get(command.command_type, (None,))[0],
        "aggregate_id": str(command.aggregate_id),
        "command_id": command.command_id,
        "data": record.event.data if record.event else command.payload,
        "occurred_at": record.occurred_at,
        "definition": definition and definition.model_dump(mode="json"),
        "constraints": record.event and record.event.constraints and list(record.event.constraints),
        "actor": command.actor,
        "correlation_id": command.correlation_id,
        "causation_id": command.causation_id,
    }
    return content_digest(fields).hex(), content_digest(fields, migrated=True).hex()


class RecordFindings(Protocol):
    """Takes the facts and findings of records, command by command."""

    def add_command(self, facts: CommandFacts) -> None:
        """Take a command, after the last of its records."""
        ...

    def add_chunk(self, facts: ChunkFacts) -> None:
        """Take a chunk of a bulk command."""
        ...

    def add_finding(self, finding: Finding, command_id: str) -> None:
        """Take a finding about a record by itself; ``command_id`` is empty where a key names none."""
        ...


class RecordReader:
    """Takes the objects under ``commands/`` in the order of their keys; holds one command of them at a time.

    ``covers_database``: commands of others are left out.
    """

    def __init__(self, report: RecordFindings, covers_database: Callable[[str], bool] = lambda _db_name: True) -> None:
        self.commands = 0
        self._report = report
        self._covers_database = covers_database
        self._open: CommandFacts | None = None
        self._bulk: BulkReader | None = None
        self._is_covered = True
        self._finished: list[BulkReader] = []

    def add(self, key: str, body: bytes | None, *, damage: str = "") -> None:
        """Look at an object. ``body`` None: it could not be read for the reason in ``damage``."""
        match = RECORD_KEY.fullmatch(key)
        if match is None:
            found = "expected a command's record here, found a key that names none"
            self._report.add_finding(Finding(Code.OBJECT_FOREIGN, key, found), "")
            return
        command_id, chunk, number = unquote(match["command_id"]), match["chunk"], int(match["number"])
        if self._open is None or self._open.command_id != command_id:
            self.end()
            self._open, self._is_covered = CommandFacts(command_id), True
        if not self._is_covered:
            return
        if chunk is not None:
            self._add_chunk(self._open, int(chunk), number, body, damage)
        elif number not in self._open.records:
            self._add_record(self._open, number, body, damage)

    def end(self) -> None:
        """Report the command that is open."""
        facts, bulk = self._open, self._bulk
        self._open = self._bulk = None
        if facts is None or not self._is_covered:
            return
        self.commands += 1
        if bulk is not None:
            bulk.end()
            for finding in bulk.findings:
                self._report.add_finding(finding, facts.command_id)
            if bulk.finished and bulk.rejection is None:
                self._finished.append(bulk)
        self._report.add_command(facts)

    def finished_bulks(self) -> list[BulkReader]:
        """Return, once each, the bulk commands that must have results."""
        finished, self._finished = self._finished, []
        return finished

    def _add_record(self, facts: CommandFacts, number: int, body: bytes | None, damage: str) -> None:
        where = f"record {number} of command {facts.command_id}"
        try:
            record = own_record(facts.command_id, number, body, damage, where)
            db_name = check_own(record, facts.command_hash, where)
        except InvalidObject as error:
            self._report.add_finding(error.finding, facts.command_id)
            return
        if not self._covers_database(db_name):
            self._is_covered = False
            return
        facts.command_hash = record.command_hash
        if isinstance(record, CommandRecord):
            facts.records[number] = facts_of(record)
        else:
            facts.bulk = BulkFacts(record.rejection)
            self._bulk = BulkReader(record, self._report.add_chunk)

    def _add_chunk(self, facts: CommandFacts, chunk: int, number: int, body: bytes | None, damage: str) -> None:
        if self._bulk is not None:
            self._bulk.add(chunk, number, body, damage=damage)
        elif not facts.is_known:
            found = f"expected record 1 of bulk command {facts.command_id} before its chunks, found none"
            where = f"record 1 of command {facts.command_id}"
            self._report.add_finding(Finding(Code.RECORD_MISSING, where, found), facts.command_id)
        else:
            found = "expected no chunks of a command on one instance"
            where = f"chunk {chunk} of command {facts.command_id}"
            self._report.add_finding(Finding(Code.OBJECT_FOREIGN, where, found), facts.command_id)
