"""How far the projectors of every read model are behind the stream: in messages, and in the age of the oldest one.

Read from the brokers, past the projectors: so it holds for one that is stuck, or that does not run at all.
"""

import asyncio
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.progress import KafkaProgress
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topic_lookup import REQUEST_TIMEOUT_MS

READ_TIMEOUT_S = 15.0
WAIT_MS = 250  # for a message that is there
#: Only the time of one message is looked at: a broker sends one at least, of any size.
FETCH_BYTES = 16 * 1024


@dataclass(frozen=True)
class ProjectorLag:
    """How many messages each partition holds that the projectors of a read model have not committed.

    ``committed``: whether they ever committed anything of this topic; without, all messages are counted. ``awaited``:
    whether projectors have to, since no worker projects this read model by itself. ``oldest_age_s``: how long ago the
    oldest of the messages was sent, by this machine's clock; 0 where there is none, or where none is awaited.
    """

    read_model: str
    messages: Mapping[int, int]
    committed: bool
    awaited: bool = True
    oldest_age_s: float = 0.0

    @property
    def behind(self) -> int:
        """The messages of all partitions together."""
        return sum(self.messages.values())


@dataclass(frozen=True)
class _Waiting:
    """The messages that a read model has not committed: by partition their number, and the offset of the first."""

    messages: Mapping[int, int]
    first: Mapping[int, int]
    committed: bool
    awaited: bool


class KafkaLag:
    """Reads the lag of all read models of an installation, those of the application's own and reactions included.

    ``built_in``: the names of Oncelog's own, which are reported always, and which workers may project by themselves.
    """

    def __init__(self, settings: Settings, *, built_in: Collection[str]) -> None:
        self._settings = settings
        self._built_in = list(built_in)
        self._connection = KafkaConnection(settings.kafka)
        self._progress = KafkaProgress(settings)

    async def read(self) -> list[ProjectorLag]:
        """Return the lag of those that are built in, and then of all others that have a consumer group.

        Raises StoreUnavailable.
        """
        offsets = await self._progress.committed(self._built_in, with_others=True)
        numbers = sorted({number for of_model in offsets.values() for number in of_model})
        if not numbers:
            return [self._lag(name, self._waiting(name, {}, {}, {}), {}) for name in offsets]
        topic = self._settings.instance_topic
        consumer = AIOKafkaConsumer(
            **self._connection.options,
            enable_auto_commit=False,
            auto_offset_reset="earliest",  # messages just deleted by retention wait no longer
            max_partition_fetch_bytes=FETCH_BYTES,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                await self._connection.connected(consumer.start)
                # After the offsets, so that no message is counted as committed that is not there.
                starts, ends = await _bounds(consumer, topic, numbers)
                waiting = {name: self._waiting(name, each, starts, ends) for name, each in offsets.items()}
                places = {place for each in waiting.values() if each.awaited for place in each.first.items()}
                sent_ms = await _sent_ms(consumer, topic, places)
        except (KafkaError, TimeoutError) as error:
            doing = f"reading the ends of topic {topic}"
            raise refused(error, servers=self._connection.servers, doing=doing, topic=topic) from error
        finally:
            await consumer.stop()
        return [self._lag(name, each, sent_ms) for name, each in waiting.items()]

    def _waiting(
        self, name: str, offsets: Mapping[int, int | None], starts: Mapping[int, int], ends: Mapping[int, int]
    ) -> _Waiting:
        first = {number: max(starts[number], offset or 0) for number, offset in offsets.items()}
        messages = {number: max(0, ends[number] - first[number]) for number in offsets}
        committed = any(offset is not None for offset in offsets.values())
        by_worker = self._settings.projection == "inline" and name in self._built_in
        return _Waiting(
            messages,
            {number: offset for number, offset in first.items() if messages[number]},
            committed,
            awaited=committed or not by_worker,
        )

    def _lag(self, name: str, waiting: _Waiting, sent_ms: Mapping[tuple[int, int], int]) -> ProjectorLag:
        sent = [sent_ms[place] for place in waiting.first.items() if place in sent_ms]
        age_s = max(0.0, time.time() - min(sent) / 1000) if sent and waiting.awaited else 0.0
        return ProjectorLag(name, waiting.messages, waiting.committed, waiting.awaited, age_s)


async def _bounds(
    consumer: AIOKafkaConsumer, topic: str, numbers: Collection[int]
) -> tuple[Mapping[int, int], Mapping[int, int]]:
    """Return by partition the offset of its first message, and the one after its last; raises KafkaError."""
    partitions = [TopicPartition(topic, number) for number in numbers]
    starts, ends = await consumer.beginning_offsets(partitions), await consumer.end_offsets(partitions)
    first, last = (
        {partition.partition: int(offset) for partition, offset in offsets.items()} for offsets in (starts, ends)
    )
    return first, last


async def _sent_ms(
    consumer: AIOKafkaConsumer, topic: str, places: Collection[tuple[int, int]]
) -> Mapping[tuple[int, int], int]:
    """Return when the message at each place (partition, offset) was sent; raises KafkaError.

    A consumer is at one place of a partition at a time, so read models at different ones are read one after the other.
    """
    sent_ms: dict[tuple[int, int], int] = {}
    while left := dict(place for place in places if place not in sent_ms):
        consumer.assign([TopicPartition(topic, number) for number in left])
        for number, offset in left.items():
            consumer.seek(TopicPartition(topic, number), offset)
        while left:
            for partition, records in (await consumer.getmany(timeout_ms=WAIT_MS)).items():
                if partition.partition in left:
                    sent_ms[partition.partition, left.pop(partition.partition)] = records[0].timestamp
                    consumer.pause(partition)
    return sent_ms
