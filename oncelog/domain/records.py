"""A command's records: the memory behind "exactly once, for ever" (docs/protocol.md, R2)."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Self, cast

from pydantic import ValidationError, model_validator

from oncelog.domain.bulk.command import is_bulk
from oncelog.domain.bulk.records import BulkRecord
from oncelog.domain.canonical import canonical_bytes, parse_stored
from oncelog.domain.commands import Command, parse_command
from oncelog.domain.events import DecidedEvent, DefinitionReference, Effect, Event, content_of
from oncelog.domain.frozen_model import Value
from oncelog.domain.results import Rejection
from oncelog.domain.unique.entry import Place, UniqueEntry, entries_of
from oncelog.errors import InputInvalid, LogDamaged

#: 1.1.0 adds ``definition``, 1.2.0 ``event``, 1.3.0 ``places`` and an event's constraints; a record keeps the lowest
#: version that has all it says.
RECORD_VERSION = "1.1.0"
RECORD_VERSION_WITH_EVENT = "1.2.0"
RECORD_VERSION_WITH_PLACES = "1.3.0"


class CommandRecord(Value):
    """The record of a command: the slot it is about to take (an intent), or its rejection.

    Record 1 is written before the first PUT of an event. A further one exists only where the slot or a place named by
    the one before turned out to be another command's. Records are never changed.

    ``definition``: the one of the instance's class that it was decided under, and that every later attempt decides
    under as well; None where the class was not defined. ``event``: the decision on a command of one's own, which is not
    made again: a release may change it. The event of a built-in command follows from the command and its slot.
    ``places``: in the chain of each unique value that the event brings in, in the order in which they are taken; None
    where it brings in none.
    """

    record_version: str = RECORD_VERSION
    number: int
    command_id: str
    command_hash: str
    command: dict[str, Any]
    aggregate_id: str
    occurred_at: str
    definition: DefinitionReference | None = None
    event: DecidedEvent | None = None
    slot: int | None = None
    places: tuple[Place, ...] | None = None
    rejection: Rejection | None = None

    @model_validator(mode="after")
    def _names_one_end(self) -> Self:
        if (self.slot is None) == (self.rejection is None):
            raise ValueError("a record names either a slot or a rejection")
        if self.event is not None and self.slot is None:
            raise ValueError("a record of a rejection carries no event")
        if self.places is not None and (self.slot is None or not self.places):
            raise ValueError("a record names places beside a slot, or none at all")
        return self

    def own_command(self) -> Command:
        """Return the command that the record binds; raises LogDamaged if that is not the one it was made of."""
        where = f"record {self.number} of command {self.command_id}"
        try:
            command = parse_command(self.command, stored=True)
        except InputInvalid as error:
            raise LogDamaged(f"{where}: {error.message}; run oncelog verify", where=where) from error
        if command.hash != self.command_hash:
            raise LogDamaged(
                f"{where}: expected command_hash {command.hash}, found {self.command_hash}: it was altered; "
                "run oncelog verify",
                where=where,
            )
        return command

    @property
    def end(self) -> int | Rejection:
        """The slot that the command is bound to, or its rejection."""
        return cast("Rejection", self.rejection) if self.slot is None else self.slot  # validated: one or the other

    @property
    def entries(self) -> list[UniqueEntry]:
        """The entries of its places, in the order in which they are written before the event."""
        if self.slot is None or self.places is None:
            return []
        return entries_of(self.aggregate_id, self.slot, self.places, command_id=self.command_id, record=self.number)

    @cached_property
    def canonical(self) -> bytes:
        """The canonical form as it lies in S3."""
        fields = self.model_dump(mode="json", exclude_none=True, exclude={"command"})
        return canonical_bytes(fields | {"command": self.command})


def record_of(
    command: Command,
    *,
    number: int,
    occurred_at: str,
    end: Event | int | Rejection,
    definition: DefinitionReference | None = None,
    places: Sequence[Place] = (),
) -> CommandRecord:
    """Build a command's record ``number``, an intent for a slot or a rejection.

    ``end``: the event that was decided, or where it follows from the command, its slot. ``places``: in the chains of
    the unique values that it brings in.
    """
    decided = decided_of(end) if isinstance(end, Event) else None
    if isinstance(end, Event):
        end = end.sequence_number
    return CommandRecord(
        record_version=_version(decided, places),
        number=number,
        command_id=command.command_id,
        command_hash=command.hash,
        command=command.as_json,
        aggregate_id=str(command.aggregate_id),
        occurred_at=occurred_at,
        definition=definition,
        event=decided,
        slot=end if isinstance(end, int) else None,
        places=tuple(places) or None,
        rejection=end if isinstance(end, Rejection) else None,
    )


def _version(decided: DecidedEvent | None, places: Sequence[Place]) -> str:
    if places or (decided and decided.constraints):
        return RECORD_VERSION_WITH_PLACES
    return RECORD_VERSION_WITH_EVENT if decided else RECORD_VERSION


def decided_of(event: Event) -> DecidedEvent | None:
    """Return the part of an event that its record carries; None where it follows from the command and its slot."""
    content = content_of(event)
    if content.effect is not Effect.EVOLVE:
        return None
    return DecidedEvent(event.event_type, event.schema_version, content.effect, event.data, content.constraints or None)


#: The records that one command ID may have: one ID is used by one command, on one instance or in bulk.
AnyRecord = CommandRecord | BulkRecord


def read_record(data: bytes, *, where: str) -> AnyRecord:
    """Parse a command's stored record, of either kind; raises LogDamaged."""
    try:
        fields = parse_stored(data, where=where)
        if not isinstance(fields, dict) or not is_bulk(fields.get("command")):
            return CommandRecord.model_validate(fields)
        record = BulkRecord.model_validate(fields)
        record.bulk  # noqa: B018 - it has to be one
        return record
    except (InputInvalid, ValidationError) as error:
        raise LogDamaged(f"{where}: not a command record: {error}; run oncelog verify", where=where) from error
