"""Kafka: the stream of events, each aggregate's in order.

A message is a CloudEvent 1.0 in binary mode (https://github.com/cloudevents/spec, Kafka protocol binding): the value is
the event's canonical JSON, as it lies in S3, and the headers say what it is about without parsing it.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed, UnknownTopicOrPartitionError

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.events import Event
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.errors import ContainerUnusable, ObjectRefused, OncelogError, StoreUnsafe, UnusableReason
from oncelog.ports import Generations, TopicRecords
from oncelog.settings import Settings
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topics import KafkaTopics

REQUEST_TIMEOUT_MS = 2_000  # one request to a broker
SEND_TIMEOUT_S = 5.0  # one event, connecting included
SILENCE_S = 1.0  # after a failure, until a new attempt is worthwhile
ALONE_S = 60.0  # after a batch was too large for its topic, until messages go in batches again
STOP_TIMEOUT_S = 3.0
TOPIC_TIMEOUT_S = 15.0
TOPIC_CHECK_S = 2.0  # how soon a topic that was made anew is noticed

BATCH_BYTES_MAX = 1024 * 1024  # of what waits for one partition while a request is under way


@dataclass(frozen=True)
class Message:
    """One message as it stands in the topic."""

    partition: int
    offset: int
    key: bytes
    headers: tuple[tuple[str, bytes], ...]
    value: bytes


def headers_of(event: Event) -> list[tuple[str, bytes]]:
    """Return a message's headers: those of CloudEvents, then ours."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", event.event_id.encode()),
        ("ce_type", event.event_type.encode()),
        ("ce_source", f"/oncelog/{event.db_name}/{event.class_id}".encode()),
        ("ce_subject", event.aggregate_id.encode()),
        ("ce_time", event.occurred_at.encode()),
        ("content-type", b"application/json"),
        ("sequence_number", str(event.sequence_number).encode()),
        ("schema_version", event.schema_version.encode()),
    ]


@dataclass(frozen=True)
class Outgoing:
    """One message to be sent. ``doing`` says in errors what it was."""

    topic: str
    key: bytes
    value: bytes
    headers: list[tuple[str, bytes]]
    doing: str

    @property
    def size_bytes(self) -> int:
        return len(self.key) + len(self.value) + sum(len(name) + len(value) for name, value in self.headers)


def event_topic(settings: Settings, aggregate_id: AggregateId) -> str:
    """Return the topic of an aggregate's events: those of classes have one of their own."""
    return settings.ontology_topic if aggregate_id.class_id == CLASSES else settings.instance_topic


def _event_message(settings: Settings, event: Event) -> Outgoing:
    doing = f"publishing {event.aggregate_id} event {event.sequence_number}"
    topic = event_topic(settings, event.aggregate)
    return Outgoing(topic, event.aggregate_id.encode(), event.canonical, headers_of(event), doing)


class KafkaFailures:
    """The ``FailureStream`` on a topic of its own, through the publisher's connection."""

    def __init__(self, publisher: "KafkaPublisher", topic: str) -> None:
        self._publisher = publisher
        self._topic = topic

    async def announce(self, key: str, body: Mapping[str, Any]) -> None:
        """Send one failure, acknowledged; raises StoreUnavailable."""
        value, headers = canonical_bytes(dict(body)), [("content-type", b"application/json")]
        await self._publisher.send(Outgoing(self._topic, key.encode(), value, headers, f"announcing {key}"))


