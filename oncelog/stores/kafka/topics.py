"""The topics of one installation: made where they are missing, and the generation of those that hold events.

The number of partitions is fixed for a generation's life by its record in S3, so that a topic to which an operator adds
partitions keeps every aggregate in the partition where it is. A topic of another ID was made anew: it is the next
generation, and the messages published in the one before do not count in it.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import stamina
import structlog
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, NoError, TopicAlreadyExistsError, UnknownTopicOrPartitionError, for_code
from aiokafka.partitioner import murmur2

from oncelog.errors import ContainerUnusable, UnusableReason
from oncelog.ports import Generations, TopicRecord, TopicRecords
from oncelog.settings import Settings
from oncelog.stores.kafka.aiokafka_internals import client_of
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topic_configs import REPLICAS_MAX, check_configurations, configuration_for
from oncelog.stores.kafka.topic_lookup import ExistingTopic, existing_topics, id_text

REQUEST_TIMEOUT_MS = 10_000  # a program that has just begun, on a busy machine, is slow itself
POLL_S = 0.1

log = structlog.get_logger(__name__)


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition of a key as Kafka's own clients compute it by default: murmur2, modulo ``partitions``."""
    return int((murmur2(key) & 0x7FFFFFFF) % partitions)


class KafkaTopics:
    """Knows the topics of one installation, as of the last look at them."""

    def __init__(self, settings: Settings, connection: KafkaConnection, records: TopicRecords) -> None:
        self._connection, self._servers = connection, connection.servers
        self._partitions, self._replicas = settings.kafka.partitions, settings.kafka.replication_factor
        self._instances, self._classes = settings.instance_topic, settings.ontology_topic
        self._records = records
        self._known: dict[str, TopicRecord] = {}
        self._opening = asyncio.Lock()
        self.names = (self._instances, self._classes, settings.failure_topic)

    @property
    def generations(self) -> Generations | None:
        """The current generations, None before the topics were opened."""
        if not {self._instances, self._classes} <= self._known.keys():
            return None
        return Generations(self._known[self._instances].generation, self._known[self._classes].generation)

    def partition(self, topic: str, key: bytes) -> int | None:
        """Return the partition for a key, None for a topic without generations."""
        record = self._known.get(topic)
        return partition_of(key, record.partitions) if record else None

    async def prepare(self) -> None:
        """Make the topics that are missing, and check those of events against the needs of the stream.

        Raises KafkaError, StoreUnsafe.
        """
        admin = AIOKafkaAdminClient(**self._connection.options, request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await self._connection.connected(admin.start)
            await self._make_missing(client_of(admin))
            await check_configurations(admin, self._servers, (self._instances, self._classes))
        finally:
            await admin.close()

    async def open(self, client: AIOKafkaClient) -> Generations:
        """Look at the topics, make those that are missing, and return their generations.

        Raises KafkaError, StoreUnavailable.
        """
        async with self._opening:
            existing = await self._make_missing(client)
            instances, classes = [
                await self._open(topic, existing[topic]) for topic in (self._instances, self._classes)
            ]
        return Generations(instances.generation, classes.generation)

    async def _make_missing(self, client: AIOKafkaClient) -> Mapping[str, ExistingTopic]:
        existing = await existing_topics(client, self.names)
        missing = [topic for topic in self.names if topic not in existing]
        if not missing:
            return existing
        await self._create(missing)
        return await _appeared(client, self.names)

    async def _create(self, topics: Sequence[str]) -> None:
        admin = AIOKafkaAdminClient(**self._connection.options, request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await self._connection.connected(admin.start)
            brokers = (await admin.describe_cluster())["brokers"]
            replicas = self._replicas or min(REPLICAS_MAX, len(brokers))
            configuration = configuration_for(replicas)
            wanted = [NewTopic(topic, self._partitions, replicas, topic_configs=configuration) for topic in topics]
            response = await admin.create_topics(wanted)
            for name, code, *message in response.topic_errors:
                error = for_code(code)
                if error not in (NoError, TopicAlreadyExistsError):
                    raise error(f"topic {name}: {' '.join(filter(None, message))}")
        finally:
            await admin.close()

    async def _open(self, topic: str, found: ExistingTopic) -> TopicRecord:
        """Return the record of the topic's current generation: the one with its ID, or a new one."""
        topic_id = id_text(found.topic_id)
        record = self._known.get(topic)
        if record is None or topic_id not in ("", record.topic_id):
            record = await self._record_of(topic, topic_id, found.partitions)
            log.info("topic_opened", topic=topic, generation=record.generation, partitions=record.partitions)
        if found.partitions < record.partitions:
            raise ContainerUnusable(
                f"Kafka at {self._servers}",
                f"topic {topic}",
                UnusableReason.MISCONFIGURED,
                cause=f"expected at least the {record.partitions} partitions it was first opened with, found "
                f"{found.partitions}: aggregates would lie in two of them",
                remedy=f"delete the topic (kafka-topics --bootstrap-server {self._servers} --delete --topic {topic}); "
                "it is made anew, and oncelog check --repair publishes the log once more",
                shared=True,
            )
        self._known[topic] = record
        return record

    async def _record_of(self, topic: str, topic_id: str, partitions: int) -> TopicRecord:
        records = list(await self._records.topic_history(topic))
        while True:
            last = records[-1] if records else None
            if last is not None and topic_id in ("", last.topic_id):
                return last
            if any(record.topic_id == topic_id for record in records):
                raise KafkaError(f"topic {topic}: this broker still tells of one that was lost")
            number = len(records) + 1
            records.append(await self._records.write_topic_record(topic, TopicRecord(number, topic_id, partitions)))


class TopicsFound(NamedTuple):
    """The number of brokers, and the topics that are not there."""

    brokers: int
    missing: Sequence[str]


async def look_at_topics(settings: Settings) -> TopicsFound:
    """Check the existing topics against the needs of the stream, and create none.

    Raises StoreUnavailable, and StoreUnsafe with the settings to change.
    """
    connection, topics = KafkaConnection(settings.kafka), (settings.instance_topic, settings.ontology_topic)
    admin = AIOKafkaAdminClient(**connection.options, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await connection.connected(admin.start)
        existing = await existing_topics(client_of(admin), (*topics, settings.failure_topic))
        await check_configurations(admin, connection.servers, [topic for topic in topics if topic in existing])
        brokers = len((await admin.describe_cluster())["brokers"])
    except (KafkaError, TimeoutError) as error:
        raise refused(error, servers=connection.servers, doing="looking at the topics", topic=topics[0]) from error
    finally:
        await admin.close()
    return TopicsFound(brokers, [topic for topic in (*topics, settings.failure_topic) if topic not in existing])


async def _appeared(client: AIOKafkaClient, topics: Sequence[str]) -> Mapping[str, ExistingTopic]:
    """Wait until a broker tells of all of them, as it does a moment after they were made."""

    async def all_exist() -> Mapping[str, ExistingTopic]:
        existing = await existing_topics(client, topics)
        if missing := [topic for topic in topics if topic not in existing]:
            raise UnknownTopicOrPartitionError(", ".join(missing))
        return existing

    again = stamina.AsyncRetryingCaller(
        attempts=None, timeout=REQUEST_TIMEOUT_MS / 1000, wait_initial=POLL_S, wait_max=5 * POLL_S, wait_jitter=POLL_S
    )
    return await again(UnknownTopicOrPartitionError, all_exist)
