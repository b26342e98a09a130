"""A topic that refuses a message holds up that message's aggregate only."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator, Callable
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import TopicPartition, errors
from aiokafka.producer.message_accumulator import MessageAccumulator

from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.errors import ContainerUnusable, ObjectRefused, OncelogError, StoreUnavailable, UnusableReason
from oncelog.settings import Settings
from oncelog.stores.kafka import aiokafka_internals, producer
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topic_reader import read_messages
from oncelog.stores.kafka.topics import KafkaTopics
from tests.contract.chains import chain
from tests.contract.topics import records_in_memory, set_topic_setting

SMALL_BYTES = 3_000


def _refused(error: Exception, **given: Any) -> OncelogError:
    return refused(error, servers="x:9092", doing="publishing", topic="t.instances", group="g", **given)


@pytest.mark.parametrize(
    ("error", "reason", "container"),
    [
        (errors.MessageSizeTooLargeError(), UnusableReason.MISCONFIGURED, "topic t.instances"),
        (errors.RecordListTooLargeError(), UnusableReason.MISCONFIGURED, "topic t.instances"),
        (errors.TopicAuthorizationFailedError(), UnusableReason.FORBIDDEN, "topic t.instances"),
        (errors.PolicyViolationError(), UnusableReason.CREATION_REFUSED, "topic t.instances"),
        (errors.InvalidConfigurationError(), UnusableReason.CREATION_REFUSED, "topic t.instances"),
        (errors.GroupAuthorizationFailedError(), UnusableReason.FORBIDDEN, "group g"),
        (errors.ClusterAuthorizationFailedError(), UnusableReason.FORBIDDEN, "cluster"),
        (errors.UnknownTopicOrPartitionError(), None, ""),
        (errors.NotEnoughReplicasError(), None, ""),
        (errors.OutOfOrderSequenceNumber(), None, ""),
        (TimeoutError(), None, ""),
    ],
)
def test_kafka_answers_are_told_apart(error: Exception, reason: UnusableReason | None, container: str):
    found = _refused(error)
    assert isinstance(found, StoreUnavailable)
    assert (found.reason if isinstance(found, ContainerUnusable) else None) == reason
    if isinstance(found, ContainerUnusable):
        assert found.message.startswith(f"Kafka at x:9092: {container} cannot be used ({reason})")


def test_a_message_above_our_own_limit_is_refused():
    assert isinstance(_refused(errors.MessageSizeTooLargeError(), message_bytes=MESSAGE_BYTES_MAX), ObjectRefused)


class _Producer:
    """A producer whose broker refuses a batch with a large message; it sends what was given at one moment together."""

    def __init__(self, *, batch_bytes: int) -> None:
        self._batch_bytes = batch_bytes
        self._batch: list[tuple[int, asyncio.Future[Any]]] = []
        self._offsets = count()
        self._sender = SimpleNamespace(sender_task=None)
        self._message_accumulator = SimpleNamespace(_exception=None, _batches={}, _pending_batches=[self])
        self._drain_waiter = asyncio.get_running_loop().create_future()
        self.client = SimpleNamespace(close=self._nothing)

    async def start(self) -> None:
        await asyncio.sleep(0)

    @property
    def _msg_futures(self) -> list[tuple["asyncio.Future[None]", None]]:
        return [(acknowledged, None) for _, acknowledged in self._batch]

    async def _nothing(self) -> None:
        await asyncio.sleep(0)

    async def send(self, _topic: str, *, value: bytes, **_: object) -> asyncio.Future[Any]:
        acknowledged = asyncio.get_running_loop().create_future()
        if self._batch_bytes == 1:
            self._end([(len(value), acknowledged)])
        else:
            if not self._batch:
                asyncio.get_running_loop().call_later(0.01, self._flush)
            self._batch.append((len(value), acknowledged))
        return acknowledged

    def _flush(self) -> None:
        batch, self._batch = self._batch, []
        self._end(batch)

    def _end(self, batch: list[tuple[int, "asyncio.Future[Any]"]]) -> None:
        too_large = sum(size for size, _ in batch) > SMALL_BYTES
        for _, acknowledged in batch:
            if not acknowledged.done():
                if too_large:
                    acknowledged.set_exception(errors.MessageSizeTooLargeError())
                else:
                    acknowledged.set_result(SimpleNamespace(topic="t", partition=0, offset=next(self._offsets)))


@pytest.fixture
def forged(monkeypatch: pytest.MonkeyPatch) -> KafkaPublisher:
    def made(*, max_batch_size: int, **_: Any) -> _Producer:
        return _Producer(batch_bytes=max_batch_size)

    async def opened(_topics: KafkaTopics, _client: object) -> None:
        """Its topics are there."""

    monkeypatch.setattr(producer, "AIOKafkaProducer", made)
    monkeypatch.setattr(KafkaTopics, "open", opened)
    return KafkaPublisher(Settings(namespace="t-nowhere"), records_in_memory())


async def test_a_batch_that_is_too_large_goes_one_by_one(forged: KafkaPublisher):
    await _only_the_large_one_waits(forged, lambda: forged.answers)


async def _only_the_large_one_waits(publisher: KafkaPublisher, answers: Callable[[], bool]) -> None:
    large = chain(1, "large", text="ä" * SMALL_BYTES)
    small = [chain(2, f"p{number}") for number in range(8)]
    refusal, *outcomes = await asyncio.gather(
        *(publisher.publish_events(events) for events in (large, *small)), return_exceptions=True
    )
    assert outcomes == [None] * 8
    assert isinstance(refusal, ContainerUnusable)
    assert refusal.reason is UnusableReason.MISCONFIGURED
    assert f"max.message.bytes to {MESSAGE_BYTES_MAX}" in refusal.message
    assert answers()
    await publisher.publish_events(chain(1, "later"))
    await publisher.stop()


async def test_a_discarded_producer_fails_all_that_wait_for_it():
    accumulator = MessageAccumulator(SimpleNamespace(), 1, 0, 60.0)
    doomed: Any = SimpleNamespace(_message_accumulator=accumulator, _sender=SimpleNamespace(sender_task=None))

    async def send(partition: int) -> None:
        """Send a message; a partition has room for one, so that others wait for its batch to leave."""
        await (await accumulator.add_message(TopicPartition("t", partition), b"k", b"v", timeout=60))

    loop, unheard = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    try:
        sending = [asyncio.create_task(send(partition)) for partition in (0, 0, 0, 1)]
        await asyncio.sleep(0)
        aiokafka_internals.fail_waiting(doomed, errors.ProducerClosed("discarded"))
        outcomes = await asyncio.gather(*sending, return_exceptions=True)
        accumulator._batches.clear()
        gc.collect()
        await asyncio.sleep(0)
    finally:
        loop.set_exception_handler(None)
    assert [type(outcome) for outcome in outcomes] == [errors.ProducerClosed] * 4
    assert not unheard


@pytest.fixture
async def narrow(settings: Settings) -> AsyncIterator[KafkaPublisher]:
    """A publisher whose topic takes small messages only from now on."""
    publisher = KafkaPublisher(settings, records_in_memory())
    await publisher.prepare()
    await publisher.start()
    await set_topic_setting(settings, "max.message.bytes", str(SMALL_BYTES))
    await _until_large_ones_are_refused(settings)
    yield publisher
    await publisher.stop()


async def _until_large_ones_are_refused(settings: Settings) -> None:
    """Wait for the topic's leader, which applies a setting some time after the broker has acknowledged it."""
    probe = KafkaPublisher(settings, records_in_memory())
    async with asyncio.timeout(60):
        for number in count():
            try:
                await probe.publish_events(chain(1, f"probe{number}", text="ä" * SMALL_BYTES))
            except ContainerUnusable:
                break
    await probe.stop()


@pytest.mark.integration
async def test_a_narrow_topic_holds_up_large_messages_only(
    settings: Settings, narrow: KafkaPublisher, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.ERROR):
        await _only_the_large_one_waits(narrow, lambda: narrow.answers)
        gc.collect()  # a failure that no caller awaited is logged by now
    assert not caplog.records
    await set_topic_setting(settings, "max.message.bytes", str(MESSAGE_BYTES_MAX))
    (event,) = chain(1, "large", text="ä" * SMALL_BYTES)
    again = KafkaPublisher(settings, records_in_memory())
    await again.publish_events([event])
    assert [message.value for message in await read_messages(settings, event.aggregate)] == [event.canonical]
    await again.stop()