class KafkaPublisher:
    """The ``EventPublisher`` on Kafka.

    One idempotent producer serves all callers: what different aggregates send at the same time goes out together,
    while each caller waits for the acknowledgement of one event before it sends the next. A producer that has failed
    once is never trusted again (its numbering may be out of step with the broker's, or it may be stuck): it is
    discarded, and the next call builds a new one. After an outage the calls that waited for it fail, too. After a
    refusal of one message they are sent anew: the topic refuses that message, and takes the others.
    """

    def __init__(self, settings: Settings, records: TopicRecords) -> None:
        self._servers = settings.kafka_bootstrap_servers
        self._settings = settings
        self._alone_until_s = 0.0  # messages go each in a batch of its own
        self._topics = KafkaTopics(settings, records)
        self._last_offsets: dict[tuple[str, int], int] = {}
        self._looking = asyncio.Lock()
        self._look_at_s = 0.0
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._stopped = False
        self._retiring: set[asyncio.Task[None]] = set()
        self._in_doubt = False
        self._silent_until_s = 0.0

    @property
    def answers(self) -> bool:
        """Whether a call is worth waiting for: False for a moment after a failure, and while another one finds out.

        So a caller that holds something that others wait for can do without Kafka at once while it is down.
        """
        return time.monotonic() >= self._silent_until_s

    async def prepare(self) -> None:
        """Create the topics that are missing, and hold the others against what the stream of events rests on.

        Raises StoreUnavailable, and StoreUnsafe with what to change.
        """
        try:
            async with asyncio.timeout(TOPIC_TIMEOUT_S):
                await self._topics.prepare()
        except (KafkaError, TimeoutError) as error:
            topics = ", ".join(self._topics.names)
            raise self._error(error, doing=f"creating topics {topics}", topic=topics) from error

    async def open(self) -> None:
        """Learn the generation of each topic of events, and record those that are new.

        Raises StoreUnavailable, LogDamaged, and StoreUnsafe where a topic has fewer partitions than its record.
        """
        try:
            await self.generations()
        except ContainerUnusable as error:
            if error.reason is UnusableReason.MISCONFIGURED:
                raise StoreUnsafe(error.message, **error.details) from error
            raise

    async def generations(self) -> Generations:
        """Return the current generation of each topic, as of ``TOPIC_CHECK_S`` ago at most while Kafka answers.

        Raises StoreUnavailable where none is known yet, or a topic cannot be used.
        """
        known = self._topics.generations
        if known and (self._in_doubt or self._looking.locked() or time.monotonic() < self._look_at_s):
            return known  # after a failure, the next producer looks at the topics before it sends anything
        async with self._looking:
            if self._topics.generations is None or time.monotonic() >= self._look_at_s:
                self._look_at_s = time.monotonic() + TOPIC_CHECK_S
                await self._look()
        current = self._topics.generations
        assert current is not None  # it was looked at, or an error was raised
        return current

    async def _look(self) -> None:
        """Look at the topics once more; where Kafka does not answer, what is known stands until it does."""
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                producer = await self._connected()
                await self._topics.open(producer.client)
        except (KafkaError, TimeoutError) as error:
            topics = ", ".join(self._topics.names)
            failure = self._failed(producer, error, doing=f"opening topics {topics}", topic=topics)
            if self._topics.generations is None:
                raise failure from error

    async def start(self) -> None:
        """Connect; raises StoreUnavailable. Without it, the first ``publish`` connects."""
        self._stopped = False
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._connected()
        except (KafkaError, TimeoutError) as error:
            raise self._error(error, doing="connecting") from error

    async def stop(self) -> None:
        """Disconnect within seconds, whatever Kafka does; what is not acknowledged yet raises StoreUnavailable."""
        self._stopped = True
        self._discard(self._producer, ProducerClosed("the publisher was stopped"))
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def publish(self, events: Sequence[Event]) -> None:
        """Send the events of one aggregate in the given order, each acknowledged before the next is sent.

        Takes at most ``SEND_TIMEOUT_S`` per event. Raises StoreUnavailable: that event may have been sent or not,
        those before it were, those after it were not.
        """
        for event in events:
            await self.send(_event_message(self._settings, event))

    async def send(self, message: "Outgoing") -> None:
        """Send one message, acknowledged, within ``SEND_TIMEOUT_S``.

        Raises StoreUnavailable (the message may have been sent), ContainerUnusable and ObjectRefused (it was not).
        """
        if self._in_doubt:
            self._silent_until_s = time.monotonic() + SEND_TIMEOUT_S  # we find out, the others need not
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                taken = False
                while not taken:
                    producer = await self._connected()
                    taken = await self._taken(producer, message)
        except (KafkaError, TimeoutError) as error:
            sent_bytes = message.size_bytes
            raise self._failed(
                producer, error, doing=message.doing, topic=message.topic, message_bytes=sent_bytes
            ) from error
        self._in_doubt, self._silent_until_s = False, 0.0

    def _failed(self, producer: AIOKafkaProducer | None, error: Exception, **asked: Any) -> OncelogError:
        """Discard the producer, and return the error for what was asked of it; see ``refused``."""
        failure = refused(error, servers=self._servers, **asked)
        refused_only = isinstance(failure, ContainerUnusable | ObjectRefused)
        self._discard(producer, _SendAgain() if refused_only else ProducerClosed("its producer failed another event"))
        self._in_doubt = not refused_only
        self._silent_until_s = 0.0 if refused_only else time.monotonic() + SILENCE_S
        return failure

    async def _taken(self, producer: AIOKafkaProducer, message: "Outgoing") -> bool:
        """Send one message, acknowledged; False if it has to be sent again by another producer. Raises KafkaError."""
        alone = self._alone_until_s > 0
        try:
            await self._acknowledged(producer, message)
        except _SendAgain:
            return False
        except MessageSizeTooLargeError:
            if alone:
                raise
            self._alone_until_s = time.monotonic() + ALONE_S  # the broker judges the batch: one by one from here on
            self._discard(producer, _SendAgain())
            return False
        return True

    async def _acknowledged(self, producer: AIOKafkaProducer, message: "Outgoing") -> None:
        partition = self._topics.partition(message.topic, message.key)
        if partition is not None and partition not in await producer.partitions_for(message.topic):
            raise UnknownTopicOrPartitionError(f"partition {partition} of {message.topic}")
        sending = await producer.send(
            message.topic, key=message.key, value=message.value, headers=message.headers, partition=partition
        )
        sent = await sending
        if sent.offset <= self._last_offsets.get((sent.topic, sent.partition), -1):
            self._look_at_s = 0.0  # offsets began anew: perhaps another topic of the name
        self._last_offsets[sent.topic, sent.partition] = sent.offset

    async def _connected(self) -> AIOKafkaProducer:
        if 0 < self._alone_until_s < time.monotonic():
            self._alone_until_s = 0.0
            self._discard(self._producer, _SendAgain())
        if self._producer is not None:
            return self._producer
        async with self._connecting:
            if self._stopped:
                raise ProducerClosed("the publisher was stopped")
            if self._producer is None:
                self._producer = await self._connect()
            return self._producer

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            bootstrap_servers=self._servers,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=1 if self._alone_until_s else BATCH_BYTES_MAX,  # the first message always fits
            max_request_size=MESSAGE_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await producer.start()
            await self._topics.open(producer.client)  # perhaps the one before failed because a topic is gone
        except BaseException:
            self._retire(producer)
            raise
        return producer

    def _discard(self, producer: AIOKafkaProducer | None, reason: KafkaError) -> None:
        if producer is None or producer is not self._producer:
            return
        producer, self._producer = self._producer, None
        _fail_waiting(producer, reason)
        self._retire(producer)

    def _retire(self, producer: AIOKafkaProducer) -> None:
        retiring = asyncio.create_task(_end(producer))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)

    def _error(self, error: Exception, *, doing: str, topic: str = "", message_bytes: int = 0) -> OncelogError:
        return refused(error, servers=self._servers, doing=doing, topic=topic, message_bytes=message_bytes)


