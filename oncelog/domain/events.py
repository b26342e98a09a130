"""Events: the immutable, checksummed event, its chain, and its one byte form.

An ``Event`` is the stored event, in whichever version it was written: its bytes are hashed, chained and published.
Their meaning is read through ``content_of``, the one place where an older version is upcast to the newest.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Annotated, Any, NamedTuple

from pydantic import ConfigDict, Field, ValidationError

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.canonical import canonical_bytes, parse_stored, sha256_hex
from oncelog.domain.event_schemas import EVENT_SCHEMAS, steps_from
from oncelog.domain.frozen_model import Value
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.type_names import EventType as EventType
from oncelog.errors import InputInvalid, LogDamaged, SchemaUnsupported

DIGEST_CHARACTERS = 64
_CHECKSUM_MEMBER = b',"checksum":"'


class Effect(StrEnum):
    """The effect of an event's data on the data before it."""

    REPLACE = "REPLACE"
    MERGE = "MERGE"
    REMOVE = "REMOVE"
    EVOLVE = "EVOLVE"  # as the code of an aggregate of one's own says


#: The semantic version in which each event type is written today.
SCHEMA_VERSIONS: dict[str, str] = {kind: str(EVENT_SCHEMAS[kind].newest) for kind in EventType}


#: An event's type: built in, or of an aggregate of one's own.
EventTypeName = Annotated[EventType | str, Field(union_mode="left_to_right")]


class DefinitionReference(Value):
    """A class' definition: the sequence number of the event that made it, and the semantic version it was given."""

    sequence_number: int
    version: str

    @property
    def as_json(self) -> dict[str, Any]:
        """The same as a JSON object."""
        return {"sequence_number": self.sequence_number, "version": self.version}


@dataclass(frozen=True, slots=True)
class DecidedEvent:
    """The part of an event that is decided: all that follows neither from its command nor from its slot.

    ``constraints``: the unique constraints of an aggregate of one's own that it was decided under, None for none.
    """

    event_type: str
    schema_version: str
    effect: Effect
    data: dict[str, Any]
    constraints: tuple[str, ...] | None = None


class EventContent(NamedTuple):
    """The content of an event, upcast to the newest version. ``definition``: its data was validated against this one.

    ``constraints``: see ``DecidedEvent``.
    """

    data: dict[str, Any]
    definition: DefinitionReference | None
    effect: Effect
    constraints: tuple[str, ...] = ()


class Event(Value):
    """One fact about one aggregate, in slot ``sequence_number`` of its log, as it is stored.

    The fields here are in every version; fields that a version adds are kept as well (``model_extra``). ``data``: all
    of it, a JSON Merge Patch (RFC 7396), or empty, see ``Effect``. ``occurred_at``: RFC 3339, UTC. ``checksum``:
    SHA-256 of the canonical form without ``checksum``; ``previous_checksum`` is that of the event in the slot before,
    null in slot 1.
    """

    model_config = ConfigDict(extra="allow", cache_strings="keys")  # most values are seen once only

    event_id: str
    event_type: EventTypeName
    schema_version: str
    sequence_number: int
    aggregate_id: str
    db_name: str
    class_id: str
    instance_id: str
    command_id: str
    command_hash: str
    data: dict[str, Any]
    occurred_at: str
    actor: str | None
    correlation_id: str | None
    causation_id: str | None
    previous_checksum: str | None
    checksum: str

    @cached_property
    def canonical(self) -> bytes:
        """The canonical form as it lies in S3 and on Kafka."""
        fields = self.model_dump(mode="json", exclude={"data"})
        return canonical_bytes(fields | {"data": self.data})

    @property
    def aggregate(self) -> AggregateId:
        return AggregateId.parse(self.aggregate_id)


