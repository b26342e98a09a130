"""Offsets are believed of the very topic only that they were kept of, not of another one of the same name."""

import asyncio
import time
import uuid

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import UnknownTopicOrPartitionError
from aiokafka.structs import OffsetAndMetadata

from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.metadata_request import NO_ID
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.subscription import TOPIC_CHECK_S, KafkaSubscription
from oncelog.stores.kafka.topic_lookup import broker_client, topic_id_of
from tests.contract.chains import chain
from tests.contract.test_subscription import nothing, offsets_of, take
from tests.contract.topics import drop_topic, records_in_memory

pytestmark = pytest.mark.integration

GROUP = "test"


async def _filled(settings: Settings) -> None:
    async with KafkaPublisher(settings, records_in_memory()) as kafka:
        await kafka.prepare()
        await asyncio.gather(*(kafka.publish_events(chain(3, f"p{number}")) for number in range(10)))


async def test_a_topic_made_anew_has_another_id(settings: Settings):
    await _filled(settings)
    async with broker_client(KafkaConnection(settings.kafka)) as client:
        first = await topic_id_of(client, settings.instance_topic)
        assert await topic_id_of(client, settings.instance_topic) == first != NO_ID
        await drop_topic(settings)
        with pytest.raises(UnknownTopicOrPartitionError):
            await topic_id_of(client, settings.instance_topic)
        await _filled(settings)
        assert await topic_id_of(client, settings.instance_topic) not in (first, NO_ID)


@pytest.mark.parametrize("same", [True, False])
async def test_offsets_that_were_kept_of_another_topic_are_passed_over(settings: Settings, *, same: bool):
    """Kafka drops a lost topic's offsets by itself where it can; a restored or mirrored one may still have them."""
    await _filled(settings)
    member = KafkaSubscription(settings, group=GROUP)
    await member.start(nothing)
    offsets = offsets_of(await take(member, 30))
    await member.commit_offsets(offsets)
    kept_of = str(member._topic_id) if same else str(uuid.uuid4())
    await member.stop()
    async with AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap_servers, group_id=settings.named(GROUP), enable_auto_commit=False
    ) as other:
        wanted = {
            TopicPartition(settings.instance_topic, partition): OffsetAndMetadata(offset, kept_of)
            for partition, offset in offsets.items()
        }
        other.assign(list(wanted))
        await other.commit(wanted)
    again = KafkaSubscription(settings, group=GROUP)
    await again.start(nothing)
    try:
        found = await again.next_batch(messages_max=1, wait_s=2) if same else await take(again, 30)
        assert len(found) == (0 if same else 30)
    finally:
        await again.stop()


async def test_topic_made_anew_is_read_from_its_beginning(settings: Settings):
    """Lost and made anew between two looks at it, with as many messages as before: nothing but the ID tells."""
    await _filled(settings)
    landed: list[float] = []

    async def land() -> None:
        landed.append(time.monotonic())

    member = KafkaSubscription(settings, group=GROUP)
    await member.start(land)
    try:
        await take(member, 30)
        before = len(landed)
        member._topic_id = uuid.uuid4()
        member._topic_checked_s -= TOPIC_CHECK_S
        assert len(await take(member, 30)) == 30
        assert len(landed) == before + 1, "what was under way could land first"
    finally:
        await member.stop()
