"""The one producer that all callers share, replaced by a new one once it has failed."""

import asyncio
import time
from collections.abc import Awaitable, Callable

from aiokafka import AIOKafkaProducer
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError, ProducerClosed

from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.stores.kafka.aiokafka_internals import end_producer, fail_waiting
from oncelog.stores.kafka.connection import KafkaConnection

REQUEST_TIMEOUT_MS = 2_000  # one request to a broker
ALONE_S = 60.0  # after a batch was too large for its topic, until messages go in batches again
BATCH_BYTES_MAX = 1024 * 1024  # of the messages that wait for one partition while a request is under way


class SendAgain(KafkaError):  # type: ignore[misc]
    """The producer was discarded because a topic refused another message, or the whole batch."""


class SharedProducer:
    """One idempotent producer: messages that different callers send at the same time go out together.

    A producer that has failed once is never trusted again (its numbering may be out of step with the broker's, or it
    may be stuck). It is discarded, and the next call builds a new one.
    """

    def __init__(self, connection: KafkaConnection, *, opened: Callable[[AIOKafkaClient], Awaitable[object]]) -> None:
        """``opened`` is awaited with the connection of each new producer before anything is sent through it."""
        self._connection = connection
        self._opened = opened
        self._alone_until_s = 0.0  # messages go each in a batch of its own
        self._producer: AIOKafkaProducer | None = None
        self._connecting = asyncio.Lock()
        self._stopped = False
        self._retiring: set[asyncio.Task[None]] = set()

    @property
    def is_alone(self) -> bool:
        """Whether each message goes in a batch of its own."""
        return self._alone_until_s > 0

    def start(self) -> None:
        """Allow connecting, again after a stop."""
        self._stopped = False

    async def connected(self) -> AIOKafkaProducer:
        """Return the producer, a new one where there is none; raises KafkaError."""
        if 0 < self._alone_until_s < time.monotonic():
            self._alone_until_s = 0.0
            self.discard(self._producer, SendAgain())
        if self._producer is not None:
            return self._producer
        async with self._connecting:
            if self._stopped:
                raise ProducerClosed("the publisher was stopped")
            if self._producer is None:
                self._producer = await self._connect()
            return self._producer

    def send_alone(self, producer: AIOKafkaProducer) -> None:
        """Send one by one from here on: the broker judges a batch as a whole. Calls that wait send again."""
        self._alone_until_s = time.monotonic() + ALONE_S
        self.discard(producer, SendAgain())

    def discard(self, producer: AIOKafkaProducer | None, reason: KafkaError) -> None:
        """Let all calls that wait for this producer fail with the reason, and end it in the background."""
        if producer is None or producer is not self._producer:
            return
        self._producer = None
        fail_waiting(producer, reason)
        self._retire(producer)

    async def stop(self) -> None:
        """End within seconds, even if Kafka does not answer; calls that wait fail."""
        self._stopped = True
        self.discard(self._producer, ProducerClosed("the publisher was stopped"))
        if self._retiring:
            await asyncio.wait(self._retiring)

    async def _connect(self) -> AIOKafkaProducer:
        producer = AIOKafkaProducer(
            **self._connection.options,
            enable_idempotence=True,
            acks="all",
            linger_ms=0,
            max_batch_size=1 if self.is_alone else BATCH_BYTES_MAX,  # the first message always fits
            max_request_size=MESSAGE_BYTES_MAX,
            request_timeout_ms=REQUEST_TIMEOUT_MS,
        )
        try:
            await self._connection.connected(producer.start)
            await self._opened(producer.client)  # perhaps the one before failed because a topic is gone
        except BaseException:
            self._retire(producer)
            raise
        return producer

    def _retire(self, producer: AIOKafkaProducer) -> None:
        retiring = asyncio.create_task(end_producer(producer))
        self._retiring.add(retiring)
        retiring.add_done_callback(self._retiring.discard)
