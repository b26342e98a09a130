"""Subscribing to the stream of events: a share of its partitions, divided among all subscribers of one group."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from uuid import UUID

import structlog
from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.errors import OncelogError
from oncelog.ports import Delivery
from oncelog.settings import Settings
from oncelog.stores.kafka.aiokafka_internals import client_of, committed_offsets, end_consumer
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.producer import REQUEST_TIMEOUT_MS
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topic_lookup import topic_id_of

SESSION_TIMEOUT_MS = 10_000  # after which the partitions of one that died go to others
REBALANCE_TIMEOUT_MS = 30_000  # how long the group waits for one that is handing over
METADATA_AGE_MS = 5_000
COMMIT_TIMEOUT_S = 5.0
TOPIC_CHECK_S = 2.0
#: Heartbeats come from the very loop that takes messages, so a busy or waiting subscriber is alive and keeps its share.
IDLE_MAX_MS = 24 * 3600 * 1000

log = structlog.get_logger(__name__)


def projector_group(read_model: str) -> str:
    """Return the group that a read model's projectors subscribe as."""
    return f"projector.{read_model}"


class KafkaSubscription:
    """The ``EventSubscription`` on Kafka, as one member of the group ``group``.

    With each offset the ID of its topic is kept: where that is not the topic's any more, the topic was made anew, and
    its partitions are read from their beginning. A consumer that has failed once is left, and another one joins.
    """

    def __init__(self, settings: Settings, *, group: str) -> None:
        self._connection = KafkaConnection(settings.kafka)
        self._topic = settings.instance_topic
        self._group = settings.named(group)
        self._consumer: AIOKafkaConsumer | None = None
        self._giving_up: Callable[[], Awaitable[None]] | None = None
        self._topic_id: UUID | None = None
        self._topic_checked_s = 0.0
        self._next_offsets: dict[int, int] = {}

    async def start(self, giving_up: Callable[[], Awaitable[None]]) -> None:
        """Join the group; raises StoreUnavailable."""
        self._giving_up = giving_up
        await self._joined()

    async def next_batch(self, *, messages_max: int, wait_s: float) -> Sequence[Delivery]:
        """Return the next messages on our partitions, each in order; raises StoreUnavailable."""
        consumer = await self._joined()
        try:
            if time.monotonic() - self._topic_checked_s > TOPIC_CHECK_S:
                await self._check_topic(consumer)
            found = await consumer.getmany(timeout_ms=int(wait_s * 1000), max_records=messages_max)
        except (KafkaError, TimeoutError) as error:
            await self.stop()
            raise self._unavailable("fetching", error) from error
        # Nothing is awaited from here on: the result belongs to the current assignment.
        deliveries: list[Delivery] = []
        for partition, records in found.items():
            self._next_offsets[partition.partition] = records[-1].offset + 1
            deliveries += [
                Delivery(one.partition, one.offset, one.key, one.headers, one.value, one.timestamp) for one in records
            ]
        return deliveries

    async def commit_offsets(self, offsets: Mapping[int, int]) -> None:
        """Keep the offsets to go on from; a lost partition is left to its new owner. Raises StoreUnavailable."""
        consumer = self._consumer
        if consumer is None:
            return  # left since: the new owner of the partitions begins from the last commit
        mine = {partition.partition for partition in consumer.assignment()}
        metadata = str(self._topic_id or "")
        wanted = {
            TopicPartition(self._topic, partition): OffsetAndMetadata(offset, metadata)
            for partition, offset in offsets.items()
            if partition in mine
        }
        if not wanted:
            return
        try:
            async with asyncio.timeout(COMMIT_TIMEOUT_S):
                await consumer.commit(wanted)
        except (CommitFailedError, IllegalStateError) as error:
            log.info("offsets_left_to_new_owner", group=self._group, reason=str(error))
        except (KafkaError, TimeoutError) as error:
            raise self._unavailable("committing offsets", error) from error

    def lag(self) -> Mapping[int, int]:
        """Return how many messages of each of our partitions were not handed out yet, as far as is known."""
        if self._consumer is None:
            return {}
        behind: dict[int, int] = {}
        for partition in self._consumer.assignment():
            end, reached = self._consumer.highwater(partition), self._next_offsets.get(partition.partition)
            if end == 0 or (end is not None and reached is not None):
                behind[partition.partition] = max(0, end - (reached or 0))
        return behind

    async def stop(self) -> None:
        """Leave the group within seconds, even if Kafka does not answer."""
        consumer, self._consumer = self._consumer, None
        self._next_offsets.clear()
        if consumer is not None:
            await end_consumer(consumer)

    async def _joined(self) -> AIOKafkaConsumer:
        if self._consumer is not None:
            return self._consumer
        consumer = AIOKafkaConsumer(
            **self._connection.options,
            group_id=self._group,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
            request_timeout_ms=10 * REQUEST_TIMEOUT_MS,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
            rebalance_timeout_ms=REBALANCE_TIMEOUT_MS,
            max_poll_interval_ms=IDLE_MAX_MS,
            metadata_max_age_ms=METADATA_AGE_MS,
        )
        consumer.subscribe([self._topic], listener=_Handover(self._revoked, self._assigned))
        self._consumer = consumer
        try:
            await self._connection.connected(consumer.start)
        except (KafkaError, TimeoutError) as error:
            await self.stop()
            raise self._unavailable(f"joining group {self._group}", error) from error
        except BaseException:
            await self.stop()
            raise
        return consumer

    async def _revoked(self) -> None:
        if self._giving_up:
            await self._giving_up()
        self._next_offsets.clear()

    async def _assigned(self, partitions: Sequence[TopicPartition]) -> None:
        """Begin anew where a committed offset is of another topic of the same name."""
        consumer = self._consumer
        if consumer is None or not partitions:
            return
        self._topic_id = await self._ask_topic_id(consumer)
        committed = await committed_offsets(consumer, partitions)
        for partition in partitions:
            known = committed.get(partition)
            if known and known.metadata and known.metadata != str(self._topic_id or known.metadata):
                log.warning("topic_made_anew", topic=self._topic, partition=partition.partition)
                await consumer.seek_to_beginning(partition)
            elif known and known.offset >= 0:
                self._next_offsets.setdefault(partition.partition, known.offset)

    async def _check_topic(self, consumer: AIOKafkaConsumer) -> None:
        """Begin anew if the topic is another one than when we last looked."""
        found = await self._ask_topic_id(consumer)
        self._topic_checked_s = time.monotonic()
        if found and self._topic_id and found != self._topic_id:
            log.warning("topic_made_anew", topic=self._topic)
            await self._revoked()
            assigned = consumer.assignment()
            if assigned:
                await consumer.seek_to_beginning(*assigned)
        self._topic_id = found or self._topic_id

    async def _ask_topic_id(self, consumer: AIOKafkaConsumer) -> UUID | None:
        """Return the topic's ID, or None where there is no answer now, or none to be had from this Kafka."""
        try:
            return await topic_id_of(client_of(consumer), self._topic)
        except (KafkaError, TimeoutError) as error:
            log.info("topic_id_unknown", topic=self._topic, reason=str(error) or type(error).__name__)
            return None

    def _unavailable(self, doing: str, error: Exception) -> OncelogError:
        return refused(error, servers=self._connection.servers, doing=doing, topic=self._topic, group=self._group)


class _Handover(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(
        self, revoked: Callable[[], Awaitable[None]], assigned: Callable[[Sequence[TopicPartition]], Awaitable[None]]
    ) -> None:
        self._revoked = revoked
        self._assigned = assigned

    async def on_partitions_revoked(self, _revoked: set[TopicPartition]) -> None:
        await self._revoked()

    async def on_partitions_assigned(self, assigned: set[TopicPartition]) -> None:
        await self._assigned(sorted(assigned))
