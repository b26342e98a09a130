"""The configuration of topics that this program did not make: compared with the needs of the stream of events."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import structlog
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    IncompatibleBrokerVersion,
    KafkaError,
    TopicAuthorizationFailedError,
    for_code,
)

from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.errors import StoreUnsafe

REPLICAS_MAX = 3

_NAMES = ("cleanup.policy", "retention.ms", "retention.bytes", "max.message.bytes", "min.insync.replicas")

#: The errors under which the settings stay unread, each with its reason and remedy in words of ours: the text of
#: aiokafka ("Support for … has not yet been added") reads as if this program lacked something.
_UNREAD: Mapping[type[Exception], str] = {
    TopicAuthorizationFailedError: "no right to read them; grant DESCRIBE_CONFIGS on the topics",
    ClusterAuthorizationFailedError: "no right to read them; grant DESCRIBE_CONFIGS on the topics",
    IncompatibleBrokerVersion: "the broker does not offer DescribeConfigs; compare them with docs/stream.md",
    NotImplementedError: "the broker offers no version of DescribeConfigs that aiokafka speaks; compare them with "
    "docs/stream.md",
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Deviation:
    """One setting of a topic that is not as it has to be. ``wanted``: the value that mends it."""

    name: str
    expected: str
    found: str
    wanted: str


def configuration_for(replicas: int) -> dict[str, str]:
    """Return the configuration of a topic that we make: all events stay, and one replica may be away."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
        "min.insync.replicas": str(max(1, min(replicas, REPLICAS_MAX) - 1)),
    }


async def check_configurations(admin: AIOKafkaAdminClient, servers: str, topics: Sequence[str]) -> None:
    """Compare the topics' settings with those that the stream of events needs.

    Without the right to read them, or with brokers that do not offer it, a warning is logged and the topics pass.
    Raises KafkaError, and StoreUnsafe with the command that mends every topic that does not pass.
    """
    try:
        configurations = await _configurations(admin, topics)
    except tuple(_UNREAD) as error:
        log.warning("topic_configuration_unknown", topics=list(topics), reason=_UNREAD[type(error)])
        return
    replicas = await _replicas(admin, topics)
    refusals = [
        _refusal(servers, topic, deviations)
        for topic, configuration in configurations.items()
        if (deviations := list(_deviations(configuration, replicas[topic])))
    ]
    if refusals:
        raise StoreUnsafe(f"Kafka at {servers}: {'; '.join(refusals)}; then start again")


def _deviations(found: Mapping[str, str], replicas: int) -> Iterator[_Deviation]:
    """Yield the settings that deviate. A setting that the broker does not tell passes."""
    wanted = configuration_for(replicas)
    for name in ("cleanup.policy", "retention.ms", "retention.bytes"):
        if name in found and found[name] != wanted[name]:
            yield _Deviation(name, wanted[name], found[name], wanted[name])
    name = "max.message.bytes"
    if name in found and int(found[name]) < MESSAGE_BYTES_MAX:
        yield _Deviation(name, f"at least {MESSAGE_BYTES_MAX}", found[name], wanted[name])
    name = "min.insync.replicas"
    if name in found and not int(wanted[name]) <= int(found[name]) <= replicas:
        expected = f"{wanted[name]} to {replicas}, for it has {replicas} replicas"
        yield _Deviation(name, expected, found[name], wanted[name])


def _refusal(servers: str, topic: str, deviations: Sequence[_Deviation]) -> str:
    """Name the topic, its deviations, and the command that mends them."""
    wrong = ", ".join(f"expected {one.name} {one.expected}, found {one.found}" for one in deviations)
    config = ",".join(f"{one.name}={one.wanted}" for one in deviations)
    return (
        f"topic {topic}: {wrong}; run kafka-configs --bootstrap-server {servers} --alter --entity-type topics "
        f"--entity-name {topic} --add-config {config}"
    )


async def _configurations(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, dict[str, str]]:
    wanted = dict.fromkeys(_NAMES)
    responses = await admin.describe_configs(
        [ConfigResource(ConfigResourceType.TOPIC, topic, configs=wanted) for topic in topics]
    )
    found: dict[str, dict[str, str]] = {}
    for response in responses:
        for code, message, _, topic, entries in response.resources:
            if code:
                raise for_code(code)(f"topic {topic}: {message}")
            found[topic] = {name: value for name, value, *_ in entries if value is not None}
    return found


async def _replicas(admin: AIOKafkaAdminClient, topics: Sequence[str]) -> dict[str, int]:
    """Return the number of replicas of each topic: its partition with the fewest counts."""
    replicas: dict[str, int] = {}
    for described in await admin.describe_topics(list(topics)):
        if described["error_code"]:
            raise for_code(described["error_code"])(described["topic"])
        replicas[described["topic"]] = min(len(partition["replicas"]) for partition in described["partitions"])
    if missing := set(topics) - replicas.keys():
        raise KafkaError(f"topics {', '.join(sorted(missing))} were not described")
    return replicas
