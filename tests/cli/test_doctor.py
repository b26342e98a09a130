"""``oncelog doctor``: each server's state with its remedy, an exit code, and an end whatever hangs."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from oncelog.cli import doctor
from oncelog.cli.doctor import State, diagnose
from oncelog.settings import ElasticsearchSettings, KafkaSettings, RedisSettings, S3Settings, Settings
from oncelog.stores.opening import Stores
from stack import versions

NOWHERE = "127.0.0.1:1"


def settings_nowhere(**given: Any) -> Settings:
    servers: dict[str, Any] = {
        "redis": RedisSettings(url=f"redis://{NOWHERE}/0"),
        "s3": S3Settings(endpoint_url=f"http://{NOWHERE}"),
        "kafka": KafkaSettings(bootstrap_servers=NOWHERE),
        "elasticsearch": ElasticsearchSettings(url=f"http://{NOWHERE}"),
    }
    return Settings(**servers | given)


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "some")
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("TEMPORAL_ADDRESS", NOWHERE)


@pytest.mark.usefixtures("nowhere")
async def test_each_server_out_of_reach_is_named():
    settings = settings_nowhere()
    async with await Stores.connect(settings) as stores:
        found = await diagnose(stores, settings)
    assert [(each.server, each.subject, each.state) for each in found] == [
        (server, "reachable", State.FAILED) for server in ("Temporal", "S3", "Redis", "Kafka", "Elasticsearch")
    ]
    assert {each.remedy for each in found} == {"start it, or mend its address"}


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """A server that takes connections and never answers; gives its address."""
    hold = asyncio.Event()

    async def keep(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hold.wait()
        writer.close()

    server = await asyncio.start_server(keep, "127.0.0.1", 0)
    yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    hold.set()
    server.close()


@pytest.mark.usefixtures("nowhere")
async def test_server_that_hangs_is_left(silent: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(doctor, "CHECK_TIMEOUT_S", 0.5)
    settings = settings_nowhere(redis=RedisSettings(url=f"redis://{silent}/0"))
    async with await Stores.connect(settings) as stores:
        found = await diagnose(stores, settings)
    (redis,) = [each for each in found if each.server == "Redis"]
    assert (redis.state, redis.found) == (State.FAILED, "no answer within 0.5 s")


@pytest.mark.parametrize(
    ("server", "version", "remedy"),
    [
        ("Temporal", "1.28.0", "use 1.29.1 or newer"),
        ("Temporal", "1.31.0-154.6", None),
        ("Redis", "6.2.14", "use 7.0 or newer"),
        ("Redis", "7.0.0", None),
        ("Redis", "", None),
        ("Elasticsearch", "8.9.2", "use 8.19.0 or newer, below 9.0.0"),
        ("Elasticsearch", "8.19.21", None),
        ("Elasticsearch", "9.0.0", "use 8.19.0 or newer, below 9.0.0"),
    ],
)
def test_version_outside_those_tested_is_a_warning(server: str, version: str, remedy: str | None):
    warnings = [(each.state, each.remedy) for each in doctor.version_warnings(server, version)]
    assert warnings == ([(State.WARNING, remedy)] if remedy else [])


def test_versions_are_those_that_the_stack_accepts():
    assert doctor.VERSIONS == {
        "Temporal": (versions.TEMPORAL_SERVER_MINIMUM, ""),
        "Redis": (versions.REDIS_MINIMUM, ""),
        "Elasticsearch": (versions.ELASTICSEARCH_MINIMUM, versions.ELASTICSEARCH_BELOW),
    }


@pytest.mark.integration
async def test_servers_that_are_well_pass(settings: Settings):
    async with await Stores.connect(settings) as stores:
        await stores.prepare()
        found = await diagnose(stores, settings)
    assert [each for each in found if each.state is State.FAILED] == []
    assert [each for each in found if each.subject == "version"] == []
    assert {each.subject for each in found} >= {"reachable", "conditional PUT", "Object Lock", "clock", "rights"}


@pytest.mark.integration
async def test_only_our_red_index_fails(settings: Settings):
    nowhere = {"index.routing.allocation.require._name": "nowhere"}
    others, ours = f"others-{settings.named('red')}", settings.named("instances.commercial.lamp.000009")
    async with await Stores.connect(settings) as stores:
        client = stores.elasticsearch.client
        await client.indices.create(index=others, settings=nowhere, wait_for_active_shards="0")
        try:
            assert await _health(stores, settings) == (
                State.WARNING,
                "the cluster is red, by indices that are not ours",
            )
            await client.indices.create(index=ours, settings=nowhere, wait_for_active_shards="0")
            assert await _health(stores, settings) == (State.FAILED, f"red: {ours}")
        finally:
            await client.indices.delete(index=[others, ours], ignore_unavailable=True)


async def _health(stores: Stores, settings: Settings) -> tuple[State, str]:
    (health,) = [each for each in await diagnose(stores, settings) if each.subject == "health"]
    return health.state, health.found
