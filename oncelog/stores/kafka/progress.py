"""How far the projectors of a read model have come in the stream of events, told by what they committed."""

from collections.abc import Mapping

from aiokafka import TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata

from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.subscription import projector_group
from oncelog.stores.kafka.topic_lookup import REQUEST_TIMEOUT_MS, all_topics, broker_client, id_text, topic_id_of


class KafkaProgress:
    """Reads a consumer group's offsets without being a member of it, so that no partition moves."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def reached(self, read_model: str) -> Mapping[int, int]:
        """Return by partition the offset that its projectors go on from, 0 where they never committed any.

        No topic is no partitions. Raises StoreUnavailable.
        """
        connection, topic = KafkaConnection(self._settings.kafka), self._settings.instance_topic
        group = self._settings.named(projector_group(read_model))
        try:
            async with broker_client(connection) as client:
                numbers = sorted((await all_topics(client)).partitions_for_topic(topic) or ())
                topic_id = id_text(await topic_id_of(client, topic)) if numbers else ""
            committed = await _committed(connection, group) if numbers else {}
        except (KafkaError, TimeoutError) as error:
            doing = f"reading the offsets of group {group}"
            raise refused(error, servers=connection.servers, doing=doing, topic=topic, group=group) from error
        reached = dict.fromkeys(numbers, 0)
        for number in numbers:
            known = committed.get(TopicPartition(topic, number))
            if known is not None and not (known.metadata and topic_id and known.metadata != topic_id):
                reached[number] = max(0, known.offset)  # else it is of another topic of this name: they begin anew
        return reached


async def _committed(connection: KafkaConnection, group: str) -> Mapping[TopicPartition, OffsetAndMetadata]:
    admin = AIOKafkaAdminClient(**connection.options, request_timeout_ms=REQUEST_TIMEOUT_MS)
    try:
        await connection.connected(admin.start)
        offsets: Mapping[TopicPartition, OffsetAndMetadata] = await admin.list_consumer_group_offsets(group)
        return offsets
    finally:
        await admin.close()
