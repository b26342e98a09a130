"""The chain of a value: numbered entries, each written once by the event that brings the value in.

A record names the place of each entry before it is written, so that every attempt, and every helper, writes the same
bytes (docs/protocol.md, V1).
"""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

from pydantic import Field, ValidationError

from oncelog.domain.canonical import canonical_bytes, parse_stored, sha256_hex
from oncelog.domain.frozen_model import Value
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import unique_entry_key
from oncelog.domain.unique.constraint import ValueKey
from oncelog.errors import InputInvalid, LogDamaged

ENTRY_VERSION = "1.0.0"


class ValueChain(NamedTuple):
    """The chain of a value of a class's constraint."""

    db_name: str
    class_id: str
    value: ValueKey

    @classmethod
    def of(cls, aggregate_id: AggregateId, value: ValueKey) -> "ValueChain":
        """Return the chain of a value in the class of an instance."""
        return cls(aggregate_id.db_name, aggregate_id.class_id, value)

    def key_of(self, n: int) -> str:
        """Return the key of entry ``n``."""
        return unique_entry_key(self.db_name, self.class_id, *self.value, n)

    def __str__(self) -> str:
        return f"{self.db_name}/{self.class_id}, {self.value.constraint} {self.value.sha256}"


class EndedBy(Value):
    """The evidence that an entry is over: an event after which its instance does not hold the value, or another entry.

    ``key``: where it lies in S3. ``checksum``: the event's, or the SHA-256 of the entry's bytes.
    """

    key: str
    checksum: str


class Place(Value):
    """A place in the chain of a value that an event brings in. ``ended_by``: of the entry before; None in place 1."""

    constraint: str
    sha256: str
    n: int = Field(ge=1)
    ended_by: EndedBy | None = None

    @property
    def value(self) -> ValueKey:
        """The value of its chain."""
        return ValueKey(self.constraint, self.sha256)


class UniqueEntry(Value):
    """Entry ``n`` of a chain: the slot that brings the value in, and the record that bound it there.

    ``record``: the record's number; ``chunk`` and ``item`` say more of a bulk command's. ``places``: all places of the
    event, in the order in which they are taken.
    """

    entry_version: str = ENTRY_VERSION
    constraint: str
    sha256: str
    n: int = Field(ge=1)
    aggregate_id: str
    slot: int = Field(ge=1)
    command_id: str
    record: int = Field(ge=1)
    chunk: int | None = None
    item: int | None = None
    places: tuple[Place, ...]

    @property
    def aggregate(self) -> AggregateId:
        return AggregateId.parse(self.aggregate_id)

    @property
    def value(self) -> ValueKey:
        """The value of its chain."""
        return ValueKey(self.constraint, self.sha256)

    @property
    def chain(self) -> ValueChain:
        return ValueChain.of(self.aggregate, self.value)

    @property
    def key(self) -> str:
        """Where it lies in S3."""
        return self.chain.key_of(self.n)

    @cached_property
    def canonical(self) -> bytes:
        """The canonical form as it lies in S3."""
        return canonical_bytes(self.model_dump(mode="json", exclude_none=True))

    @property
    def checksum(self) -> str:
        """The SHA-256 of its bytes."""
        return sha256_hex(self.canonical)

    @property
    def own_place(self) -> Place | None:
        """The place it lies in, as its record names it; None where that names another."""
        here = (self.constraint, self.sha256, self.n)
        return next((place for place in self.places if (place.constraint, place.sha256, place.n) == here), None)

    def beside(self, place: Place) -> "UniqueEntry":
        """Return the entry of the same event in another of its places."""
        return self.model_copy(update={"constraint": place.constraint, "sha256": place.sha256, "n": place.n})


def entries_of(
    aggregate_id: AggregateId | str,
    slot: int,
    places: Sequence[Place],
    *,
    command_id: str,
    record: int,
    chunk: int | None = None,
    item: int | None = None,
) -> list[UniqueEntry]:
    """Return the entries of an event that a record binds to a slot, in the order in which they are written."""
    return [
        UniqueEntry(
            constraint=place.constraint,
            sha256=place.sha256,
            n=place.n,
            aggregate_id=str(aggregate_id),
            slot=slot,
            command_id=command_id,
            record=record,
            chunk=chunk,
            item=item,
            places=tuple(places),
        )
        for place in places
    ]


def read_entry(data: bytes, *, where: str) -> UniqueEntry:
    """Parse a stored entry; raises LogDamaged."""
    try:
        return UniqueEntry.model_validate(parse_stored(data, where=where))
    except (InputInvalid, ValidationError) as error:
        raise LogDamaged(
            f"{where}: not an entry of a unique value: {error}; run oncelog verify", where=where
        ) from error
