"""The one module that touches private parts of aiokafka, of version 0.14 (decision 29; pyproject.toml bounds it).

aiokafka has no end within a given time, neither of a producer nor of a consumer; no way to the metadata of committed
offsets that tells an error from nothing; and no request for a topic's ID, so that ours needs a connection.
"""

import asyncio
from collections.abc import Mapping, Sequence
from copy import copy

import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.client import AIOKafkaClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

STOP_TIMEOUT_S = 3.0

log = structlog.get_logger(__name__)


def client_of(owner: AIOKafkaConsumer | AIOKafkaAdminClient) -> AIOKafkaClient:
    """Return the connection of a consumer or an admin client; a producer has it in public."""
    return owner._client


async def committed_offsets(
    consumer: AIOKafkaConsumer, partitions: Sequence[TopicPartition]
) -> Mapping[TopicPartition, OffsetAndMetadata]:
    """Return the offsets that the consumer's group committed, with their metadata; asks until there is an answer.

    ``AIOKafkaConsumer.committed`` leaves the metadata out, ``AIOKafkaAdminClient.list_consumer_group_offsets`` returns
    no offsets where the group's coordinator answers with an error.
    """
    committed: Mapping[TopicPartition, OffsetAndMetadata] = await consumer._coordinator.fetch_committed_offsets(
        list(partitions)
    )
    return committed


def fail_waiting(producer: AIOKafkaProducer, reason: KafkaError) -> None:
    """Let all calls that wait for a producer fail, those too that found its batches full.

    Its own ``fail_all`` fails futures that no caller awaits, and breaks the sender, which may be about to take a batch.
    """
    if (sending := producer._sender.sender_task) is not None:
        sending.cancel()
    accumulator = producer._message_accumulator
    accumulator._exception = reason  # raised by calls that look for a batch from now on
    queued = (batch for batches in accumulator._batches.values() for batch in batches)
    for batch in (*accumulator._pending_batches, *queued):
        for acknowledgement, _ in batch._msg_futures:
            if not acknowledgement.done():
                acknowledgement.set_exception(copy(reason))
        if not batch._drain_waiter.done():
            batch._drain_waiter.set_result(None)


async def end_producer(producer: AIOKafkaProducer) -> None:
    """End a producer within ``STOP_TIMEOUT_S`` or little more, without sending the messages it still holds.

    Its own ``stop`` waits for every message to be acknowledged, an idempotent producer retries for ever, and both go
    on in the background after a cancellation; so its task is ended here by hand.
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


async def end_consumer(consumer: AIOKafkaConsumer) -> None:
    """End a consumer within a few times ``STOP_TIMEOUT_S``.

    Its own ``stop`` waits for the broker's answers, so its tasks are ended by hand if it does not return.
    """
    stopping = asyncio.create_task(consumer.stop())
    await asyncio.wait({stopping}, timeout=STOP_TIMEOUT_S)
    if stopping.done():
        if not stopping.cancelled() and (error := stopping.exception()):
            log.info("consumer_ended_with", reason=str(error))
        return
    coordinator, fetcher = consumer._coordinator, consumer._fetcher
    own = [
        getattr(coordinator, "_coordination_task", None),
        getattr(coordinator, "_heartbeat_task", None),
        getattr(coordinator, "_commit_refresh_task", None),
        getattr(fetcher, "_fetch_task", None),
        *getattr(fetcher, "_pending_tasks", ()),
    ]
    ending = {stopping, *(task for task in own if task is not None)}
    for task in ending:
        task.cancel()
    await asyncio.wait(ending, timeout=STOP_TIMEOUT_S)
    closing = asyncio.create_task(consumer._client.close())
    await asyncio.wait({closing}, timeout=STOP_TIMEOUT_S)
    closing.cancel()
