"""The lag of read models as brokers tell it, past the projectors."""

import time

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import OffsetAndMetadata

from oncelog.settings import Settings
from oncelog.stores.kafka import lag as kafka_lag
from oncelog.stores.kafka.lag import KafkaLag, ProjectorLag
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.subscription import projector_group
from tests.contract.topics import records_in_memory

pytestmark = pytest.mark.integration

NOW_S = int(time.time())
#: By partition, how many seconds ago each message was sent.
SENT_AGO_S = {0: (9_000, 6_000, 3_000), 3: (5_000,), 4: ()}


@pytest.fixture
async def topic(settings: Settings) -> Settings:
    """A topic with messages of known ages, one of them larger than what a look at it asks for."""
    await KafkaPublisher(settings, records_in_memory()).prepare()
    producer = AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    await producer.start()
    try:
        for partition, ages in SENT_AGO_S.items():
            for age_s in ages:
                sent_ms = (NOW_S - age_s) * 1000
                value = b"x" * (10 * kafka_lag.FETCH_BYTES if age_s == 6_000 else 10)
                await producer.send_and_wait(settings.instance_topic, value, partition=partition, timestamp_ms=sent_ms)
    finally:
        await producer.stop()
    return settings


async def commit(settings: Settings, group: str, offsets: dict[int, int], *, topic_id: str = "") -> None:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap_servers, group_id=group, enable_auto_commit=False
    )
    await consumer.start()
    try:
        places = {TopicPartition(settings.instance_topic, number): offset for number, offset in offsets.items()}
        consumer.assign(list(places))
        await consumer.commit({place: OffsetAndMetadata(offset, topic_id) for place, offset in places.items()})
    finally:
        await consumer.stop()


async def lags_of(settings: Settings) -> dict[str, ProjectorLag]:
    return {lag.read_model: lag for lag in await KafkaLag(settings, built_in=["documents", "graph"]).read()}


def is_as_old(lag: ProjectorLag, sent_ago_s: int) -> bool:
    return sent_ago_s <= lag.oldest_age_s <= time.time() - NOW_S + sent_ago_s


async def test_oldest_message_that_is_not_committed_counts(topic: Settings):
    await commit(topic, topic.named(projector_group("orders")), {0: 1, 3: 0})
    await commit(topic, topic.named(projector_group("reaction-ship")), {0: 3, 3: 1})
    await commit(topic, topic.named(projector_group("graph")), {0: 3})
    await commit(topic, projector_group("elsewhere"), {0: 1})
    lags = await lags_of(topic)
    assert list(lags) == ["documents", "graph", "orders", "reaction-ship"]
    assert {name: lag.behind for name, lag in lags.items()} == {
        "documents": 4,
        "graph": 1,
        "orders": 3,
        "reaction-ship": 0,
    }
    assert is_as_old(lags["orders"], 6_000)
    assert is_as_old(lags["graph"], 5_000)
    assert lags["orders"].messages == dict.fromkeys(range(6), 0) | {0: 2, 3: 1}
    assert lags["reaction-ship"].oldest_age_s == 0


async def test_idle_projectors_are_awaited_in_stream_mode(topic: Settings):
    inline = (await lags_of(topic.model_copy(update={"projection": "inline"})))["documents"]
    assert (inline.behind, inline.committed, inline.awaited, inline.oldest_age_s) == (4, False, False, 0)
    stream = (await lags_of(topic.model_copy(update={"projection": "stream"})))["documents"]
    assert (stream.behind, stream.committed, stream.awaited) == (4, False, True)
    assert is_as_old(stream, 9_000)


async def test_offsets_of_a_topic_before_it_count_for_nothing(topic: Settings):
    await commit(topic, topic.named(projector_group("orders")), {0: 3, 3: 1}, topic_id="another")
    lag = (await lags_of(topic))["orders"]
    assert (lag.behind, lag.committed, lag.awaited) == (4, False, True)


async def test_read_models_are_bounded(topic: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("oncelog.stores.kafka.progress.READ_MODELS_MAX", 3)
    for name in ("orders", "prices"):
        await commit(topic, topic.named(projector_group(name)), {0: 3})
    assert list(await lags_of(topic)) == ["documents", "graph", "orders"]


async def test_installation_without_a_topic_has_no_lag(settings: Settings):
    lags = await lags_of(settings)
    assert {name: (lag.behind, lag.oldest_age_s) for name, lag in lags.items()} == {
        "documents": (0, 0),
        "graph": (0, 0),
    }
