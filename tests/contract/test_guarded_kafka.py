"""A Kafka that grants no right to create topics and none to look at their settings, with an authorizer of its own."""

import asyncio
from collections.abc import Iterator
from functools import partial

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest
from structlog.testing import capture_logs

from oncelog.errors import ContainerUnusable, UnusableReason
from oncelog.settings import KafkaSettings, Settings
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.topic_reader import read_topic
from stack import Stack
from stack.servers.definition import Location
from stack.servers.kafka import Kafka
from tests.contract.chains import chain
from tests.contract.topics import UNTIL_S, publishing, records_in_memory, until_answered

pytestmark = pytest.mark.integration

# https://kafka.apache.org/protocol: resource types, pattern types, operations and permissions by their numbers
TOPIC, CLUSTER = 2, 4
LITERAL, ALLOW = 3, 3
READ, WRITE, DESCRIBE = 3, 4, 8
CLUSTER_AUTHORIZATION_FAILED = 31


@pytest.fixture
def guarded() -> Iterator[Settings]:
    """A broker whose clients may do everything until rights are granted, and only what is granted from then on."""
    settings_of = Kafka.settings

    def with_authorizer(self: Kafka, location: Location) -> dict[str, object]:
        jaas = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        return settings_of(self, location) | {
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
            yield Settings(kafka=KafkaSettings(bootstrap_servers=servers), namespace="t-guarded")


async def _grant(settings: Settings, *rights: tuple[int, str, int]) -> None:
    """Grant rights, the last of them on the cluster, and wait until the broker applies them: it grants no more then."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        for right in rights:
            assert await _granted(admin, right) == [0]
        async with asyncio.timeout(UNTIL_S):
            while await _granted(admin, rights[-1]) != [CLUSTER_AUTHORIZATION_FAILED]:
                await asyncio.sleep(0.05)
    finally:
        await admin.close()


async def _granted(admin: AIOKafkaAdminClient, right: tuple[int, str, int]) -> list[int]:
    """Ask for a right, and return the broker's error codes."""
    resource, name, operation = right
    request = CreateAclsRequest(resource, name, LITERAL, "User:ANONYMOUS", "*", operation, ALLOW)
    answer = await admin._send_request(request)
    return [code for code, _ in answer.creation_responses]


async def test_topics_that_exist_need_no_right_to_create(guarded: Settings):
    records = records_in_memory()
    await until_answered(KafkaPublisher(guarded, records).prepare)
    rights = [(TOPIC, "*", operation) for operation in (READ, WRITE, DESCRIBE)]
    await _grant(guarded, *rights, (CLUSTER, "kafka-cluster", DESCRIBE))
    with capture_logs() as logs:
        async with publishing(guarded, records) as kafka:
            await until_answered(partial(kafka.publish_events, chain(2)))
    assert await read_topic(guarded, guarded.instance_topic)
    assert "topic_configuration_unknown" in [entry["event"] for entry in logs]
    elsewhere = guarded.model_copy(update={"namespace": "t-elsewhere"})
    with pytest.raises(ContainerUnusable, match=r"t-elsewhere\.instance_events.*CREATE") as refusal:
        await KafkaPublisher(elsewhere, records).prepare()
    assert refusal.value.reason is UnusableReason.FORBIDDEN
