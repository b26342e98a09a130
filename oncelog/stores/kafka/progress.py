"""How far the projectors of a read model have come in the stream of events, told by what they committed."""

from collections.abc import Mapping
from dataclasses import dataclass

import stamina
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.subscription import projector_group
from oncelog.stores.kafka.topic_lookup import (
    PATIENCE_S,
    REQUEST_TIMEOUT_MS,
    RETRY_S,
    all_topics,
    broker_client,
    id_text,
    topic_id_of,
)


@dataclass(frozen=True)
class ProjectorLag:
    """How many messages each partition holds that the projectors of a read model have not committed.

    ``committed``: whether they ever committed anything of this topic; without, all messages are counted.
    """

    read_model: str
    messages: Mapping[int, int]
    committed: bool


class KafkaProgress:
    """Reads a consumer group's offsets without being a member of it, so that no partition moves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def reached(self, read_model: str) -> Mapping[int, int]:
        """Return by partition the offset that its projectors go on from, 0 where they never committed any.

        No topic is no partitions. Raises StoreUnavailable.
        """
        return {number: offset or 0 for number, offset in (await self._offsets(read_model)).items()}

    async def lag(self, read_model: str) -> ProjectorLag:
        """Return how far the projectors of a read model are behind the stream; raises StoreUnavailable."""
        offsets = await self._offsets(read_model)  # first, so that no message is counted as committed that is not there
        starts, ends = await self._bounds(sorted(offsets))
        messages = {
            number: max(0, ends[number] - max(starts[number], offset or 0)) for number, offset in offsets.items()
        }
        return ProjectorLag(read_model, messages, any(offset is not None for offset in offsets.values()))

    async def _bounds(self, numbers: list[int]) -> tuple[Mapping[int, int], Mapping[int, int]]:
        """Return by partition the first offset of the stream, and the one after its last message."""
        if not numbers:
            return {}, {}
        connection, topic = KafkaConnection(self._settings.kafka), self._settings.instance_topic
        consumer = AIOKafkaConsumer(
            **connection.options, enable_auto_commit=False, request_timeout_ms=REQUEST_TIMEOUT_MS
        )
        partitions = [TopicPartition(topic, number) for number in numbers]
        try:
            await connection.connected(consumer.start)
            starts = await consumer.beginning_offsets(partitions)
            ends = await consumer.end_offsets(partitions)
        except (KafkaError, TimeoutError) as error:
            doing = f"reading the ends of topic {topic}"
            raise refused(error, servers=connection.servers, doing=doing, topic=topic) from error
        finally:
            await consumer.stop()
        first, last = (
            {partition.partition: int(offset) for partition, offset in offsets.items()} for offsets in (starts, ends)
        )
        return first, last

    async def _offsets(self, read_model: str) -> dict[int, int | None]:
        """Return by partition the offset that was committed, None where there is none of this topic."""
        connection, topic = KafkaConnection(self._settings.kafka), self._settings.instance_topic
        group = self._settings.named(projector_group(read_model))
        try:
            async with broker_client(connection) as client:
                numbers = sorted((await all_topics(client)).partitions_for_topic(topic) or ())
                topic_id = id_text(await topic_id_of(client, topic)) if numbers else ""
            committed = await _committed(connection, group) if numbers else {}
        except (KafkaError, TimeoutError) as error:
            doing = f"reading the offsets of group {group}"
            raise refused(error, servers=connection.servers, doing=doing, topic=topic, group=group) from error
        offsets: dict[int, int | None] = dict.fromkeys(numbers)
        for number in numbers:
            known = committed.get(TopicPartition(topic, number))
            if known is not None and not (known.metadata and topic_id and known.metadata != topic_id):
                offsets[number] = max(0, known.offset)  # else it is of another topic of this name: they begin anew
        return offsets


async def _committed(connection: KafkaConnection, group: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
    admin = AIOKafkaAdminClient(**connection.options, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await connection.connected(admin.start)
        # The first question about any group makes the topic of offsets, and is refused until that is there.
        again = stamina.AsyncRetryingCaller(
            attempts=None, timeout=PATIENCE_S, wait_initial=RETRY_S, wait_max=2 * RETRY_S, wait_jitter=RETRY_S
        )
        offsets: Mapping[TopicPartition, OffsetAndMetadata] = await again(
            GroupCoordinatorNotAvailableError, admin.list_consumer_group_offsets, group
        )
        return offsets
    finally:
        await admin.close()
