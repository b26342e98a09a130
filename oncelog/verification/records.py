"""Commands' records, read: what the checks need of each, and what is wrong with it by itself."""

from dataclasses import dataclass, field

from oncelog.domain.commands import Command, parse_command
from oncelog.domain.instance import EVENTS
from oncelog.domain.records import AnyRecord, CommandRecord, read_record
from oncelog.domain.results import Rejection
from oncelog.errors import InputInvalid, LogDamaged
from oncelog.verification.bulk import BulkAudit
from oncelog.verification.findings import Code, InvalidObject
from oncelog.verification.log import content_digest


@dataclass(frozen=True, slots=True)
class RecordFacts:
    """The facts about one record that the checks need. ``content_digests``: of the events that its command may make."""

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
    bulk: BulkAudit | None = None

    @property
    def is_known(self) -> bool:
        """Whether any of its records could be read."""
        return bool(self.records) or self.bulk is not None

    @property
    def last(self) -> RecordFacts:
        return self.records[max(self.records)]

    @property
    def rejection(self) -> Rejection | None:
        """The reason for which it was rejected as a whole, as far as its records tell."""
        if self.bulk is not None:
            return self.bulk.rejection
        return self.last.rejection if self.records else None


def own_record(command_id: str, number: int, body: bytes | None, damage: str, where: str) -> AnyRecord:
    """Return the record if it can be read and is the one that its key names; raises InvalidObject."""
    if body is None:
        raise InvalidObject(Code.RECORD_UNREADABLE, where, f"expected a command's record, found {damage}")
    try:
        record = read_record(body, where=where)
    except LogDamaged as error:
        raise InvalidObject(Code.RECORD_UNREADABLE, where, f"{error.message}; restore the first version") from error
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
    """Return what the checks need of a record that was found to be its own."""
    command = parse_command(record.command, stored=True)
    return RecordFacts(
        number=record.number,
        aggregate_id=record.aggregate_id,
        slot=record.slot,
        rejection=record.rejection,
        expected_version=command.expected_version,
        content_digests=_asked_for(command, record),
    )


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
