"""Looking topics up: their partitions and IDs, as a broker tells of them now.

The ID tells a topic that was made anew from the one before it of the same name. Offsets say nothing of that: offsets of
the old topic may well lie within the new one.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

import stamina
from aiokafka import TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError, for_code

from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.metadata_request import NO_ID, TopicIdRequest

REQUEST_TIMEOUT_MS = 10_000
PATIENCE_S = 15.0
RETRY_S = 0.2


@dataclass(frozen=True)
class ExistingTopic:
    """A topic as the brokers tell of it now. ``topic_id``: ``NO_ID`` where they tell none."""

    topic_id: UUID
    partitions: int


@asynccontextmanager
async def broker_client(connection: KafkaConnection) -> AsyncIterator[AIOKafkaClient]:
    """Open a connection to ask brokers about topics; raises KafkaError."""
    client = AIOKafkaClient(**connection.options, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await connection.connected(client.bootstrap)
        yield client
    finally:
        await client.close()


async def all_topics(client: AIOKafkaClient) -> ClusterMetadata:
    """Return all topics, since asking for one by name might create it.

    A broker that stood still for a while knows no broker at first, not even itself, which is no answer. Raises
    KafkaError where there is none within ``PATIENCE_S``.
    """
    again = stamina.AsyncRetryingCaller(
        attempts=None, timeout=PATIENCE_S, wait_initial=RETRY_S, wait_max=2 * RETRY_S, wait_jitter=RETRY_S
    )
    return await again(KafkaError, client.fetch_all_metadata)


async def partitions_of(connection: KafkaConnection, topics: Sequence[str]) -> list[TopicPartition]:
    """Return the partitions of those topics that exist, in their order; raises KafkaError."""
    async with broker_client(connection) as client:
        cluster = await all_topics(client)
    known = {topic: cluster.partitions_for_topic(topic) or () for topic in topics}
    return [TopicPartition(topic, number) for topic, numbers in known.items() for number in sorted(numbers)]


async def existing_topics(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, ExistingTopic]:
    """Ask a broker for these topics, and return those that exist; raises KafkaError.

    A broker older than Kafka 2.8 has no topic IDs: its topics have ``NO_ID``.
    """
    try:
        answer = await client.send(client.get_random_node(), TopicIdRequest(topics))
    except NotImplementedError:  # raised by the client, for a request that the broker does not take
        return await _topics_without_ids(client, topics)
    existing: dict[str, ExistingTopic] = {}
    for error_code, topic, topic_id, _, partitions, *_ in answer.topics:
        error = for_code(error_code)
        if error is UnknownTopicOrPartitionError:
            continue
        if error_code:
            raise error(topic)
        existing[topic] = ExistingTopic(topic_id, len(partitions))
    return existing


async def _topics_without_ids(client: AIOKafkaClient, topics: Sequence[str]) -> dict[str, ExistingTopic]:
    cluster = await all_topics(client)
    counts = {topic: len(cluster.partitions_for_topic(topic) or ()) for topic in topics}
    return {topic: ExistingTopic(NO_ID, count) for topic, count in counts.items() if count}


async def topic_id_of(client: AIOKafkaClient, topic: str) -> UUID | None:
    """Ask a broker for the topic's ID; None from a broker without topic IDs.

    Raises KafkaError: UnknownTopicOrPartitionError where there is no such topic.
    """
    existing = await existing_topics(client, [topic])
    if topic not in existing:
        raise UnknownTopicOrPartitionError(topic)
    topic_id = existing[topic].topic_id
    return None if topic_id == NO_ID else topic_id


def id_text(topic_id: UUID | None) -> str:
    """Return the ID as records and offsets keep it, empty where brokers tell none."""
    return "" if topic_id is None or topic_id == NO_ID else str(topic_id)
