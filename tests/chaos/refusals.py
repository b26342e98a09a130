"""Kinds of faults in which a server is well and refuses: one index, one topic, or our credentials."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from elasticsearch import AsyncElasticsearch

import stack.servers.s3 as s3_server
from oncelog.domain.limits import MESSAGE_BYTES_MAX
from tests.chaos.installation import Installation
from tests.chaos.kinds import SELDOM, Draws, Note, elasticsearch_of, kind, redis_of
from tests.contract.topics import set_topic_setting

#: Drawn as a number, since the indices are known at the time only: those of documents and of the graph.
_WHICH = tuple(range(6))
_ALIASES = "instances.*,graph.*"
SHARDS_PER_NODE = "cluster.max_shards_per_node"


async def _drawn(client: AsyncElasticsearch, draws: Draws) -> tuple[str, str] | None:
    """Return an alias and the index behind it, or None if there are none yet."""
    found = await client.indices.get(index=_ALIASES)
    pairs = sorted(
        (alias, index) for index, about in found.items() for alias in about["aliases"] if index.startswith(f"{alias}.")
    )
    return pairs[draws["which"] % len(pairs)] if pairs else None


async def _is_there(client: AsyncElasticsearch, index: str) -> bool:
    """Return whether the index is there still: others delete and rebuild meanwhile."""
    return bool(await client.indices.exists(index=index))


@kind("elasticsearch", (3.0, 8.0), SELDOM, which=_WHICH)
async def elasticsearch_index_closed(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One index is closed: its aggregates wait, all others flow."""
    async with elasticsearch_of(ground) as client:
        if (drawn := await _drawn(client, draws)) is None:
            yield {"nothing": "no index is there yet"}
            return
        _, index = drawn
        await client.indices.close(index=index)
        yield {"index": index}
        if await _is_there(client, index):
            await client.indices.open(index=index, wait_for_active_shards=1)


@kind("elasticsearch", (3.0, 8.0), SELDOM, which=_WHICH)
async def elasticsearch_index_blocked(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One index takes no writes."""
    async with elasticsearch_of(ground) as client:
        if (drawn := await _drawn(client, draws)) is None:
            yield {"nothing": "no index is there yet"}
            return
        _, index = drawn
        await client.indices.put_settings(index=index, settings={"index.blocks.write": True})
        yield {"index": index}
        if await _is_there(client, index):
            await client.indices.put_settings(index=index, settings={"index.blocks.write": None})


@kind("elasticsearch", weight=SELDOM, which=_WHICH)
async def elasticsearch_alias_lost(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One alias is taken off its index; an operator puts it back, unless it leads to an index again."""
    async with elasticsearch_of(ground) as client:
        if (drawn := await _drawn(client, draws)) is None:
            yield {"nothing": "no index is there yet"}
            return
        alias, index = drawn
        await client.indices.delete_alias(index=index, name=alias)
        yield {"alias": alias}
        if not await client.indices.exists_alias(name=alias) and await _is_there(client, index):
            await client.indices.put_alias(index=index, name=alias, is_write_index=True)


@kind("elasticsearch", (3.0, 8.0), SELDOM, which=_WHICH)
async def elasticsearch_alias_doubled(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One alias leads to a second index as well."""
    async with elasticsearch_of(ground) as client:
        if (drawn := await _drawn(client, draws)) is None:
            yield {"nothing": "no index is there yet"}
            return
        alias, _ = drawn
        second = f"{alias}.chaos"
        await client.indices.create(
            index=second, aliases={alias: {}}, settings={"number_of_shards": 1, "number_of_replicas": 0}
        )
        yield {"alias": alias}
        await client.indices.delete(index=second, ignore_unavailable=True)


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

    def restarted(secret_key: str) -> None:
        s3_server.SECRET_KEY = secret_key
        server.restart()

    try:
        await asyncio.to_thread(restarted, "another-secret")
        yield {}
    finally:
        await asyncio.to_thread(restarted, right)


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


@kind("kafka", (4.0, 10.0), SELDOM, bytes=(600, 900, 1500))
async def kafka_topic_narrowed(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """The topic takes small messages only; those that are too large for it wait, the others flow."""
    settings = ground.direct
    await set_topic_setting(settings, "max.message.bytes", str(draws["bytes"]))
    try:
        yield {}
    finally:
        await set_topic_setting(settings, "max.message.bytes", str(MESSAGE_BYTES_MAX))
