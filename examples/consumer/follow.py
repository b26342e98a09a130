"""Follow the topic of events by the rules of docs/stream.md, with nothing of Oncelog but its contract."""

import json
import time
from collections.abc import Mapping

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Message, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient

from examples.consumer.checkpoint import Checkpoint

TOPIC_CHECK_INTERVAL_S = 2.0
POLL_TIMEOUT_S = 0.5
REQUEST_TIMEOUT_S = 30.0


def follow(servers: str, topic: str, checkpoint: Checkpoint, *, until_caught_up: bool = False) -> None:
    """Apply the topic's events to the checkpoint, for ever; ``until_caught_up``: until the topic has no more now.

    Raises KafkaException where the brokers give no answer or the topic does not exist.
    """
    admin = AdminClient({"bootstrap.servers": servers})
    while True:
        topic_id, partitions = _described(admin, topic)
        next_offsets = checkpoint.begin(topic_id)
        assigned = [TopicPartition(topic, each, next_offsets.get(each, OFFSET_BEGINNING)) for each in partitions]
        consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "examples-consumer",  # its offsets are never used: the checkpoint has its own
                "enable.auto.commit": False,
                "auto.offset.reset": "error",  # an offset that is gone is a reason to look at the topic's ID
                "enable.partition.eof": until_caught_up,
            }
        )
        try:
            consumer.assign(assigned)
            if _read(consumer, admin, topic_id, assigned, checkpoint):
                return
        finally:
            consumer.close()


def _read(
    consumer: Consumer, admin: AdminClient, topic_id: str, assigned: list[TopicPartition], checkpoint: Checkpoint
) -> bool:
    """Apply messages until the topic was made anew (returns False) or every partition is at its end (True)."""
    topic, ended, looks_s = assigned[0].topic, set[int](), time.monotonic() + TOPIC_CHECK_INTERVAL_S
    while True:
        message = consumer.poll(POLL_TIMEOUT_S)
        if message is None or message.error() or time.monotonic() > looks_s:
            looks_s = time.monotonic() + TOPIC_CHECK_INTERVAL_S
            if _described(admin, topic)[0] != topic_id:
                return False
        if message is None:
            continue
        if message.error():
            ended |= _ended_partition(message)
            if len(ended) == len(assigned):
                return True
            continue
        _apply(message, checkpoint)


def _described(admin: AdminClient, topic: str) -> tuple[str, list[int]]:
    """Return the topic's ID and its partitions."""
    future = admin.describe_topics(TopicCollection([topic]), request_timeout=REQUEST_TIMEOUT_S)[topic]
    description = future.result()
    return str(description.topic_id), [each.id for each in description.partitions]


def _ended_partition(message: Message) -> set[int]:
    """Return the partition whose end was reached; raises any error but that."""
    error, partition = message.error(), message.partition()
    if error is not None and error.name() == "_PARTITION_EOF" and partition is not None:
        return {partition}
    raise KafkaException(error)


def _apply(message: Message, checkpoint: Checkpoint) -> None:
    value, partition, offset = message.value(), message.partition(), message.offset()
    event: Mapping[str, object] = json.loads(value or b"null")
    checkpoint.apply(event, partition=partition or 0, offset=offset or 0)
