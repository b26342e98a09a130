"""The records of a bulk command: its plan, and chunk by chunk the end of each item (docs/protocol.md)."""

from collections.abc import Sequence
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, Self

from pydantic import Field, ValidationError, model_validator

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.plan import Plan
from oncelog.domain.canonical import canonical_bytes, parse_stored
from oncelog.domain.events import DefinitionReference
from oncelog.domain.frozen_model import STORED, Value
from oncelog.domain.results import Rejection
from oncelog.domain.unique.entry import Place, UniqueEntry, entries_of
from oncelog.errors import InputInvalid, LogDamaged

RECORD_VERSION = "1.0.0"

#: 1.1.0 adds ``places`` to bindings; a record of a chunk without any keeps the version before.
CHUNK_RECORD_VERSION_WITH_PLACES = "1.1.0"


class BulkRecord(Value):
    """The one record of a bulk command itself: its plan, or the rejection of all of it. Never changed."""

    record_version: str = RECORD_VERSION
    number: int = Field(default=1, ge=1, le=1)
    command_id: str
    command_hash: str
    command: dict[str, Any]
    occurred_at: str
    plan: Plan | None = None
    rejection: Rejection | None = None

    @model_validator(mode="after")
    def _names_one_end(self) -> Self:
        if (self.plan is None) == (self.rejection is None):
            raise ValueError("a record of a bulk command holds either its plan or its rejection")
        return self

    @cached_property
    def canonical(self) -> bytes:
        """The canonical form as it lies in S3."""
        fields = self.model_dump(mode="json", exclude_none=True, exclude={"command"})
        return canonical_bytes(fields | {"command": self.command})

    @property
    def accepted_plan(self) -> Plan:
        """The plan; raises LogDamaged for a command that was rejected as a whole, which has no chunks."""
        if self.plan is None:
            raise LogDamaged(
                f"command {self.command_id}: expected the plan of an accepted bulk command, found a rejection; "
                "it was altered, run oncelog verify",
                command_id=self.command_id,
            )
        return self.plan

    @cached_property
    def bulk(self) -> Bulk:
        """The command; raises ValidationError where the record holds none, which reading it back rules out."""
        return Bulk.model_validate(self.command, context=STORED)


class Closed(StrEnum):
    """Why a bulk command ended before all of its chunks were applied."""

    CANCELLED = "CANCELLED"
    TERMINATED = "TERMINATED"


class Binding(Value):
    """The binding of one item: a slot of its aggregate, or a rejection. An invalid item has no aggregate.

    ``places``: in the chain of each unique value that the item's event brings in; None where it brings in none.
    """

    index: int
    aggregate_id: str | None = None
    slot: int | None = Field(default=None, ge=1)
    places: tuple[Place, ...] | None = None
    rejection: Rejection | None = None

    @model_validator(mode="after")
    def _names_one_end(self) -> Self:
        if (self.slot is None) == (self.rejection is None):
            raise ValueError("an item is bound either to a slot or to a rejection")
        if self.aggregate_id is None and self.slot is not None:
            raise ValueError("an item that is bound to a slot has an aggregate")
        if self.places is not None and (self.slot is None or not self.places):
            raise ValueError("an item has places beside a slot, or none at all")
        return self

    @property
    def bound_slot(self) -> "BoundSlot | None":
        """The slot with its aggregate; None for a rejected item."""
        if self.aggregate_id is None or self.slot is None:
            return None
        return BoundSlot(self.aggregate_id, self.slot)


class BoundSlot(NamedTuple):
    """The slot that an item is bound to."""

    aggregate_id: str
    number: int


class ChunkRecord(Value):
    """Record ``number`` of a chunk: the bindings of items, in their order, or that the command ends before it.

    Record 1 binds every item of the chunk; a further one exactly those that the one before left conflicted or
    invalidated.

    ``definition``: the one of the class that its items were decided under, and that every later attempt decides them
    under as well; None where the class was not defined.
    """

    record_version: str = RECORD_VERSION
    command_id: str
    command_hash: str
    chunk: int = Field(ge=1)
    number: int = Field(ge=1)
    definition: DefinitionReference | None = None
    bindings: tuple[Binding, ...] = ()
    closed: Closed | None = None

    @model_validator(mode="after")
    def _binds_or_closes(self) -> Self:
        if bool(self.bindings) == (self.closed is not None):
            raise ValueError("a chunk's record either binds items or closes the command")
        if self.closed is not None and self.number != 1:
            raise ValueError("a command is closed before a chunk, never within one")
        indices = [binding.index for binding in self.bindings]
        if indices != sorted(set(indices)):
            raise ValueError("a chunk's record binds each item once, in their order")
        return self

    @cached_property
    def canonical(self) -> bytes:
        """The canonical form as it lies in S3."""
        return canonical_bytes(self.model_dump(mode="json", exclude_none=True))

    def entries_of(self, binding: Binding) -> list[UniqueEntry]:
        """Return the entries of one of its bindings, in the order in which they are written before the event."""
        if binding.bound_slot is None or binding.places is None:
            return []
        return entries_of(
            *binding.bound_slot,
            binding.places,
            command_id=self.command_id,
            record=self.number,
            chunk=self.chunk,
            item=binding.index,
        )


def bulk_record(bulk: Bulk, *, occurred_at: str, end: Plan | Rejection) -> BulkRecord:
    """Build the record of a bulk command."""
    return BulkRecord(
        command_id=bulk.command_id,
        command_hash=bulk.hash,
        command=bulk.as_json,
        occurred_at=occurred_at,
        plan=end if isinstance(end, Plan) else None,
        rejection=end if isinstance(end, Rejection) else None,
    )


def chunk_record(
    record: BulkRecord,
    chunk: int,
    number: int,
    end: Sequence[Binding] | Closed,
    *,
    definition: DefinitionReference | None = None,
) -> ChunkRecord:
    """Build a chunk's record ``number``."""
    bindings = () if isinstance(end, Closed) else tuple(end)
    with_places = any(binding.places for binding in bindings)
    return ChunkRecord(
        record_version=CHUNK_RECORD_VERSION_WITH_PLACES if with_places else RECORD_VERSION,
        command_id=record.command_id,
        command_hash=record.command_hash,
        chunk=chunk,
        number=number,
        definition=definition,
        bindings=bindings,
        closed=end if isinstance(end, Closed) else None,
    )


def read_chunk_record(data: bytes, *, where: str) -> ChunkRecord:
    """Parse a stored record of a chunk; raises LogDamaged."""
    try:
        return ChunkRecord.model_validate(parse_stored(data, where=where))
    except (InputInvalid, ValidationError) as error:
        raise LogDamaged(f"{where}: not a chunk's record: {error}; run oncelog verify", where=where) from error