class _SendAgain(KafkaError):  # type: ignore[misc]
    """The producer was discarded because a topic refused another message, or the whole batch."""


def _fail_waiting(producer: AIOKafkaProducer, reason: KafkaError) -> None:
    """Let all calls that wait for a producer fail, those too that found its batches full (aiokafka 0.14).

    Its own ``fail_all`` fails futures that nobody asks for, and breaks the sender, which may be about to take a batch.
    """
    if (sending := producer._sender.sender_task) is not None:
        sending.cancel()
    accumulator = producer._message_accumulator
    accumulator._exception = reason  # what a call meets that looks for a batch from now on
    queued = (batch for batches in accumulator._batches.values() for batch in batches)
    for batch in (*accumulator._pending_batches, *queued):
        for acknowledgement, _ in batch._msg_futures:
            if not acknowledgement.done():
                acknowledgement.set_exception(copy(reason))
        if not batch._drain_waiter.done():
            batch._drain_waiter.set_result(None)


async def _end(producer: AIOKafkaProducer) -> None:
    """End a producer within ``STOP_TIMEOUT_S`` or little more, without sending what it still holds.

    Its own ``stop`` waits for every message to be acknowledged, an idempotent producer retries for ever, and both go
    on in the background after a cancellation; so its task is ended here by hand (aiokafka 0.14).
    """
    producer._closed = True
    sending = producer._sender.sender_task
    if sending is not None:
        sending.cancel()  # it still waits for the requests under way
        await asyncio.wait({sending}, timeout=STOP_TIMEOUT_S)
        sending.cancel()  # and now it does not
        await asyncio.wait({sending}, timeout=STOP_TIMEOUT_S)
    closing = asyncio.create_task(producer.client.close())
    await asyncio.wait({closing}, timeout=STOP_TIMEOUT_S)  # a frozen broker lets a full socket wait
    closing.cancel()
