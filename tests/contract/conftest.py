"""Every port twice: on its in-memory twin, and on its real server under names of this test's own."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.ports import CommandStatuses, Leases, LogCatalogue, Ports, TopicRecords
from oncelog.stores.kafka.messages import Message
from oncelog.stores.kafka.topic_reader import read_messages, read_topic
from oncelog.stores.redis.command_statuses import RedisCommandStatuses
from oncelog.stores.redis.leases import RedisLeases
from oncelog.stores.redis.server import RedisServer
from oncelog.stores.s3 import S3LogCatalogue, S3TopicRecords, StoredObject
from oncelog.testing.memory.redis import MemoryCommandStatuses, MemoryLeases, MemoryRedis
from oncelog.testing.memory.s3 import MemoryLogCatalogue, MemoryTopicRecords
from tests.clients import patient, patient_stores
from tests.write.world import World

IN_MEMORY = "in memory"
BOTH = [IN_MEMORY, pytest.param("on its server", marks=pytest.mark.integration)]


@dataclass(frozen=True)
class Opened:
    """All ports, and ways past them: to write any object, to read the stream, and to drop a class's documents or
    its alias.

    ``catalogue`` makes one of as many keys to the page.
    """

    ports: Ports
    put_object: Callable[[str, bytes], Awaitable[None]]
    messages: Callable[[AggregateId], Awaitable[list[Message]]]
    drop_documents: Callable[[AggregateId], Awaitable[None]]
    drop_alias: Callable[[AggregateId], Awaitable[None]]
    catalogue: Callable[[int], LogCatalogue]
    failures: Callable[[], Awaitable[list[tuple[str, Mapping[str, Any]]]]]
    topic_records: TopicRecords


@pytest.fixture(params=BOTH)
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opened]:
    if request.param == IN_MEMORY:
        yield _in_memory()
        return
    settings = request.getfixturevalue("settings")
    async with patient_stores(settings) as stores:
        bucket = stores.bucket

        async def put_object(key: str, body: bytes) -> None:
            await asyncio.to_thread(bucket.client.put_object, Bucket=bucket.name, Key=bucket.prefix + key, Body=body)

        async def messages(aggregate_id: AggregateId) -> list[Message]:
            return await read_messages(settings, aggregate_id)

        async def drop_documents(aggregate_id: AggregateId) -> None:
            index = stores.documents.alias_of(aggregate_id) + ".000001"
            await stores.elasticsearch.client.indices.delete(index=index)

        async def drop_alias(aggregate_id: AggregateId) -> None:
            alias = stores.documents.alias_of(aggregate_id)
            await stores.elasticsearch.client.indices.delete_alias(index=f"{alias}.*", name=alias)

        def catalogue(keys_per_list_max: int) -> LogCatalogue:
            return S3LogCatalogue(bucket, stores.ports.event_log, keys_per_list_max=keys_per_list_max)

        async def failures() -> list[tuple[str, Mapping[str, Any]]]:
            told = await read_topic(settings, settings.failure_topic)
            return [(message.key.decode(), json.loads(message.value)) for message in told]

        records = S3TopicRecords(bucket)
        yield Opened(stores.ports, put_object, messages, drop_documents, drop_alias, catalogue, failures, records)


def _in_memory() -> Opened:
    world = World()

    async def put_object(key: str, body: bytes) -> None:
        world.bucket.objects[key] = StoredObject(body)

    async def messages(aggregate_id: AggregateId) -> list[Message]:
        return [message for message in world.publisher.messages if message.key == str(aggregate_id).encode()]

    async def drop_documents(_aggregate_id: AggregateId) -> None:
        world.documents.clear()

    async def drop_alias(aggregate_id: AggregateId) -> None:
        world.documents.lose_alias(f"{aggregate_id.db_name}.{aggregate_id.class_id}".lower())

    ports = world.process().ports

    def catalogue(keys_per_list_max: int) -> LogCatalogue:
        return MemoryLogCatalogue(world.bucket, ports.event_log, keys_per_list_max=keys_per_list_max)

    async def failures() -> list[tuple[str, Mapping[str, Any]]]:
        return world.failures.announced

    records = MemoryTopicRecords(world.bucket)
    return Opened(ports, put_object, messages, drop_documents, drop_alias, catalogue, failures, records)


@dataclass(frozen=True)
class Redis:
    """Redis' leases, with chosen times; each call makes a new one on the same server."""

    leases: Callable[..., Leases]
    statuses: CommandStatuses


@pytest.fixture(params=BOTH)
async def redis(request: pytest.FixtureRequest) -> AsyncIterator[Redis]:
    if request.param == IN_MEMORY:
        memory = MemoryRedis()
        yield Redis(lambda **options: MemoryLeases(memory, **options), MemoryCommandStatuses(memory))
        return
    with patient():
        server = RedisServer.connect(request.getfixturevalue("settings"))
    yield Redis(lambda **options: RedisLeases(server, **options), RedisCommandStatuses(server))
    await server.close()
