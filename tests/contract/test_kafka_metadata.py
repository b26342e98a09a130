"""Metadata of all topics is asked again for a while, since a broker that just came back knows nothing."""

import asyncio
from collections.abc import Sequence

import pytest
from aiokafka.errors import KafkaError

from oncelog.stores.kafka import topic_lookup
from oncelog.stores.kafka.topic_lookup import all_topics


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
