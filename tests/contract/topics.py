"""Losing a topic, as an operator's mistake would."""

import asyncio

from aiokafka.admin import AIOKafkaAdminClient

from factline.settings import Settings


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
