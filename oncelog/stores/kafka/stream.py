"""Kafka, read from the beginning: every message of every partition, for a verification."""

from collections.abc import AsyncIterator, Mapping, Sequence

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.ports import TopicFacts
from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.messages import Message
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topic_lookup import broker_client, existing_topics, id_text, partitions_of

CONNECT_TIMEOUT_MS = 10_000
PARTITIONS_MAX = 1_000_000  # of one topic, well above Kafka's own limit
SILENCE_MS = 15_000  # without a message although there are more


class KafkaStream:
    """The topics of events, read without a consumer group, so that no group's offsets change.

    Their partitions are numbered together: the second topic's from ``PARTITIONS_MAX`` on.
    """

    def __init__(self, settings: Settings) -> None:
        self._connection = KafkaConnection(settings.kafka)
        self._servers = self._connection.servers
        self._topics = (settings.instance_topic, settings.ontology_topic)

    async def messages(self, *, after: Mapping[int, int]) -> AsyncIterator[Message]:
        """Yield the messages up to now, one partition after the other, each in its order.

        ``after``: by partition, the offset of the last message already seen; without one, from the beginning. No topic
        is no messages. Raises StoreUnavailable.
        """
        consumer = AIOKafkaConsumer(
            **self._connection.options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=CONNECT_TIMEOUT_MS,
            max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
        )
        try:
            await self._connection.connected(consumer.start)
            partitions = await partitions_of(self._connection, self._topics)
            ends = await consumer.end_offsets(partitions) if partitions else {}
            starts = await consumer.beginning_offsets(partitions) if partitions else {}
            for partition in partitions:
                start = max(starts[partition], after.get(self._number(partition), -1) + 1)
                async for message in self._of(consumer, partition, start, ends[partition]):
                    yield message
        except (KafkaError, TimeoutError) as error:
            topics = ", ".join(self._topics)
            raise refused(error, servers=self._servers, doing=f"reading topics {topics}", topic=topics) from error
        finally:
            await consumer.stop()

    async def topics(self) -> Sequence[TopicFacts]:
        """Return the topics of events that there are; raises StoreUnavailable."""
        try:
            async with broker_client(self._connection) as client:
                existing = await existing_topics(client, self._topics)
        except (KafkaError, TimeoutError) as error:
            topics = ", ".join(self._topics)
            raise refused(error, servers=self._servers, doing=f"looking at topics {topics}", topic=topics) from error
        of_classes = self._topics[1]
        return [
            TopicFacts(name, id_text(found.topic_id), of_classes=name == of_classes) for name, found in existing.items()
        ]

    def _number(self, partition: TopicPartition) -> int:
        return int(self._topics.index(partition.topic) * PARTITIONS_MAX + partition.partition)

    async def _of(
        self, consumer: AIOKafkaConsumer, partition: TopicPartition, start: int, end: int
    ) -> AsyncIterator[Message]:
        """Yield a partition's messages from one offset up to another."""
        if start >= end:
            return  # to be assigned a partition takes longer than to read a few messages of it
        consumer.assign([partition])
        consumer.seek(partition, start)
        while await consumer.position(partition) < end:
            batch = await consumer.getmany(partition, timeout_ms=SILENCE_MS)
            if not batch:
                raise TimeoutError(f"partition {partition.partition}: no message within {SILENCE_MS / 1000:g} s")
            for record in batch.get(partition, []):
                if record.offset < end:
                    number, headers = self._number(partition), tuple(record.headers)
                    yield Message(number, record.offset, record.key or b"", headers, record.value or b"")
