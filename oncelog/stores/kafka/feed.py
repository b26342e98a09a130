"""The topics of events as a feed: read from offsets that the reader keeps, without a consumer group."""

import time
from collections.abc import Mapping, Sequence

import structlog
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.errors import OncelogError, StoreUnavailable
from oncelog.ports import Delivery, TopicOffsets
from oncelog.settings import Settings
from oncelog.stores.kafka.aiokafka_internals import client_of, end_consumer
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topic_lookup import broker_client, existing_topics, id_text, partitions_of

CONNECT_TIMEOUT_MS = 10_000
METADATA_AGE_MS = 5_000
TOPIC_CHECK_S = 2.0

log = structlog.get_logger(__name__)


class KafkaFeed:
    """The ``EventFeed`` on Kafka.

    Every ``TOPIC_CHECK_S`` it looks at the topics' IDs: another ID is another topic, which is read from its beginning.
    A consumer that has failed once is left, and the next call opens another one where the feed had come to.
    """

    def __init__(self, settings: Settings) -> None:
        self._connection = KafkaConnection(settings.kafka)
        self._topics = (settings.instance_topic, settings.ontology_topic)
        self._consumer: AIOKafkaConsumer | None = None
        self._ids: dict[str, str] = {}
        self._next: dict[TopicPartition, int] = {}
        self._checked_s = 0.0

    async def open_feed(self, start: Mapping[str, TopicOffsets] | None) -> None:
        """Begin at these offsets, by topic; None: at the end of each. Raises StoreUnavailable."""
        await self.close_feed()
        try:
            self._ids = await self._topic_ids()
            partitions = await partitions_of(self._connection, self._topics)
            if not partitions:
                raise self._no_topics()
            self._consumer = await self._started(partitions)
            if start is None:
                self._next = dict(await self._consumer.end_offsets(partitions))
            else:
                self._next = {each: self._start_of(each, start) for each in partitions}
            for partition, offset in self._next.items():
                self._consumer.seek(partition, offset)
        except (KafkaError, TimeoutError) as error:
            await self.close_feed()
            raise self._unavailable("opening a feed", error) from error

    async def next_messages(self, *, messages_max: int, wait_s: float) -> Sequence[Delivery]:
        """Return the next messages, each partition in order; raises StoreUnavailable."""
        try:
            if time.monotonic() - self._checked_s > TOPIC_CHECK_S:
                await self._check_topics()
            if self._consumer is None:
                await self.open_feed(self.feed_offsets())
            consumer = self._consumer
            if consumer is None:
                raise self._no_topics()
            found = await consumer.getmany(timeout_ms=int(wait_s * 1000), max_records=messages_max)
        except (KafkaError, TimeoutError) as error:
            await self.close_feed()
            raise self._unavailable("fetching", error) from error
        deliveries: list[Delivery] = []
        for partition, records in found.items():
            self._next[partition] = records[-1].offset + 1
            deliveries += [
                Delivery(one.partition, one.offset, one.key, one.headers, one.value, one.timestamp) for one in records
            ]
        return deliveries

    def feed_offsets(self) -> Mapping[str, TopicOffsets]:
        """Return where the feed goes on after all that was handed out."""
        return {
            topic: TopicOffsets(
                topic_id, {each.partition: at for each, at in self._next.items() if each.topic == topic}
            )
            for topic, topic_id in self._ids.items()
        }

    async def close_feed(self) -> None:
        """Leave within seconds, even if Kafka does not answer."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await end_consumer(consumer)

    async def _check_topics(self) -> None:
        """Leave the consumer if a topic is another one than when it was opened: the next one begins anew there."""
        found = await self._topic_ids()
        self._checked_s = time.monotonic()
        anew = [topic for topic, topic_id in found.items() if topic_id != self._ids.get(topic)]
        if anew:
            log.warning("topic_made_anew", topics=anew)
            await self.close_feed()

    async def _topic_ids(self) -> dict[str, str]:
        """Return the ID of each topic that there is, empty where brokers have none; raises KafkaError."""
        if self._consumer is not None:
            existing = await existing_topics(client_of(self._consumer), self._topics)
        else:
            async with broker_client(self._connection) as client:
                existing = await existing_topics(client, self._topics)
        return {topic: id_text(each.topic_id) for topic, each in existing.items()}

    async def _started(self, partitions: Sequence[TopicPartition]) -> AIOKafkaConsumer:
        consumer = AIOKafkaConsumer(
            **self._connection.options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=CONNECT_TIMEOUT_MS,
            metadata_max_age_ms=METADATA_AGE_MS,
            max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
        )
        try:
            await self._connection.connected(consumer.start)
        except BaseException:
            await end_consumer(consumer)
            raise
        consumer.assign(partitions)
        return consumer

    def _start_of(self, partition: TopicPartition, start: Mapping[str, TopicOffsets]) -> int:
        known = start.get(partition.topic)
        if known is None or known.topic_id != self._ids.get(partition.topic):
            return 0  # below the first that is left, the consumer begins with that
        return known.offsets.get(partition.partition, 0)

    def _no_topics(self) -> StoreUnavailable:
        topics = ", ".join(self._topics)
        server = f"Kafka at {self._connection.servers}"
        return StoreUnavailable(server, f"following topics {topics}", "there is none; start a worker")

    def _unavailable(self, doing: str, error: Exception) -> OncelogError:
        return refused(error, servers=self._connection.servers, doing=doing, topic=", ".join(self._topics))
