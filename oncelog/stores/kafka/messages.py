"""Messages of the stream: CloudEvents 1.0 in binary mode.

(https://github.com/cloudevents/spec, Kafka protocol binding.) The value is the event's canonical JSON, as it lies in
S3; the headers identify it without parsing.
"""

from dataclasses import dataclass

from oncelog.domain.events import Event
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.stored_names import SCHEMA_VERSION_HEADER, SEQUENCE_NUMBER_HEADER
from oncelog.settings import Settings


@dataclass(frozen=True)
class Message:
    """One message as it stands in the topic."""

    partition: int
    offset: int
    key: bytes
    headers: tuple[tuple[str, bytes], ...]
    value: bytes


def headers_of(event: Event) -> list[tuple[str, bytes]]:
    """Return a message's headers: CloudEvents' first, then ours."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.event_id.encode()),
        ("ce_type", event.event_type.encode()),
        ("ce_source", f"/oncelog/{event.db_name}/{event.class_id}".encode()),
        ("ce_subject", event.aggregate_id.encode()),
        ("ce_time", event.occurred_at.encode()),
        ("content-type", b"application/json"),
        (SEQUENCE_NUMBER_HEADER, str(event.sequence_number).encode()),
        (SCHEMA_VERSION_HEADER, event.schema_version.encode()),
    ]


@dataclass(frozen=True)
class Outgoing:
    """One message to be sent. ``doing`` names it in errors."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    doing: str

    @property
    def size_bytes(self) -> int:
        return len(self.key) + len(self.value) + sum(len(name) + len(value) for name, value in self.headers)


def event_topic(settings: Settings, aggregate_id: AggregateId) -> str:
    """Return the topic of an aggregate's events: classes have a topic of their own."""
    return settings.ontology_topic if aggregate_id.class_id == CLASSES else settings.instance_topic


def event_message(settings: Settings, event: Event) -> Outgoing:
    doing = f"publishing {event.aggregate_id} event {event.sequence_number}"
    topic = event_topic(settings, event.aggregate)
    return Outgoing(topic, event.aggregate_id.encode(), event.canonical, headers_of(event), doing)
