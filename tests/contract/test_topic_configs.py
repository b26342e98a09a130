"""Topics that were made before with other settings are refused when a program starts, with their remedy."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import IncompatibleBrokerVersion, KafkaError, TopicAuthorizationFailedError
from structlog.testing import capture_logs

from oncelog.domain.limits import MESSAGE_BYTES_MAX
from oncelog.errors import StoreUnsafe
from oncelog.settings import Settings
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.topic_configs import check_configurations, configuration_for
from tests.contract.chains import chain
from tests.contract.topics import records_in_memory, until_answered

TOPIC = "instance_events"
UNTIL_S = 60.0


class Brokers:
    """Brokers that describe one topic."""

    def __init__(
        self,
        configuration: Mapping[str, str | None],
        *,
        replicas: int = 1,
        error_code: int = 0,
        error: Exception | None = None,
    ) -> None:
        self._answer = (error_code, "no right", 2, TOPIC, [(*entry, False) for entry in configuration.items()])
        self._replicas = replicas
        self._error = error

    async def describe_configs(self, _resources: Sequence[ConfigResource]) -> list[Any]:
        if self._error:
            raise self._error
        return [SimpleNamespace(resources=[self._answer])]

    async def describe_topics(self, topics: Sequence[str]) -> list[dict[str, Any]]:
        partition = {"replicas": list(range(self._replicas))}
        return [{"error_code": 0, "topic": topic, "partitions": [partition]} for topic in topics]


async def check(brokers: Brokers) -> None:
    await check_configurations(brokers, "k:9092", [TOPIC])


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
async def test_topic_as_we_make_it_passes(replicas: int):
    await check(Brokers(configuration_for(replicas), replicas=replicas))


@pytest.mark.parametrize(
    ("change", "replicas"),
    [
        ({"max.message.bytes": str(2 * MESSAGE_BYTES_MAX)}, 1),
        ({"min.insync.replicas": "2"}, 2),
        ({"min.insync.replicas": "5"}, 5),
        ({"min.insync.replicas": None, "retention.bytes": None}, 3),
    ],
)
async def test_topic_that_is_safer_passes(change: dict[str, str | None], replicas: int):
    await check(Brokers({**configuration_for(replicas), **change}, replicas=replicas))


@pytest.mark.parametrize(
    ("name", "found", "replicas", "expected", "wanted"),
    [
        ("cleanup.policy", "compact", 1, "delete", "delete"),
        ("cleanup.policy", "compact,delete", 1, "delete", "delete"),
        ("retention.ms", "604800000", 1, "-1", "-1"),
        ("retention.bytes", "1000000", 1, "-1", "-1"),
        ("max.message.bytes", "1000", 1, f"at least {MESSAGE_BYTES_MAX}", str(MESSAGE_BYTES_MAX)),
        ("min.insync.replicas", "2", 1, "1 to 1, for it has 1 replicas", "1"),
        ("min.insync.replicas", "1", 3, "2 to 3, for it has 3 replicas", "2"),
        ("min.insync.replicas", "4", 3, "2 to 3, for it has 3 replicas", "2"),
    ],
)
async def test_unsafe_topic_is_named_with_its_remedy(name: str, found: str, replicas: int, expected: str, wanted: str):
    with pytest.raises(StoreUnsafe) as refusal:
        await check(Brokers({**configuration_for(replicas), name: found}, replicas=replicas))
    assert refusal.value.message == (
        f"Kafka at k:9092: topic {TOPIC}: expected {name} {expected}, found {found}; run kafka-configs "
        f"--bootstrap-server k:9092 --alter --entity-type topics --entity-name {TOPIC} --add-config {name}={wanted}; "
        "then start again"
    )


_UNSPOKEN = NotImplementedError("Support for DescribeConfigsRequest v9 has not yet been added")
_NOT_OFFERED = IncompatibleBrokerVersion("DescribeConfigsRequest cannot be used if the API version is unknown")


@pytest.mark.parametrize(
    ("brokers", "reason"),
    [
        (Brokers({}, error_code=TopicAuthorizationFailedError.errno), "no right to read them; grant DESCRIBE_CONFIGS"),
        (Brokers({}, error=_NOT_OFFERED), "the broker does not offer DescribeConfigs; compare them with docs/stream"),
        (Brokers({}, error=_UNSPOKEN), "the broker offers no version of DescribeConfigs that aiokafka speaks"),
    ],
    ids=["forbidden", "not offered", "unspoken version"],
)
async def test_unreadable_settings_are_a_warning(brokers: Brokers, reason: str):
    with capture_logs() as logs:
        await check(brokers)
    (entry,) = logs
    assert (entry["event"], entry["log_level"]) == ("topic_configuration_unknown", "warning")
    assert entry["reason"].startswith(reason)


async def test_other_failures_to_look_are_no_excuse():
    with pytest.raises(KafkaError):
        await check(Brokers({}, error_code=7))  # timed out


async def _made(settings: Settings, configuration: Mapping[str, str]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(settings.instance_topic, 6, 1, topic_configs=dict(configuration))])
    finally:
        await admin.close()


async def _follow(settings: Settings, remedy: str, before: Mapping[str, str]) -> None:
    """Do as the command of a refusal says: it adds to what was set before, where this client replaces it."""
    found = re.search(r"--entity-name (\S+) --add-config ([^;\s]+)", remedy)
    assert found is not None
    configs = {**before, **dict(pair.split("=", 1) for pair in found[2].split(","))}
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    await admin.start()
    try:
        await admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, found[1], configs=configs)])
    finally:
        await admin.close()


async def _passes(kafka: KafkaPublisher) -> None:
    """Wait until it is prepared, for a broker hears of a change a moment later."""
    async with asyncio.timeout(UNTIL_S):
        while True:
            try:
                return await until_answered(kafka.prepare)
            except StoreUnsafe:
                await asyncio.sleep(0.1)


@pytest.mark.integration
@pytest.mark.parametrize(
    "change",
    [{}, {"max.message.bytes": "1000"}, {"cleanup.policy": "compact"}, {"min.insync.replicas": "2"}],
    ids=["as the broker makes it", "narrow", "compacted", "never in sync"],
)
async def test_topic_made_before_us_is_refused_until_mended(settings: Settings, change: dict[str, str]):
    await _made(settings, change)
    kafka = KafkaPublisher(settings, records_in_memory())
    try:
        with pytest.raises(StoreUnsafe) as refusal:
            await until_answered(kafka.prepare)
        assert all(f"{name}=" in refusal.value.message for name in change)
        await _follow(settings, refusal.value.message, change)
        await _passes(kafka)
        await until_answered(partial(kafka.publish_events, chain(1, text="ä" * 10_000)))
    finally:
        await kafka.stop()
