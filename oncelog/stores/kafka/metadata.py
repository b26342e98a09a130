"""Metadata of all topics, from Kafka's brokers: asking for one by name might create it."""

import asyncio
import time

from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import KafkaError

PATIENCE_S = 15.0
RETRY_S = 0.2


async def all_topics(client: AIOKafkaClient) -> ClusterMetadata:
    """Return what there is; raises KafkaError where there is no answer within ``PATIENCE_S``.

    A broker that stood still for a while knows no broker at first, not even itself, which is no answer.
    """
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await client.fetch_all_metadata()
        except KafkaError:
            if time.monotonic() > until_s:
                raise
        await asyncio.sleep(RETRY_S)
