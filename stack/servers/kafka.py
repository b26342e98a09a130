"""Kafka: one node in KRaft mode, broker and controller in one, small, and quick to start and to rebalance."""

from __future__ import annotations

import base64
import socket
import struct
import uuid
from collections.abc import Mapping
from typing import ClassVar

from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import KAFKA
from stack.servers.definition import Command, Definition, Location, plain_environment, run_to_end

HEAP = ["-Xms256m", "-Xmx512m"]
TIMEOUT_S = 2.0

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
            run_to_end([*quick, "kafka.tools.StorageTool", "format", chosen, "-c", str(properties)])
        return Command([java[0], *HEAP, *java[1:], "kafka.Kafka", str(properties)], plain_environment())

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
        }

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """One bootstrap server."""
        return {self.address_variable: f"{HOST}:{ports['kafka']}"}

    def check(self, environment: Mapping[str, str]) -> None:
        """Ask for the cluster's metadata: well is a broker that knows a living broker and a controller."""
        address = environment[self.address_variable].split(",")[0].strip()
        host, _, port = address.rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), TIMEOUT_S) as connection:
            connection.sendall(metadata_request())
            (size,) = struct.unpack(">i", receive(connection, 4))
            brokers, controller = parse_metadata(receive(connection, size))
        if brokers < 1 or controller < 0:
            raise UnreachableError(f"Kafka at {address} knows {brokers} brokers and controller {controller}")


def new_cluster_id() -> str:
    """A random UUID as Kafka writes them: base64 for URLs, without padding."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def metadata_request() -> bytes:
    """A Metadata request, version 1, about no topic, as Kafka's protocol guide lays it out."""
    client = b"oncelog-stack"
    api_key, api_version, correlation, topics = 3, 1, 1, 0
    body = struct.pack(f">hhih{len(client)}si", api_key, api_version, correlation, len(client), client, topics)
    return struct.pack(">i", len(body)) + body


def parse_metadata(response: bytes) -> tuple[int, int]:
    """How many brokers live, and which node is the controller (-1 for none)."""
    correlation, count = struct.unpack_from(">ii", response)
    if correlation != 1:
        raise UnreachableError("the answer is not Kafka's")
    offset = 8
    for _ in range(count):
        offset += 4  # node
        for after in (4, 0):  # host, then port; rack
            (length,) = struct.unpack_from(">h", response, offset)
            offset += 2 + max(length, 0) + after
    (controller,) = struct.unpack_from(">i", response, offset)
    return count, controller


def receive(connection: socket.socket, size: int) -> bytes:
    """Exactly `size` bytes, or `UnreachableError`."""
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise UnreachableError("the connection was closed in the middle of an answer")
        received += part
    return received
