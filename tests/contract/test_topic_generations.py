"""Topics that are grown, lost and made anew on a real Kafka, and brokers that say of it what they should not."""

import asyncio
from collections import defaultdict
from functools import partial
from uuid import UUID, uuid4

import pytest
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAuthorizationFailedError
from aiokafka.partitioner import DefaultPartitioner

from oncelog.domain.events import read_event
from oncelog.errors import ContainerUnusable, StoreUnavailable, StoreUnsafe
from oncelog.ports import Generations, TopicRecord
from oncelog.settings import Settings
from oncelog.stores.kafka import topics
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.metadata_request import NO_ID
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.topic_lookup import ExistingTopic
from oncelog.stores.kafka.topic_reader import read_topic
from oncelog.stores.kafka.topics import KafkaTopics, partition_of
from oncelog.testing.memory.s3 import MemoryBucket, MemoryTopicRecords
from tests.contract.chains import chain
from tests.contract.topics import drop_topic, grow_topic, publishing, records_in_memory, until_answered

UNTIL_S = 120.0
PARTITIONS = Settings().kafka.partitions
CHAINS = [chain(3, f"p{number}") for number in range(30)]


async def _publish_all(kafka: KafkaPublisher, index: int) -> None:
    """Publish one event of each chain."""
    await asyncio.gather(*(until_answered(partial(kafka.publish_events, [events[index]])) for events in CHAINS))


@pytest.mark.parametrize("partitions", [1, 6, 12, 50])
def test_partition_is_that_of_kafkas_own_clients(partitions: int):
    numbers = list(range(partitions))
    for key in (b"", b"shop/Product/p1", "shop/Product/ö".encode()):
        assert partition_of(key, partitions) == DefaultPartitioner()(key, numbers, numbers)


@pytest.mark.integration
async def test_grown_topic_keeps_every_aggregate_in_place(settings: Settings):
    records = records_in_memory()
    async with publishing(settings, records) as kafka:
        await _publish_all(kafka, 0)
        await grow_topic(settings, 2 * PARTITIONS)
        await _publish_all(kafka, 1)
        async with publishing(settings, records) as another:
            await _publish_all(another, 2)
    places, numbers = defaultdict(set), defaultdict(list)
    for message in await read_topic(settings, settings.instance_topic):
        places[message.key].add(message.partition)
        numbers[message.key].append(read_event(message.value, where="message").sequence_number)
    firsts = [list(dict.fromkeys(sent)) for sent in numbers.values()]  # messages that timed out were sent once more
    assert {len(found) for found in places.values()} == {1}
    assert firsts == [[1, 2, 3]] * len(CHAINS)
    (record,) = await records.topic_history(settings.instance_topic)
    assert record.partitions == PARTITIONS


@pytest.mark.integration
async def test_topic_made_anew_is_the_next_generation(settings: Settings):
    records = records_in_memory()
    (event,) = chain(1)
    async with publishing(settings, records) as kafka:
        await until_answered(partial(kafka.publish_events, [event]))
        assert await kafka.generations() == Generations()
        await drop_topic(settings)
        async with publishing(settings, records) as another:  # makes the topic anew
            assert await another.generations() == Generations(instances=2)
        async with asyncio.timeout(UNTIL_S):
            while await kafka.generations() != Generations(instances=2):  # noticed without anything sent
                await asyncio.sleep(0.05)
        await until_answered(partial(kafka.publish_events, [event]))
    first, second = await records.topic_history(settings.instance_topic)
    assert first.topic_id != second.topic_id
    assert len(await records.topic_history(settings.ontology_topic)) == 1
    assert await read_topic(settings, settings.instance_topic)


