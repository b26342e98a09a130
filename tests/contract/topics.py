"""Topics: lost, as by an operator's mistake, with other settings, and the generations of those that were not."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient, NewPartitions
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from factline.ports import Generations, TopicRecords
from factline.settings import Settings
from factline.stores.kafka_topic_ids import existing_topics
from factline.stores.memory.s3 import MemoryBucket, MemoryTopicRecords

#: Where a setting comes from, in Kafka's protocol: from the topic itself.
SET_FOR_TOPIC = 1


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


async def set_topic_setting(settings: Settings, name: str, value: str) -> None:
    """Change one setting of the topic of events; the others that were given stay as they are."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
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
