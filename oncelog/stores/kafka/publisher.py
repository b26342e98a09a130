"""Publishing to Kafka: each aggregate's events in order, each acknowledged before the next."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError, MessageSizeTooLargeError, ProducerClosed, UnknownTopicOrPartitionError

from oncelog import tracing
from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.events import Event
from oncelog.errors import ContainerUnusable, ObjectRefused, OncelogError, StoreUnsafe, UnusableReason
from oncelog.metrics import store_request
from oncelog.ports import Generations, TopicRecords
from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.messages import Outgoing, event_message
from oncelog.stores.kafka.producer import SendAgain, SharedProducer
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topics import KafkaTopics

REQUEST_TIMEOUT_MS = 2_000  # one request to a broker
SEND_TIMEOUT_S = 5.0  # one event, connecting included
SILENCE_S = 1.0  # after a failure, until a new attempt is worthwhile
ALONE_S = 60.0  # after a batch was too large for its topic, until messages go in batches again
STOP_TIMEOUT_S = 3.0
TOPIC_TIMEOUT_S = 15.0
TOPIC_CHECK_S = 2.0  # how soon a topic that was made anew is noticed

BATCH_BYTES_MAX = 1024 * 1024  # of the messages that wait for one partition while a request is under way


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

    One idempotent producer serves all callers: messages of different aggregates at the same time go out together,
    while each caller waits for the acknowledgement of one event before it sends the next. After an outage the calls
    that waited for the producer fail, too. After a refusal of one message they are sent anew: the topic refuses that
    message, and takes the others.
    """

    def __init__(self, settings: Settings, records: TopicRecords) -> None:
        connection = KafkaConnection(settings.kafka)
        self._servers = connection.servers
        self._settings = settings
        self._topics = KafkaTopics(settings, connection, records)
        self._producers = SharedProducer(connection, opened=self._topics.open)
        self._last_offsets: dict[tuple[str, int], int] = {}
        self._looking = asyncio.Lock()
        self._look_at_s = 0.0
        self._in_doubt = False
        self._silent_until_s = 0.0

    @property
    def answers(self) -> bool:
        """Whether a call is worth waiting for: False for a moment after a failure, and while another one finds out.

        So a caller that holds something that others wait for can do without Kafka at once while it is down.
        """
        return time.monotonic() >= self._silent_until_s

    async def prepare(self) -> None:
        """Create the topics that are missing, and check the others against the needs of the stream of events.

        Raises StoreUnavailable, and StoreUnsafe with the settings to change.
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
            current = self._topics.generations
            if current is None or time.monotonic() >= self._look_at_s:
                self._look_at_s = time.monotonic() + TOPIC_CHECK_S
                current = await self._look()
        return current

    async def _look(self) -> Generations:
        """Look at the topics once more; while Kafka does not answer, the last generations hold."""
        producer: AIOKafkaProducer | None = None
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                producer = await self._producers.connected()
                return await self._topics.open(producer.client)
        except (KafkaError, TimeoutError) as error:
            topics = ", ".join(self._topics.names)
            failure = self._failed(producer, error, doing=f"opening topics {topics}", topic=topics)
            known = self._topics.generations
            if known is None:
                raise failure from error
            return known

    async def start(self) -> None:
        """Connect; raises StoreUnavailable. Without it, the first ``publish`` connects."""
        self._producers.start()
        try:
            async with asyncio.timeout(SEND_TIMEOUT_S):
                await self._producers.connected()
        except (KafkaError, TimeoutError) as error:
            raise self._error(error, doing="connecting") from error

    async def stop(self) -> None:
        """Disconnect within seconds, even if Kafka does not answer; calls not acknowledged raise StoreUnavailable."""
        await self._producers.stop()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def publish_events(self, events: Sequence[Event]) -> None:
        """Send the events of one aggregate in the given order, each acknowledged before the next is sent.

        Takes at most ``SEND_TIMEOUT_S`` per event. Raises StoreUnavailable: that event may have been sent or not,
        those before it were, those after it were not.
        """
        for event in events:
            await self.send(event_message(self._settings, event))

    async def send(self, message: Outgoing) -> None:
        """Send one message, acknowledged, within ``SEND_TIMEOUT_S``.

        Raises StoreUnavailable (the message may have been sent), ContainerUnusable and ObjectRefused (it was not).
        """
        with tracing.sending(message.topic, message) as headers:
            await self._send(replace(message, headers=[*message.headers, *headers]) if headers else message)

    async def _send(self, message: Outgoing) -> None:
        if self._in_doubt:
            self._silent_until_s = time.monotonic() + SEND_TIMEOUT_S  # we find out, the others need not
        producer: AIOKafkaProducer | None = None
        try:
            with store_request("kafka", "send"):
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    taken = False
                    while not taken:
                        producer = await self._producers.connected()
                        taken = await self._taken(producer, message)
        except (KafkaError, TimeoutError) as error:
            sent_bytes = message.size_bytes
            raise self._failed(
                producer, error, doing=message.doing, topic=message.topic, message_bytes=sent_bytes
            ) from error
        self._in_doubt, self._silent_until_s = False, 0.0

    def _failed(self, producer: AIOKafkaProducer | None, error: Exception, **asked: Any) -> OncelogError:
        """Discard the producer, and return the error for its failed request; see ``refused``."""
        failure = refused(error, servers=self._servers, **asked)
        refused_only = isinstance(failure, ContainerUnusable | ObjectRefused)
        reason = SendAgain() if refused_only else ProducerClosed("its producer failed another event")
        self._producers.discard(producer, reason)
        self._in_doubt = not refused_only
        self._silent_until_s = 0.0 if refused_only else time.monotonic() + SILENCE_S
        return failure

    async def _taken(self, producer: AIOKafkaProducer, message: Outgoing) -> bool:
        """Send one message, acknowledged; False if it has to be sent again by another producer. Raises KafkaError."""
        alone = self._producers.is_alone
        try:
            await self._acknowledged(producer, message)
        except SendAgain:
            return False
        except MessageSizeTooLargeError:
            if alone:
                raise
            self._producers.send_alone(producer)
            return False
        return True

    async def _acknowledged(self, producer: AIOKafkaProducer, message: Outgoing) -> None:
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

    def _error(self, error: Exception, *, doing: str, topic: str = "", message_bytes: int = 0) -> OncelogError:
        return refused(error, servers=self._servers, doing=doing, topic=topic, message_bytes=message_bytes)