@pytest.mark.integration
async def test_offsets_that_begin_anew_are_noticed_at_once(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("oncelog.stores.kafka.publisher.TOPIC_CHECK_S", 1e9)
    records = records_in_memory()
    async with publishing(settings, records) as kafka:
        await until_answered(partial(kafka.publish_events, chain(1)))
        await drop_topic(settings)
        await until_answered(KafkaPublisher(settings, records).prepare)
        async with asyncio.timeout(UNTIL_S):
            while not await read_topic(settings, settings.instance_topic):
                try:
                    await kafka.publish_events(chain(1))
                except StoreUnavailable:
                    await asyncio.sleep(0.05)  # its producer still looks for the topic that is lost
        assert await kafka.generations() == Generations(instances=2)


@pytest.mark.integration
async def test_fewer_partitions_than_recorded_are_refused(settings: Settings):
    async with publishing(settings, records_in_memory()) as kafka:
        known = kafka._topics._known[settings.instance_topic]
    records = records_in_memory()
    await records.write_topic_record(settings.instance_topic, TopicRecord(1, known.topic_id, PARTITIONS + 1))
    another = KafkaPublisher(settings, records)
    try:
        with pytest.raises(
            StoreUnsafe, match=f"the 7 partitions .* found 6.*--delete --topic {settings.instance_topic}"
        ):
            await until_answered(another.open)
    finally:
        await another.stop()


class Brokers:
    """Brokers that describe the topics, one after the other."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.settings = Settings()
        self.records = MemoryTopicRecords(MemoryBucket())
        self.topic_id, self.partitions = uuid4(), 6
        monkeypatch.setattr(topics, "existing_topics", self._existing)

    async def _existing(self, _client: object, topics: list[str]) -> dict[str, ExistingTopic]:
        return {topic: ExistingTopic(self.topic_id, self.partitions) for topic in topics}

    async def opened(self) -> KafkaTopics:
        topics = KafkaTopics(self.settings, KafkaConnection(self.settings.kafka), self.records)
        await topics.open(None)
        return topics


@pytest.fixture
def brokers(monkeypatch: pytest.MonkeyPatch) -> Brokers:
    return Brokers(monkeypatch)


async def test_broker_that_is_behind_makes_no_generation(brokers: Brokers):
    lost = brokers.topic_id
    await brokers.opened()
    brokers.topic_id = uuid4()
    topics = await brokers.opened()
    assert topics.generations == Generations(2, 2)
    brokers.topic_id = lost
    with pytest.raises(KafkaError, match="still tells of one that was lost"):
        await topics.open(None)
    assert topics.generations == Generations(2, 2)
    with pytest.raises(KafkaError, match="still tells of one that was lost"):
        await brokers.opened()
    assert len(await brokers.records.topic_history(brokers.settings.instance_topic)) == 2


async def test_topic_that_shrinks_while_running_waits(brokers: Brokers):
    topics = await brokers.opened()
    brokers.partitions = 5
    with pytest.raises(ContainerUnusable, match="topic instance_events cannot be used"):
        await topics.open(None)


async def test_brokers_without_topic_ids_have_one_generation(brokers: Brokers):
    brokers.topic_id = NO_ID
    for _ in range(2):
        assert (await brokers.opened()).generations == Generations()
    assert await brokers.records.topic_history(brokers.settings.instance_topic) == [TopicRecord(1, "", 6)]
    brokers.topic_id = UUID(int=7)  # upgraded: the same topic or another, no ID tells
    topics = await brokers.opened()
    assert topics.generations == Generations(2, 2)
    brokers.topic_id = NO_ID  # an answer without an ID takes nothing back
    await topics.open(None)
    assert topics.generations == (await brokers.opened()).generations == Generations(2, 2)


async def test_topics_of_two_programs_get_one_generation(brokers: Brokers):
    found = await asyncio.gather(*(brokers.opened() for _ in range(8)))
    assert {topics.generations for topics in found} == {Generations()}
    assert len(await brokers.records.topic_history(brokers.settings.instance_topic)) == 1


@pytest.mark.parametrize("error", [KafkaConnectionError, TopicAuthorizationFailedError])
async def test_known_generations_stand_while_kafka_is_away(error: type[KafkaError], monkeypatch: pytest.MonkeyPatch):
    publisher, settings, looks = KafkaPublisher(Settings(), records_in_memory()), Settings(), 0

    async def away() -> None:
        nonlocal looks
        looks += 1
        raise error

    monkeypatch.setattr(publisher._producers, "connected", away)
    with pytest.raises(StoreUnavailable):
        await publisher.generations()
    topics = (settings.instance_topic, settings.ontology_topic)
    publisher._topics._known = {topic: TopicRecord(3, "id", 6) for topic in topics}
    publisher._in_doubt, publisher._look_at_s = False, 0.0
    assert [await publisher.generations() for _ in range(5)] == [Generations(3, 3)] * 5
    assert looks == 2, "one look tells for some seconds"
