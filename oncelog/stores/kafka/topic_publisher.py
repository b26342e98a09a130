"""Events sent to a topic that an operator names: for a new consumer, beside the streams of events."""

from collections.abc import Sequence

from aiokafka.errors import KafkaError

from oncelog.domain.events import Event
from oncelog.errors import InputInvalid
from oncelog.settings import Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.messages import Outgoing, headers_of
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.refusals import refused
from oncelog.stores.kafka.topic_lookup import all_topics, broker_client


class KafkaTopicPublisher:
    """The ``TopicPublisher`` on Kafka, through the publisher's connection."""

    def __init__(self, publisher: KafkaPublisher, settings: Settings) -> None:
        self._publisher = publisher
        self._connection = KafkaConnection(settings.kafka)
        self._own = {settings.instance_topic, settings.ontology_topic, settings.failure_topic}

    async def demand_topic(self, topic: str) -> None:
        if topic in self._own:
            raise InputInvalid(
                f"topic {topic}: expected one of a new consumer, found one of Oncelog's own; name another"
            )
        try:
            async with broker_client(self._connection) as client:
                there = (await all_topics(client)).topics()
        except (KafkaError, TimeoutError) as error:
            raise refused(
                error, servers=self._connection.servers, doing=f"looking for topic {topic}", topic=topic
            ) from error
        if topic not in there:
            raise InputInvalid(f"topic {topic}: expected it to exist, found none of this name; create it first")

    async def publish_to(self, topic: str, events: Sequence[Event]) -> None:
        for event in events:
            doing = f"republishing {event.aggregate_id} event {event.sequence_number} to {topic}"
            message = Outgoing(topic, event.aggregate_id.encode(), event.canonical, headers_of(event), doing)
            await self._publisher.send(message)
