"""Kafka: one node in KRaft mode, broker and controller in one, small, and quick to start and to rebalance."""

from __future__ import annotations

import asyncio
import base64
import logging
import ssl
import uuid
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import KAFKA
from stack.security import USER, Security
from stack.servers.definition import Command, Definition, Location, plain_environment, run_to_end

HEAP = ["-Xms256m", "-Xmx512m"]
TIMEOUT_S = 5.0

#: A server that does not answer yet is reported once, by the caller.
logging.getLogger("aiokafka").addHandler(logging.NullHandler())

PROTOCOL_VARIABLE = "ONCELOG_KAFKA_SECURITY_PROTOCOL"
CA_VARIABLE = "ONCELOG_KAFKA_SSL_CA_LOCATION"
MECHANISM_VARIABLE = "ONCELOG_KAFKA_SASL_MECHANISM"
USER_VARIABLE = "ONCELOG_KAFKA_SASL_USERNAME"
PASSWORD_VARIABLE = "ONCELOG_KAFKA_SASL_PASSWORD"
BROKER = "broker"
"""The user that a secured broker is to itself."""
PROTOCOLS = "PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:SASL_PLAINTEXT"

LOGGING = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class Kafka(Definition):
    """One Kafka node."""

    name = "kafka"
    program = KAFKA
    ports: ClassVar = {"kafka": 9092, "kafka_controller": 9093}
    address_variable = "ONCELOG_KAFKA_BOOTSTRAP_SERVERS"

    def prepare(self, location: Location) -> Command:
        """Write its properties, and format its storage at the first start."""
        location.data.mkdir(parents=True, exist_ok=True)
        properties, logging = location.folder / "server.properties", location.folder / "log4j2.properties"
        properties.write_text("".join(f"{key}={value}\n" for key, value in self.settings(location).items()))
        logging.write_text(LOGGING)
        properties_of_jvm = [f"-Dlog4j2.configurationFile={logging}", f"-Djava.io.tmpdir={location.empty_temporary()}"]
        java = [location.java, *properties_of_jvm, "-XX:+UseSerialGC", "-cp", f"{location.program}/*"]
        if not (location.data / "meta.properties").exists():
            quick = [java[0], "-XX:TieredStopAtLevel=1", *java[1:]]
            chosen = f"--cluster-id={new_cluster_id()}"  # in one word, for an ID may begin with a dash
            users = [] if location.security is None else scram_users(location.security)
            run_to_end([*quick, "kafka.tools.StorageTool", "format", chosen, "-c", str(properties), *users])
        options = [*HEAP, *location.java_options]
        return Command([java[0], *options, *java[1:], "kafka.Kafka", str(properties)], plain_environment())

    def settings(self, location: Location) -> dict[str, object]:
        """`server.properties`. Topics are made by who needs them, never by a typing error."""
        broker, controller = location.ports["kafka"], location.ports["kafka_controller"]
        advertised = location.advertised or f"{HOST}:{broker}"  # clients leave the bootstrap address for this one
        return {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@{HOST}:{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
            "advertised.listeners": f"PLAINTEXT://{advertised}",
            "log.dirs": location.data,
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 4,
            "group.initial.rebalance.delay.ms": 0,
            "broker.heartbeat.interval.ms": 250,
            "broker.session.timeout.ms": 3000,  # after a crash the old registration must lapse before the new start
            "initial.broker.registration.timeout.ms": 60000,
            "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
        } | (secured(location, location.security) if location.security else {})

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """One bootstrap server."""
        return {self.address_variable: f"{HOST}:{ports['kafka']}"}

    def credentials(self, _ports: Mapping[str, int], security: Security) -> dict[str, str]:
        """The user by SCRAM, over TLS."""
        return {
            PROTOCOL_VARIABLE: "SASL_SSL",
            MECHANISM_VARIABLE: "SCRAM-SHA-512",
            USER_VARIABLE: USER,
            PASSWORD_VARIABLE: security.password,
            CA_VARIABLE: str(security.ca),
        }

    def check(self, environment: Mapping[str, str]) -> None:
        """Ask for the cluster: well is a broker that knows a living broker and a controller."""
        address = environment[self.address_variable]
        with ThreadPoolExecutor(1) as pool:  # a thread without an event loop: callers may have one
            cluster = pool.submit(asyncio.run, _describe_cluster(environment)).result()
        require_controller(address, cluster)


async def _describe_cluster(environment: Mapping[str, str]) -> dict[str, Any]:
    """Ask this very listener: the address that the broker advertises may be a proxy's that does not run yet."""
    address = environment[Kafka.address_variable]
    from aiokafka.conn import create_conn  # takes long to import, and most commands of the stack check no server
    from aiokafka.errors import KafkaError
    from aiokafka.protocol.metadata import MetadataRequest

    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(TIMEOUT_S):
            options = client_options(environment)
            connection = await create_conn(host, int(port), request_timeout_ms=int(TIMEOUT_S * 1000), **options)
            try:
                answer = await connection.send(MetadataRequest([]))
            finally:
                await connection.close()  # of TLS it takes a round trip, and this loop ends at once
    except (KafkaError, OSError, TimeoutError) as error:
        raise UnreachableError(f"Kafka at {address} does not answer: {error or type(error).__name__}") from error
    return {"brokers": answer.brokers, "controller_id": answer.controller_id}


def client_options(environment: Mapping[str, str]) -> dict[str, Any]:
    """Options of a client for TLS and its user, as the variables say."""
    protocol = environment.get(PROTOCOL_VARIABLE, "PLAINTEXT")
    options: dict[str, Any] = {"security_protocol": protocol}
    if "SSL" in protocol:
        options["ssl_context"] = ssl.create_default_context(cafile=environment.get(CA_VARIABLE))
    if "SASL" in protocol:
        options["sasl_mechanism"] = environment[MECHANISM_VARIABLE]
        options["sasl_plain_username"] = environment[USER_VARIABLE]
        options["sasl_plain_password"] = environment[PASSWORD_VARIABLE]
    return options


def require_controller(address: str, cluster: Mapping[str, Any]) -> None:
    """Raise UnreachableError unless the cluster, as its admin client describes it, has a broker and a controller."""
    brokers, controller = len(cluster["brokers"]), cluster["controller_id"]
    if brokers < 1 or controller < 0:
        raise UnreachableError(f"Kafka at {address} knows {brokers} brokers and controller {controller}")


def secured(location: Location, security: Security) -> dict[str, object]:
    """The properties of a broker that wants TLS and a user, and gives other users than `USER` no right."""
    broker, controller = location.ports["kafka"], location.ports["kafka_controller"]
    module = "org.apache.kafka.common.security"
    users = f'username="{BROKER}" password="{security.password}" user_{BROKER}="{security.password}"'
    plain = f'{module}.plain.PlainLoginModule required {users} user_{USER}="{security.password}";'
    return {
        "listeners": f"SASL_SSL://{HOST}:{broker},CONTROLLER://{HOST}:{controller}",
        "advertised.listeners": f"SASL_SSL://{location.advertised or f'{HOST}:{broker}'}",
        "listener.security.protocol.map": PROTOCOLS,
        "security.inter.broker.protocol": "SASL_SSL",
        "sasl.mechanism.inter.broker.protocol": "PLAIN",
        "sasl.mechanism.controller.protocol": "PLAIN",
        "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
        "plain.sasl.jaas.config": plain,
        "listener.name.controller.sasl.enabled.mechanisms": "PLAIN",
        **{
            f"listener.name.{listener}.{mechanism}.sasl.jaas.config": config
            for listener in ("sasl_ssl", "sasl_plaintext", "controller")
            for mechanism, config in (
                ("plain", plain),
                ("scram-sha-256", f"{module}.scram.ScramLoginModule required;"),
                ("scram-sha-512", f"{module}.scram.ScramLoginModule required;"),
            )
        },
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": security.server_both,
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": security.ca,
        "ssl.principal.mapping.rules": "RULE:^CN=([^,]*),.*$/$1/,DEFAULT",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": f"User:{BROKER};User:{USER}",
    }


def scram_users(security: Security) -> list[str]:
    """The options that give `USER` its password at the storage's first format."""
    return [
        word
        for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512")
        for word in ("--add-scram", f"{mechanism}=[name={USER},password={security.password}]")
    ]


def new_cluster_id() -> str:
    """A random UUID as Kafka writes them: base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
