"""The IDs of Kafka's topics, which tell a topic that was made anew from the one before it of the same name.

Offsets say nothing of that: those of the old topic may well lie within the new one. aiokafka 0.14 does not speak the
version of the metadata request that has it, so its fields are written down here
(https://kafka.apache.org/protocol#The_Messages_Metadata, version 10; KIP-516).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from uuid import UUID

from aiokafka.client import AIOKafkaClient
from aiokafka.errors import UnknownTopicOrPartitionError, for_code
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    AbstractType,
    Boolean,
    CompactArray,
    CompactString,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

NO_ID = UUID(int=0)


class _Uuid(AbstractType):  # type: ignore[misc]
    @classmethod
    def encode(cls, value: UUID) -> bytes:
        return value.bytes

    @classmethod
    def decode(cls, data: BytesIO) -> UUID:
        return UUID(bytes=data.read(16))


_PARTITION = (
    ("error_code", Int16),
    ("partition", Int32),
    ("leader", Int32),
    ("leader_epoch", Int32),
    ("replicas", CompactArray(Int32)),
    ("isr", CompactArray(Int32)),
    ("offline_replicas", CompactArray(Int32)),
    ("tags", TaggedFields),
)
_BROKER = (
    ("node_id", Int32),
    ("host", CompactString("utf-8")),
    ("port", Int32),
    ("rack", CompactString("utf-8")),
    ("tags", TaggedFields),
)
_TOPIC = (
    ("error_code", Int16),
    ("topic", CompactString("utf-8")),
    ("topic_id", _Uuid),
    ("is_internal", Boolean),
    ("partitions", CompactArray(*_PARTITION)),
    ("authorized_operations", Int32),
    ("tags", TaggedFields),
)


class _Answer(Response):  # type: ignore[misc]
    API_KEY = 3
    API_VERSION = 10
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("brokers", CompactArray(*_BROKER)),
        ("cluster_id", CompactString("utf-8")),
        ("controller_id", Int32),
        ("topics", CompactArray(*_TOPIC)),
        ("authorized_operations", Int32),
        ("tags", TaggedFields),
    )


class _Question(RequestStruct):  # type: ignore[misc]
    FLEXIBLE_VERSION = True
    API_KEY = 3
    API_VERSION = 10
    RESPONSE_TYPE = _Answer
    SCHEMA = Schema(
        ("topics", CompactArray(("topic_id", _Uuid), ("topic", CompactString("utf-8")), ("tags", TaggedFields))),
        ("allow_auto_topic_creation", Boolean),
        ("include_cluster_authorized_operations", Boolean),
        ("include_topic_authorized_operations", Boolean),
        ("tags", TaggedFields),
    )


class _TopicIdRequest(Request[_Question]):  # type: ignore[misc]
    API_KEY = 3

    def __init__(self, topics: Sequence[str]) -> None:
        self._topics = topics

    def build(self, _request_struct_class: Any) -> _Question:
        return _Question([(NO_ID, topic, {}) for topic in self._topics], False, False, False, {})


@dataclass(frozen=True)
class ExistingTopic:
    """A topic as the brokers tell of it now. ``topic_id``: ``NO_ID`` where they tell none."""

    topic_id: UUID
    partitions: int


async def existing_topics(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, ExistingTopic]:
    """Ask a broker for these topics, and return those that exist.

    Raises KafkaError, and NotImplementedError from a broker older than Kafka 2.8.
    """
    answer = await client.send(client.get_random_node(), _TopicIdRequest(topics))
    existing: dict[str, ExistingTopic] = {}
    for error_code, topic, topic_id, _, partitions, *_ in answer.topics:
        error = for_code(error_code)
        if error is UnknownTopicOrPartitionError:
            continue
        if error_code:
            raise error(topic)
        existing[topic] = ExistingTopic(topic_id, len(partitions))
    return existing


async def topic_id_of(client: AIOKafkaClient, topic: str) -> UUID:
    """Ask a broker for the topic's ID.

    Raises KafkaError: UnknownTopicOrPartitionError where there is none, and NotImplementedError from a broker older
    than Kafka 2.8.
    """
    existing = await existing_topics(client, [topic])
    if topic not in existing:
        raise UnknownTopicOrPartitionError(topic)
    return existing[topic].topic_id
