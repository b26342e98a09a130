"""Topics: lost, as by an operator's mistake, and the generations of those that were not."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

from factline.ports import Generations, TopicRecords
from factline.settings import Settings
from factline.stores.kafka_topic_ids import existing_topics
from factline.stores.memory.s3 import MemoryBucket, MemoryTopicRecords


async def drop_topic(settings: Settings) -> None:
    """Delete the topic of events with all that is in it, and wait until it is gone."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.delete_topics([settings.instance_topic])
        async with asyncio.timeout(120):
            while settings.instance_topic in await admin.list_topics():
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def grow_topic(settings: Settings, partitions: int) -> None:
    """Add partitions to the topic of events, and wait until brokers tell of them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        await admin.create_partitions({settings.instance_topic: NewPartitions(partitions)})
        async with asyncio.timeout(120):
            while (await existing_topics(admin._client, [settings.instance_topic]))[
                settings.instance_topic
            ].partitions < partitions:
                await asyncio.sleep(0.1)
    finally:
        await admin.close()


async def first_generations() -> Generations:
    """Return what holds of topics that were never lost."""
    return Generations()


def records_in_memory() -> TopicRecords:
    """Return records of topics that nobody opened yet."""
    return MemoryTopicRecords(MemoryBucket())
