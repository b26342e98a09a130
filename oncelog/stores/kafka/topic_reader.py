"""A topic's messages from its beginning, for people and tests; ``stream`` reads them for a verification."""

import asyncio

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.messages import Message, event_topic
from oncelog.stores.kafka.producer import REQUEST_TIMEOUT_MS
from oncelog.stores.kafka.refusals import refused

READ_TIMEOUT_S = 30.0


async def read_messages(settings: Settings, aggregate_id: AggregateId, *, messages_max: int = 1_000) -> list[Message]:
    """Return an aggregate's messages from the oldest on, as far as they are there now, duplicates included.

    Reads the whole topic. Raises StoreUnavailable.
    """
    key = str(aggregate_id).encode()
    return await read_topic(settings, event_topic(settings, aggregate_id), key=key, messages_max=messages_max)


async def read_topic(
    settings: Settings, topic: str, *, key: bytes | None = None, messages_max: int = 1_000
) -> list[Message]:
    """Return a topic's messages, or those of one key, each partition from its oldest on; raises StoreUnavailable."""
    connection = KafkaConnection(settings.kafka)
    consumer = AIOKafkaConsumer(
        topic,
        **connection.options,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        request_timeout_ms=10 * REQUEST_TIMEOUT_MS,
        max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
    )
    try:
        async with asyncio.timeout(READ_TIMEOUT_S):
            try:
                await connection.connected(consumer.start)
                return await _read(consumer, topic, key=key, messages_max=messages_max)
            finally:
                await consumer.stop()
    except (KafkaError, TimeoutError) as error:
        raise refused(error, servers=connection.servers, doing=f"reading messages of {topic}", topic=topic) from error


async def _read(consumer: AIOKafkaConsumer, topic: str, *, key: bytes | None, messages_max: int) -> list[Message]:
    partitions = [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]
    found: list[Message] = []
    ends = await consumer.end_offsets(partitions) if partitions else {}
    for partition, end in ends.items():
        while len(found) < messages_max and await consumer.position(partition) < end:
            batch = await consumer.getmany(partition, timeout_ms=REQUEST_TIMEOUT_MS)
            found.extend(
                Message(record.partition, record.offset, record.key, tuple(record.headers), record.value)
                for record in batch.get(partition, [])
                if key is None or record.key == key
            )
    return found[:messages_max]
