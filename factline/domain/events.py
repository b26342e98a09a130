"""What has happened: the immutable, checksummed event, its chain, and its one byte form."""

from datetime import UTC, datetime
from enum import StrEnum
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from factline.domain.canonical import canonical_bytes, parse_json, sha256_hex
from factline.domain.identifiers import AggregateId
from factline.domain.value import Value
from factline.errors import InputInvalid, LogDamaged


class EventType(StrEnum):
    INSTANCE_CREATED = "INSTANCE_CREATED"
    INSTANCE_UPDATED = "INSTANCE_UPDATED"
    INSTANCE_DELETED = "INSTANCE_DELETED"


#: The semantic version in which each event type is written today.
SCHEMA_VERSIONS: dict[EventType, str] = {
    EventType.INSTANCE_CREATED: "1.0.0",
    EventType.INSTANCE_UPDATED: "1.0.0",
    EventType.INSTANCE_DELETED: "1.0.0",
}


class Event(Value):
    """One fact about one aggregate, in slot ``sequence_number`` of its log.

    ``data``: all of it for a creation, the JSON Merge Patch for an update, empty for a deletion. ``occurred_at``:
    RFC 3339, UTC. ``checksum``: SHA-256 of the canonical form without ``checksum``; ``previous_checksum`` is that of
    the event in the slot before, null in slot 1.
    """

    event_id: str
    event_type: EventType
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
        return canonical_bytes(self.model_dump(mode="json"))

    @property
    def aggregate(self) -> AggregateId:
        return AggregateId.parse(self.aggregate_id)


def rfc3339(moment: datetime) -> str:
    """Return an aware moment as RFC 3339 in UTC with microseconds, the form of every time in the contract."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def checksum_of(fields: dict[str, Any]) -> str:
    """Return the checksum of an event given as JSON, whatever its ``checksum`` says."""
    return sha256_hex(canonical_bytes({name: value for name, value in fields.items() if name != "checksum"}))


def sealed_event(**fields: Any) -> Event:
    """Build an event from everything but its checksum."""
    return Event(**fields, checksum=checksum_of(fields))


def read_event(data: bytes, *, where: str) -> Event:
    """Parse and verify a stored event; raises LogDamaged if a single bit of it is not as it was written."""
    try:
        fields = parse_json(data, where=where)
        event = Event.model_validate(fields)
    except (InputInvalid, ValidationError) as error:
        raise LogDamaged(f"{where}: not an event: {error}; run a consistency check", where=where) from error
    expected = checksum_of(fields)
    if event.checksum != expected:
        raise LogDamaged(
            f"{where}: expected checksum {expected}, found {event.checksum}; it was altered, run a consistency check",
            where=where,
        )
    return event