def rfc3339(moment: datetime) -> str:
    """Return an aware moment as RFC 3339 in UTC with microseconds, the form of every time in the contract."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def checksum_of(fields: dict[str, Any]) -> str:
    """Return the checksum of an event given as JSON, computed without its ``checksum``."""
    return sha256_hex(canonical_bytes({name: value for name, value in fields.items() if name != "checksum"}))


def sealed_event(**fields: Any) -> Event:
    """Build an event from everything but its checksum.

    The canonical form is most of an event's cost here, so it is written once: its members are sorted by name, so that
    the checksum stands between those that sort before it and those that sort after it.
    """
    before = canonical_bytes({name: value for name, value in fields.items() if name < "checksum"})[:-1]
    after = canonical_bytes({name: value for name, value in fields.items() if name > "checksum"})[1:]
    checksum = sha256_hex(before + b"," + after)
    event = Event(**fields, checksum=checksum)
    event.__dict__["canonical"] = b'%s,"checksum":"%s",%s' % (before, checksum.encode(), after)
    return event


def content_of(event: Event) -> EventContent:
    """Return the event's content, migrated from the version in which it was stored; the event stays as it is.

    Raises SchemaUnsupported for a version that this release cannot read, LogDamaged if it does not have the form of
    its version.
    """
    steps = steps_from(event.event_type, event.schema_version)
    fields: Mapping[str, Any] = {"data": event.data, **(event.model_extra or {})}
    for step in steps:
        fields = step(fields)
    try:
        definition = fields["definition"]
        return EventContent(
            data=fields["data"],
            definition=None if definition is None else DefinitionReference.model_validate(definition),
            effect=Effect(fields["effect"]),
            constraints=tuple(map(str, fields.get("constraints") or ())),
        )
    except (KeyError, ValueError) as error:
        where = f"aggregate {event.aggregate_id} event {event.sequence_number}"
        problem = f"no member {error}" if isinstance(error, KeyError) else str(error)
        raise LogDamaged(f"{where}: not what {event.schema_version} promises: {problem}", where=where) from error


def read_event(data: bytes, *, where: str) -> Event:
    """Parse and verify a stored event of any version.

    Raises LogDamaged if a single bit of it is not as it was written, and SchemaUnsupported for one that is whole but
    of a type or version that this release cannot read: EventFromFuture, mostly.
    """
    event = _as_sealed(data)
    if event is not None:
        return event
    try:
        fields = parse_stored(data, where=where)
        _check_whole(fields, where)
        _check_readable(fields, where)
        return Event.model_validate(fields)
    except (InputInvalid, ValidationError) as error:
        raise LogDamaged(f"{where}: not an event: {error}; run oncelog verify", where=where) from error


def _as_sealed(data: bytes) -> Event | None:
    """Return the event if these bytes, without their ``checksum``, are those that it was taken of; else None.

    The writer that sealed them made them canonical, and checked all that they hold: that need not be done again. It is
    most of the cost of reading an event, and every event is read many times. None says nothing of damage, nor whether
    the event is of a release to come: the long way does.
    """
    start = data.find(_CHECKSUM_MEMBER)  # in canonical form it is the fourth member, of which none before holds objects
    digest_at = start + len(_CHECKSUM_MEMBER)
    end = digest_at + DIGEST_CHARACTERS
    digest = sha256_hex(data[:start] + data[end + 1 :])
    if start < 0 or data[digest_at : end + 1] != digest.encode() + b'"':
        return None
    try:
        event = Event.model_validate_json(data)
        steps_from(event.event_type, event.schema_version)
    except (ValidationError, InputInvalid, SchemaUnsupported):
        return None
    if event.checksum != digest:
        return None
    event.__dict__["canonical"] = data
    return event


def _check_whole(fields: Any, where: str) -> None:
    if not isinstance(fields, dict):
        raise InputInvalid(f"expected an object, found {type(fields).__name__}")
    expected = checksum_of(fields)
    if fields.get("checksum") != expected:
        raise LogDamaged(
            f"{where}: expected checksum {expected}, found {str(fields.get('checksum'))[:80]}; it was altered, "
            "run oncelog verify",
            where=where,
        )


def _check_readable(fields: dict[str, Any], where: str) -> None:
    """Tell an event of a newer release from an object that is no event, before its form is checked: that may be new."""
    event_type, version = fields.get("event_type"), fields.get("schema_version")
    if not isinstance(event_type, str) or not isinstance(version, str):
        raise InputInvalid("expected an event_type and a schema_version")
    about = {name: fields.get(name) for name in ("aggregate_id", "sequence_number", "event_id")}
    try:
        if event_type not in EVENT_SCHEMAS:
            registry().of_event(event_type, class_id=str(fields.get("class_id", "")))
        steps_from(event_type, version)
    except SchemaUnsupported as error:
        details = about | {"schema_version": version} | error.details
        raise type(error)(f"{where}: {error.message}", **details) from error
