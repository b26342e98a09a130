"""Topics: lost, as by an operator's mistake, with other settings, and the generations of those that were not."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from oncelog.errors import StoreUnavailable
from oncelog.ports import Generations, TopicRecords
from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.topic_lookup import broker_client, existing_topics
from oncelog.testing.memory.s3 import MemoryBucket, MemoryTopicRecords

#: Where a setting comes from, in Kafka's protocol: from the topic itself.
SET_FOR_TOPIC = 1

UNTIL_S = 120.0

Answer = TypeVar("Answer")


async def drop_topic(settings: Settings) -> None:
    """Delete the topic of events with all that is in it, and wait until it is gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([settings.instance_topic])
        async with asyncio.timeout(UNTIL_S):
            while settings.instance_topic in await admin.list_topics():
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def grow_topic(settings: Settings, partitions: int) -> None:
    """Add partitions to the topic of events, and wait until brokers tell of them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_partitions({settings.instance_topic: NewPartitions(partitions)})
        topic = settings.instance_topic
        async with asyncio.timeout(UNTIL_S), broker_client(KafkaConnection(settings.kafka)) as client:
            while (await existing_topics(client, [topic]))[topic].partitions < partitions:
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def first_generations() -> Generations:
    """Return what holds of topics that were never lost."""
    return Generations()


def records_in_memory() -> TopicRecords:
    """Return records of topics that no program has opened yet."""
    return MemoryTopicRecords(MemoryBucket())


async def set_topic_setting(settings: Settings, name: str, value: str) -> None:
    """Change one setting of the topic of events; the others that were given stay as they are."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    topic = settings.instance_topic
    try:
        (answer,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)])
        (_, _, _, _, entries), *_ = answer.resources
        given = {entry[0]: entry[1] for entry in entries if entry[3] == SET_FOR_TOPIC}
        resource = ConfigResource(ConfigResourceType.TOPIC, topic, configs=given | {name: value})
        await admin.alter_configs([resource])
    finally:
        await admin.close()


async def until_answered(call: Callable[[], Awaitable[Answer]]) -> Answer:
    """Try again as clients do: a busy machine may not answer at once."""
    async with asyncio.timeout(UNTIL_S):
        while True:
            try:
                return await call()
            except StoreUnavailable:
                await asyncio.sleep(0.1)


@asynccontextmanager
async def publishing(settings: Settings, records: TopicRecords) -> AsyncIterator[KafkaPublisher]:
    """Run a publisher whose topics are there, and whose generations are known."""
    publisher = KafkaPublisher(settings, records)
    try:
        await until_answered(publisher.prepare)
        await until_answered(publisher.open)
        yield publisher
    finally:
        await publisher.stop()
