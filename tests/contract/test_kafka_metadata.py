"""Metadata of topics: from a broker that just came back and knows nothing, and from one that has no topic IDs."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from aiokafka.errors import KafkaError, UnknownTopicOrPartitionError

from oncelog.ports import TopicFacts
from oncelog.settings import Settings
from oncelog.stores.kafka import stream, topic_lookup
from oncelog.stores.kafka.metadata_request import NO_ID
from oncelog.stores.kafka.stream import KafkaStream
from oncelog.stores.kafka.topic_lookup import ExistingTopic, all_topics, existing_topics, topic_id_of


class Broker:
    """Gives each answer in turn, the last one for ever."""

    def __init__(self, answers: Sequence[str | KafkaError]) -> None:
        self._answers = list(answers)

    async def fetch_all_metadata(self) -> str:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, KafkaError):
            raise answer
        return answer


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_lookup, "RETRY_S", 0.001)


async def test_a_broker_that_just_came_back_is_asked_again():
    async with asyncio.timeout(120):
        assert await all_topics(Broker([KafkaError("nobody"), KafkaError("nobody"), "topics"])) == "topics"


async def test_who_never_knows_is_not_asked_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(topic_lookup, "PATIENCE_S", 0.05)
    with pytest.raises(KafkaError, match="nobody"):
        async with asyncio.timeout(120):
            await all_topics(Broker([KafkaError("nobody")]))


class OldBroker:
    """A broker before Kafka 2.8, of which the client takes no request for topic IDs."""

    def __init__(self, partitions: Mapping[str, int]) -> None:
        self._partitions = partitions

    def get_random_node(self) -> int:
        return 0

    async def send(self, _node: int, _request: object) -> None:
        raise NotImplementedError("Support for TopicIdRequest v0 has not yet been added")

    async def fetch_all_metadata(self) -> "OldBroker":
        return self

    def partitions_for_topic(self, topic: str) -> set[int] | None:
        return set(range(self._partitions[topic])) if topic in self._partitions else None


async def test_topics_of_an_old_broker_have_no_ids():
    broker = OldBroker({"instances": 6, "others": 1})
    assert await existing_topics(broker, ["instances", "classes"]) == {"instances": ExistingTopic(NO_ID, 6)}
    assert await topic_id_of(broker, "instances") is None
    with pytest.raises(UnknownTopicOrPartitionError):
        await topic_id_of(broker, "classes")


async def test_check_sees_the_topics_of_an_old_broker(monkeypatch: pytest.MonkeyPatch):
    settings = Settings()

    @asynccontextmanager
    async def connected(_connection: object) -> AsyncIterator[OldBroker]:
        yield OldBroker({settings.ontology_topic: 6})

    monkeypatch.setattr(stream, "broker_client", connected)
    assert await KafkaStream(settings).topics() == [TopicFacts(settings.ontology_topic, "", of_classes=True)]
