"""A Kafka that grants no right to create topics and none to look at their settings, with an authorizer of its own."""

from collections.abc import Iterator
from functools import partial

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from structlog.testing import capture_logs

from oncelog.errors import ContainerUnusable, UnusableReason
from oncelog.settings import Settings
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka_messages import read_topic
from stack import Stack
from stack.servers.definition import Place
from stack.servers.kafka import Kafka
from tests.contract.chains import chain
from tests.contract.topics import publishing, records_in_memory, until_answered

pytestmark = pytest.mark.integration

# https://kafka.apache.org/protocol: resource types, pattern types, operations and permissions by their numbers
TOPIC, CLUSTER = 2, 4
LITERAL, ALLOW = 3, 3
READ, WRITE, DESCRIBE = 3, 4, 8


@pytest.fixture
def guarded() -> Iterator[Settings]:
    """A broker whose clients may do everything until rights are granted, and only what is granted from then on."""
    settings_of = Kafka.settings

    def with_authorizer(self: Kafka, place: Place) -> dict[str, object]:
        jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        return settings_of(self, place) | {
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "allow.everyone.if.no.acl.found": "true",
            "super.users": "User:broker",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
            "sasl.mechanism.controller.protocol": "PLAIN",
            "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
            "listener.name.controller.plain.sasl.jaas.config": (
                f'{jaas} username="broker" password="local" user_broker="local";'
            ),
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kafka, "settings", with_authorizer)
        with Stack.temporary(["kafka"]) as stack:
            servers = stack.environment()["ONCELOG_KAFKA_BOOTSTRAP_SERVERS"]
            yield Settings(kafka_bootstrap_servers=servers, namespace="t-guarded")


async def _grant(settings: Settings, *rights: tuple[int, str, int]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka_bootstrap_servers)
    await admin.start()
    try:
        for resource, name, operation in rights:
            request = CreateAclsRequest(resource, name, LITERAL, "User:ANONYMOUS", "*", operation, ALLOW)
            answer = await admin._send_request(request)
            assert [code for code, _ in answer.creation_responses] == [0]
    finally:
        await admin.close()


async def test_topics_that_exist_need_no_right_to_create(guarded: Settings):
    records = records_in_memory()
    await until_answered(KafkaPublisher(guarded, records).prepare)
    rights = [(TOPIC, "*", operation) for operation in (READ, WRITE, DESCRIBE)]
    await _grant(guarded, (CLUSTER, "kafka-cluster", DESCRIBE), *rights)
    with capture_logs() as logs:
        async with publishing(guarded, records) as kafka:
            await until_answered(partial(kafka.publish, chain(2)))
    assert await read_topic(guarded, guarded.instance_topic)
    assert "topic_configuration_unknown" in [entry["event"] for entry in logs]
    elsewhere = guarded.model_copy(update={"namespace": "t-elsewhere"})
    with pytest.raises(ContainerUnusable, match=r"t-elsewhere\.instance_events.*CREATE") as refusal:
        await KafkaPublisher(elsewhere, records).prepare()
    assert refusal.value.reason is UnusableReason.FORBIDDEN
