"""Kinds of faults in which a server is well and refuses: one index, one topic, or our credentials."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from elasticsearch import AsyncElasticsearch

import stack.servers.s3 as s3_server
from oncelog.domain.limits import MESSAGE_BYTES_MAX
from tests.chaos.installation import Installation
from tests.chaos.kinds import SELDOM, Draws, Note, elasticsearch_of, kind, redis_of
from tests.contract.topics import set_topic_setting

#: Drawn as a number, since the indices are known at the time only: indices of documents and of the graph.
_WHICH = tuple(range(6))
_ALIASES = "instances.*,graph.*"
SHARDS_PER_NODE = "cluster.max_shards_per_node"


@dataclass(frozen=True)
class _OneIndex:
    """The index that was drawn, and the alias that leads to it."""

    client: AsyncElasticsearch
    alias: str
    name: str

    async def exists(self) -> bool:
        """Return whether it is there still: others delete and rebuild meanwhile."""
        return bool(await self.client.indices.exists(index=self.name))


def _on_one_index(
    fault: Callable[[_OneIndex], AsyncIterator[Note]],
) -> Callable[[Installation, Draws], AsyncIterator[Note]]:
    """Turn a fault on one alias and the index behind it into one on an installation, where there is an index yet."""
    of_one = asynccontextmanager(fault)

    @functools.wraps(fault)
    async def on_installation(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
        async with elasticsearch_of(ground) as client:
            drawn = await _drawn(client, draws)
            if drawn is None:
                yield {"nothing": "no index is there yet"}
                return
            async with of_one(_OneIndex(client, *drawn)) as note:
                yield note

    return on_installation


async def _drawn(client: AsyncElasticsearch, draws: Draws) -> tuple[str, str] | None:
    """Return an alias and the index behind it, or None if there are none yet."""
    found = await client.indices.get(index=_ALIASES)
    pairs = sorted(
        (alias, index) for index, about in found.items() for alias in about["aliases"] if index.startswith(f"{alias}.")
    )
    return pairs[draws["which"] % len(pairs)] if pairs else None


@kind("elasticsearch", (3.0, 8.0), SELDOM, which=_WHICH)
@_on_one_index
async def elasticsearch_index_closed(one: _OneIndex) -> AsyncIterator[Note]:
    """One index is closed: its aggregates wait, all others flow."""
    await one.client.indices.close(index=one.name)
    yield {"index": one.name}
    if await one.exists():
        await one.client.indices.open(index=one.name, wait_for_active_shards=1)


@kind("elasticsearch", (3.0, 8.0), SELDOM, which=_WHICH)
@_on_one_index
async def elasticsearch_index_blocked(one: _OneIndex) -> AsyncIterator[Note]:
    """One index takes no writes."""
    await one.client.indices.put_settings(index=one.name, settings={"index.blocks.write": True})
    yield {"index": one.name}
    if await one.exists():
        await one.client.indices.put_settings(index=one.name, settings={"index.blocks.write": None})


@kind("elasticsearch", weight=SELDOM, which=_WHICH)
@_on_one_index
async def elasticsearch_alias_lost(one: _OneIndex) -> AsyncIterator[Note]:
    """One alias is taken off its index; an operator puts it back, unless it leads to an index again."""
    await one.client.indices.delete_alias(index=one.name, name=one.alias)
    yield {"alias": one.alias}
    if not await one.client.indices.exists_alias(name=one.alias) and await one.exists():
        await one.client.indices.put_alias(index=one.name, name=one.alias, is_write_index=True)


@kind("elasticsearch", (3.0, 8.0), SELDOM, which=_WHICH)
@_on_one_index
async def elasticsearch_alias_doubled(one: _OneIndex) -> AsyncIterator[Note]:
    """One alias leads to a second index as well."""
    second = f"{one.alias}.chaos"
    await one.client.indices.create(
        index=second, aliases={one.alias: {}}, settings={"number_of_shards": 1, "number_of_replicas": 0}
    )
    yield {"alias": one.alias}
    await one.client.indices.delete(index=second, ignore_unavailable=True)


@kind("elasticsearch", (3.0, 8.0), SELDOM, which=_WHICH)
async def elasticsearch_shards_used_up(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One index is lost when the node may hold no further shard, so that it cannot be made anew."""
    async with elasticsearch_of(ground) as client:
        drawn = await _drawn(client, draws)
        await client.cluster.put_settings(persistent={SHARDS_PER_NODE: 1})
        try:
            if drawn is not None:
                await client.indices.delete(index=drawn[1])
            yield {"index": drawn and drawn[1]}
        finally:
            await client.cluster.put_settings(persistent={SHARDS_PER_NODE: None})


@kind("s3", (4.0, 10.0), SELDOM)
async def s3_credentials_expired(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    """S3 is started again with another secret key, so that it refuses every signature; later with the right one."""
    server, right = ground.server("s3"), s3_server.SECRET_KEY

    async def restart(secret_key: str) -> None:
        await asyncio.to_thread(server.stop)
        s3_server.SECRET_KEY = secret_key
        await ground.start(server.name)

    try:
        await restart("another-secret")
        yield {}
    finally:
        await restart(right)


@kind("redis", (4.0, 10.0), SELDOM)
async def redis_credentials_expired(ground: Installation, _: Draws) -> AsyncIterator[Note]:
    """Redis asks for a password that no client has; open connections are cut."""
    async with redis_of(ground) as redis:
        await redis.config_set("requirepass", "another")
        try:
            note: dict[str, Any] = {"cut": await redis.execute_command("CLIENT", "KILL", "TYPE", "normal")}
            yield note
        finally:
            await redis.config_set("requirepass", "")


@kind("kafka", (4.0, 10.0), SELDOM, bytes=(600, 900, 1500), worker_killed=(True, False))
async def kafka_topic_narrowed(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """The topic takes small messages only; larger ones wait, the others flow.

    A worker that starts meanwhile refuses the topic, and is started again until it is as it was.
    """
    settings = ground.direct
    await set_topic_setting(settings, "max.message.bytes", str(draws["bytes"]))
    try:
        if draws["worker_killed"]:
            await ground.supervisor.workers[0].kill()
        yield {}
    finally:
        await set_topic_setting(settings, "max.message.bytes", str(MESSAGE_BYTES_MAX))
