"""How far the projectors of read models have come in the stream of events, told by their committed offsets."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import stamina
import structlog
from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, GroupLoadInProgressError, KafkaError
from aiokafka.structs import OffsetAndMetadata

from oncelog.bounded_gather import bounded_gather
from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.subscription import projector_group
from oncelog.stores.kafka.topic_lookup import (
    PATIENCE_S,
    REQUEST_TIMEOUT_MS,
    RETRY_S,
    all_topics,
    broker_client,
    id_text,
    topic_id_of,
)

#: Of one installation; each is asked for by itself, and is a value of a metric's label.
READ_MODELS_MAX = 50
ASKED_AT_ONCE_MAX = 8

log = structlog.get_logger(__name__)


class KafkaProgress:
    """Reads consumer groups' offsets without being a member of any, so that no partition moves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = KafkaConnection(settings.kafka)

    async def reached(self, read_model: str) -> Mapping[int, int]:
        """Return by partition the offset that its projectors go on from, 0 where they never committed any.

        No topic is no partitions. Raises StoreUnavailable.
        """
        offsets = await self.committed([read_model])
        return {number: offset or 0 for number, offset in offsets[read_model].items()}

    async def committed(
        self, read_models: Collection[str], *, with_others: bool = False
    ) -> Mapping[str, Mapping[int, int | None]]:
        """Return by read model and partition the offset that was committed, None where there is none of this topic.

        ``with_others``: of all that have a consumer group in this installation besides, read models and reactions of
        the application's own, ``READ_MODELS_MAX`` together at most. Kafka lists the groups that this user may describe.
        Raises StoreUnavailable.
        """
        topic, groups = self._settings.instance_topic, self._settings.named(projector_group("*"))
        try:
            async with broker_client(self._connection) as client:
                numbers = sorted((await all_topics(client)).partitions_for_topic(topic) or ())
                topic_id = id_text(await topic_id_of(client, topic)) if numbers else ""
            if not numbers:
                return {name: {} for name in read_models}
            async with self._admin() as admin:
                names = await self._all_names(admin, read_models) if with_others else list(read_models)
                asking = partial(self._committed, admin)
                committed = await bounded_gather(asking, names, at_once=ASKED_AT_ONCE_MAX)
        except (KafkaError, TimeoutError) as error:
            doing = f"reading the offsets of group {groups}"
            raise refused(error, servers=self._connection.servers, doing=doing, topic=topic, group=groups) from error
        return {
            name: _of_topic(offsets, topic, topic_id, numbers) for name, offsets in zip(names, committed, strict=True)
        }

    async def _all_names(self, admin: AIOKafkaAdminClient, first: Collection[str]) -> list[str]:
        """Return these read models and then all others that have a group, in the order of their names."""
        prefix = self._settings.named(projector_group(""))
        groups = [name for name, *_ in await _answered(admin.list_consumer_groups)]
        found = {name.removeprefix(prefix) for name in groups if name.startswith(prefix)}
        names = [*first, *sorted(found.difference(first))]
        if left_out := names[READ_MODELS_MAX:]:
            log.warning("read_models_left_out", number=len(left_out), first=left_out[0])
        return names[:READ_MODELS_MAX]

    async def _committed(
        self, admin: AIOKafkaAdminClient, read_model: str
    ) -> Mapping[TopicPartition, OffsetAndMetadata]:
        group = self._settings.named(projector_group(read_model))
        offsets: Mapping[TopicPartition, OffsetAndMetadata] = await _answered(
            partial(admin.list_consumer_group_offsets, group)
        )
        return offsets

    @asynccontextmanager
    async def _admin(self) -> AsyncIterator[AIOKafkaAdminClient]:
        admin = AIOKafkaAdminClient(**self._connection.options, request_timeout_ms=REQUEST_TIMEOUT_MS)
        try:
            await self._connection.connected(admin.start)
            yield admin
        finally:
            await admin.close()


def _of_topic(
    committed: Mapping[TopicPartition, OffsetAndMetadata], topic: str, topic_id: str, numbers: Collection[int]
) -> Mapping[int, int | None]:
    """Return the offsets of this topic; of another one of its name, projectors begin anew."""
    offsets: dict[int, int | None] = dict.fromkeys(numbers)
    for number in numbers:
        known = committed.get(TopicPartition(topic, number))
        if known is not None and not (known.metadata and topic_id and known.metadata != topic_id):
            offsets[number] = max(0, known.offset)
    return offsets


async def _answered(question: Callable[[], Awaitable[Any]]) -> Any:
    """Ask about groups: the first question makes the topic of offsets, and is refused until that is there."""
    again = stamina.AsyncRetryingCaller(
        attempts=None, timeout=PATIENCE_S, wait_initial=RETRY_S, wait_max=2 * RETRY_S, wait_jitter=RETRY_S
    )
    return await again((GroupCoordinatorNotAvailableError, GroupLoadInProgressError), question)
