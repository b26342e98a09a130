"""Kafka with TLS and SASL in every combination, and with the least rights, on a real broker."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trustme
from aiohttp import web
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from oncelog.errors import ContainerUnusable, StoreUnavailable
from oncelog.settings import KafkaSettings, Settings
from oncelog.stores.kafka.connection import KafkaConnection
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.subscription import KafkaSubscription
from oncelog.stores.kafka.topic_lookup import broker_client, existing_topics
from oncelog.stores.kafka.topic_reader import read_topic
from stack import Stack
from stack.ports import HOST, reserve_free
from stack.security import Security
from stack.servers.definition import Location
from stack.servers.kafka import Kafka
from tests.contract.chains import chain
from tests.contract.topics import UNTIL_S, publishing, records_in_memory, until_answered

pytestmark = pytest.mark.integration

CANARY = "canary-4be1"
OAUTH = "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule"


class Broker:
    """A secured broker with a listener of each protocol; ``servers`` has the address of each."""

    def __init__(self, security: Security, servers: Mapping[str, str]) -> None:
        self.security = security
        self.servers = servers

    def settings(self, protocol: str, *, namespace: str = "t-secured", **given: Any) -> Settings:
        """Return settings for a listener, with all that is right for its protocol unless it is given otherwise."""
        known: dict[str, Any] = {"bootstrap_servers": self.servers[protocol], "security_protocol": protocol}
        if "SSL" in protocol:
            known["ssl_ca_location"] = str(self.security.ca)
        if protocol == "SSL":
            known["ssl_certificate_location"] = str(self.security.client)
            known["ssl_key_location"] = str(self.security.client_key)
        if "SASL" in protocol:
            known |= {"sasl_username": "oncelog", "sasl_password": self.security.password}
        return Settings(kafka=KafkaSettings(**known | given), namespace=namespace)


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    protocols = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT")
    taken = {protocol: reserve_free() for protocol in protocols}
    ports = {protocol: taken[protocol].getsockname()[1] for protocol in protocols}
    settings_of = Kafka.settings

    def with_listeners(self: Kafka, location: Location) -> dict[str, object]:
        known = settings_of(self, location)
        more = ",".join(f"{protocol}://{HOST}:{port}" for protocol, port in ports.items())
        return known | {
            "listeners": f"{known['listeners']},{more}",
            "advertised.listeners": f"{known['advertised.listeners']},{more}",
            "listener.name.ssl.ssl.client.auth": "required",
            "listener.name.sasl_ssl.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            "listener.name.sasl_ssl.oauthbearer.sasl.jaas.config": (
                f'{OAUTH} required unsecuredLoginStringClaim_sub="broker";'
            ),
            "listener.name.sasl_plaintext.sasl.enabled.mechanisms": "SCRAM-SHA-256",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": str(
                known["listener.name.sasl_ssl.plain.sasl.jaas.config"]
            ).replace(";", f' user_worker="{_password(location)}";'),
            "super.users": f"{known['super.users']};User:ANONYMOUS",
        }

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Kafka, "settings", with_listeners)
        for held in taken.values():
            held.close()
        with Stack.temporary(["kafka"], secured=True) as stack:
            servers = {protocol: f"{HOST}:{port}" for protocol, port in ports.items()}
            servers["SASL_SSL"] = stack.environment()["ONCELOG_KAFKA_BOOTSTRAP_SERVERS"]
            yield Broker(Security(stack.data / "certificates"), servers)


def _password(location: Location) -> str:
    assert location.security
    return location.security.password


@asynccontextmanager
async def token_server(secret: str) -> AsyncIterator[str]:
    """An authorization server (RFC 6749, 4.4) of unsigned tokens, which Kafka takes unless it is told otherwise."""

    async def token(request: web.Request) -> web.Response:
        sent = await request.post()
        assert sent["grant_type"] == "client_credentials"
        if request.headers["Authorization"] != f"Basic {base64.b64encode(f'client:{secret}'.encode()).decode()}":
            return web.json_response({"error": "invalid_client"}, status=401)
        now = int(time.time())
        parts = ({"alg": "none"}, {"sub": "oncelog", "iat": now, "exp": now + 300, "scope": sent.get("scope", "")})
        encoded = [base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts]
        return web.json_response({"access_token": ".".join([*encoded, ""]), "expires_in": 300})

    app = web.Application()
    app.router.add_post("/token", token)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, HOST, 0)
    await site.start()
    yield f"http://{HOST}:{runner.addresses[0][1]}/token"
    await runner.cleanup()


async def _publish(settings: Settings) -> None:
    async with publishing(settings, records_in_memory()) as kafka:
        await until_answered(partial(kafka.publish_events, chain(1)))
    assert await read_topic(settings, settings.instance_topic)


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("SSL", "PLAIN"),
        ("SASL_PLAINTEXT", "SCRAM-SHA-256"),
        ("SASL_SSL", "PLAIN"),
        ("SASL_SSL", "SCRAM-SHA-256"),
        ("SASL_SSL", "SCRAM-SHA-512"),
    ],
)
async def test_events_are_published_by_every_protocol(broker: Broker, protocol: str, mechanism: str):
    await _publish(broker.settings(protocol, sasl_mechanism=mechanism))


def _oauth(url: str, secret: str) -> dict[str, Any]:
    return {
        "sasl_mechanism": "OAUTHBEARER",
        "sasl_username": None,
        "sasl_password": None,
        "sasl_oauthbearer_token_endpoint_url": url,
        "sasl_oauthbearer_client_id": "client",
        "sasl_oauthbearer_client_secret": secret,
        "sasl_oauthbearer_scope": "kafka",
    }


async def test_events_are_published_with_a_token(broker: Broker):
    async with token_server("right") as url:
        await _publish(broker.settings("SASL_SSL", **_oauth(url, "right")))
        with pytest.raises(ContainerUnusable, match=r"no token from .*401.*; mend ONCELOG_KAFKA_SASL_OAUTHBEARER"):
            await _refused(broker.settings("SASL_SSL", **_oauth(url, CANARY)))


async def _refused(settings: Settings) -> None:
    """Prepare until the broker refuses: a busy one may not answer within the time of a diagnosis."""
    ends_s = asyncio.get_running_loop().time() + UNTIL_S
    while True:
        try:
            await KafkaPublisher(settings, records_in_memory()).prepare()
        except StoreUnavailable as error:
            if isinstance(error, ContainerUnusable) or asyncio.get_running_loop().time() > ends_s:
                raise


def _other_ca(folder: Path) -> str:
    trustme.CA().cert_pem.write_to_path(str(folder / "other.pem"))
    return str(folder / "other.pem")


@pytest.mark.parametrize(
    ("protocol", "given", "reason", "remedy"),
    [
        ("SASL_SSL", {"sasl_password": CANARY}, "credentials", "mend ONCELOG_KAFKA_SASL_USERNAME and"),
        (
            "SASL_SSL",
            {"sasl_password": CANARY, "sasl_mechanism": "SCRAM-SHA-512"},
            "credentials",
            "mend ONCELOG_KAFKA_SASL_USERNAME and",
        ),
        ("SASL_PLAINTEXT", {"sasl_mechanism": "PLAIN"}, "credentials", "set ONCELOG_KAFKA_SASL_MECHANISM to one"),
        ("SASL_SSL", {"ssl_ca_location": None}, "tls", "set ONCELOG_KAFKA_SSL_CA_LOCATION to the PEM file"),
        ("SASL_SSL", {"ssl_ca_location": "other"}, "tls", "set ONCELOG_KAFKA_SSL_CA_LOCATION to the PEM file"),
        ("SSL", {"ssl_certificate_location": None}, "tls", "set ONCELOG_KAFKA_SSL_CERTIFICATE_LOCATION to a client"),
        ("PLAINTEXT", {"bootstrap_servers": "SSL"}, "tls", "set ONCELOG_KAFKA_SECURITY_PROTOCOL to SSL or SASL_SSL"),
        (
            "SASL_SSL",
            {"bootstrap_servers": "PLAINTEXT"},
            "tls",
            "set ONCELOG_KAFKA_SECURITY_PROTOCOL to PLAINTEXT or",
        ),
        ("SASL_PLAINTEXT", {"bootstrap_servers": "PLAINTEXT"}, "credentials", "this listener asks for no SASL"),
        ("PLAINTEXT", {"bootstrap_servers": "SASL_PLAINTEXT"}, "credentials", "SASL_SSL or SASL_PLAINTEXT"),
    ],
)
async def test_refusal_says_which_setting_to_mend(
    broker: Broker, tmp_path: Path, protocol: str, given: dict[str, Any], reason: str, remedy: str
):
    if given.get("ssl_ca_location") == "other":
        given = {"ssl_ca_location": _other_ca(tmp_path)}
    if "bootstrap_servers" in given:
        given = {"bootstrap_servers": broker.servers[given["bootstrap_servers"]]}
    with pytest.raises(ContainerUnusable) as caught:
        await _refused(broker.settings(protocol, **given))
    assert (str(caught.value.reason), caught.value.container) == (reason, "cluster")
    assert remedy in caught.value.message
    assert "is it up" not in caught.value.message
    assert CANARY not in f"{caught.value!r} {caught.value.details}"


async def test_topics_are_created_as_the_settings_say(broker: Broker):
    topics = {"instance_topic": "acme.orders.events", "class_topic": "acme.orders.classes", "partitions": 3}
    settings = broker.settings("SASL_SSL", namespace="t-named", **topics)
    await _publish(settings)
    async with broker_client(KafkaConnection(settings.kafka)) as client:
        found = await existing_topics(client, [settings.instance_topic, settings.ontology_topic])
    assert {name: topic.partitions for name, topic in found.items()} == {
        "acme.orders.events": 3,
        "acme.orders.classes": 3,
    }
    too_many = broker.settings("SASL_SSL", namespace="t-three", replication_factor=3)
    with pytest.raises(ContainerUnusable, match="start more brokers, or lower ONCELOG_KAFKA_REPLICATION_FACTOR"):
        await _refused(too_many)


# https://kafka.apache.org/protocol: resource types, pattern types, operations and permissions by their numbers
TOPIC, GROUP, PREFIXED, LITERAL, ALLOW = 2, 3, 4, 3, 3
READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS = 3, 4, 8, 10


async def test_least_rights_of_the_page_are_enough(broker: Broker):
    """The rights that docs/operating/least-privilege.md grants: no CREATE, no ALTER, no DELETE."""
    rich = broker.settings("SASL_SSL", namespace="t-least")
    await until_answered(KafkaPublisher(rich, records_in_memory()).prepare)
    poor = broker.settings(
        "SASL_SSL", namespace="t-least", sasl_username="worker", sasl_password=broker.security.password
    )
    with pytest.raises(ContainerUnusable, match=r"topic t-least\..*grant this user READ, WRITE and DESCRIBE"):
        await _refused(poor)
    admin = AIOKafkaAdminClient(**KafkaConnection(rich.kafka).options)
    await admin.start()
    rights = [
        *((TOPIC, "t-least.", PREFIXED, one) for one in (READ, WRITE, DESCRIBE, DESCRIBE_CONFIGS)),
        (GROUP, "t-least.", PREFIXED, READ),
    ]
    for resource, name, pattern, operation in rights:
        request = CreateAclsRequest(resource, name, pattern, "User:worker", "*", operation, ALLOW)
        answer = await admin._send_request(request)
        assert [code for code, _ in answer.creation_responses] == [0]
    await admin.close()
    await _publish(poor)
    subscription = KafkaSubscription(poor, group="projector.documents")

    async def nothing() -> None: ...

    await until_answered(partial(subscription.start, nothing))
    async with asyncio.timeout(UNTIL_S):
        while not await until_answered(partial(subscription.next_batch, messages_max=10, wait_s=1.0)):
            pass
    await subscription.commit_offsets(dict.fromkeys(range(6), 0))
    await subscription.stop()
