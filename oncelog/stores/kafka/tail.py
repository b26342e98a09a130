"""Kafka, followed: each event of the stream once, as it comes, for a person or a program that looks on."""

from collections.abc import AsyncGenerator
from datetime import datetime

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError
from cachetools import LRUCache

from oncelog.domain.events import Event, read_event
from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.errors import StoreUnavailable
from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topic_lookup import partitions_of

CONNECT_TIMEOUT_MS = 10_000
WAIT_MS = 1_000
#: How many aggregates are remembered, so that their repeated events are left out.
AGGREGATES_MAX = 100_000


class KafkaTail:
    """Follows the topics of events without a consumer group, so that no group's offsets change."""

    def __init__(self, settings: Settings) -> None:
        self._connection = KafkaConnection(settings.kafka)
        self._topics = (settings.instance_topic, settings.ontology_topic)

    async def events(
        self, *, since: datetime | None = None, from_beginning: bool = False
    ) -> AsyncGenerator[Event, None]:
        """Yield events for ever, those of one aggregate in their order; an event sent twice comes once.

        From now on, from the messages that were sent at a time (aware), or from the beginning. Raises
        StoreUnavailable, LogDamaged for a message that is no event.
        """
        topics = ", ".join(self._topics)
        consumer = AIOKafkaConsumer(
            **self._connection.options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            request_timeout_ms=CONNECT_TIMEOUT_MS,
            max_partition_fetch_bytes=MESSAGE_BYTES_MAX,
        )
        seen: LRUCache[str, int] = LRUCache(AGGREGATES_MAX)
        try:
            await self._connection.connected(consumer.start)
            await self._position(consumer, since=since, from_beginning=from_beginning)
            while True:
                for records in (await consumer.getmany(timeout_ms=WAIT_MS)).values():
                    for record in records:
                        where = f"topic {record.topic}, partition {record.partition}, offset {record.offset}"
                        event = read_event(record.value or b"", where=where)
                        if event.sequence_number > seen.get(event.aggregate_id, 0):
                            seen[event.aggregate_id] = event.sequence_number
                            yield event
        except (KafkaError, TimeoutError) as error:
            servers = self._connection.servers
            raise refused(error, servers=servers, doing=f"following topics {topics}", topic=topics) from error
        finally:
            await consumer.stop()

    async def _position(self, consumer: AIOKafkaConsumer, *, since: datetime | None, from_beginning: bool) -> None:
        partitions = await partitions_of(self._connection, self._topics)
        if not partitions:
            topics = ", ".join(self._topics)
            raise StoreUnavailable(
                f"Kafka at {self._connection.servers}", f"following topics {topics}", "there is none; start a worker"
            )
        consumer.assign(partitions)
        if from_beginning:
            await consumer.seek_to_beginning(*partitions)
        elif since is None:
            await consumer.seek_to_end(*partitions)
        else:
            at_ms = int(since.timestamp() * 1000)
            found = await consumer.offsets_for_times(dict.fromkeys(partitions, at_ms))
            ends = await consumer.end_offsets(partitions)
            for partition in partitions:
                first = found.get(partition)
                consumer.seek(partition, first.offset if first else ends[partition])
