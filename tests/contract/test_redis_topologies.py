"""Redis by its Sentinels."""

import asyncio
import gc
import socket
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from oncelog.domain.identifiers import AggregateId
from oncelog.errors import StoreUnavailable
from oncelog.ports import StreamProgress, Watermark
from oncelog.settings import RedisSettings, Settings
from oncelog.stores.redis.leases import RedisLeases
from oncelog.stores.redis.server import RedisServer
from stack.ports import HOST
from tests.contract.topics import first_generations

pytestmark = pytest.mark.integration


def _configuration(folder: Path, *lines: str) -> Path:
    folder.mkdir()
    path = folder / "redis.conf"
    path.write_text("\n".join([*lines, ""]))
    return path


@asynccontextmanager
async def _redis_process(folder: Path, *options: str) -> AsyncIterator[int]:
    with socket.socket() as free:
        free.bind((HOST, 0))
        port: int = free.getsockname()[1]
    configuration = _configuration(folder, f"port {port}", f"bind {HOST}", f"dir {folder}", 'save ""', *options)
    sentinel = ["--sentinel"] if any(option.startswith("sentinel") for option in options) else []
    process = await asyncio.create_subprocess_exec("redis-server", str(configuration), *sentinel, stdout=DEVNULL)
    try:
        async with asyncio.timeout(60), Redis(host=HOST, port=port) as client:
            while True:
                try:
                    await client.ping()
                    break
                except RedisError:
                    await asyncio.sleep(0.05)
        yield port
    finally:
        process.kill()
        await process.wait()


async def _write_and_read(server: RedisServer) -> None:
    leases = RedisLeases(server, generations=first_generations, lease_ms=60_000)
    places = [AggregateId.of("shop", "Product", f"p{number}") for number in range(20)]
    async with asyncio.timeout(60):
        while True:
            try:
                taken = await leases.acquire_leases(places, "a")
                break
            except StoreUnavailable:
                await asyncio.sleep(0.1)
    assert {type(each).__name__ for each in taken} == {"Lease"}
    await leases.save_progress(
        [StreamProgress(place, published=Watermark(1, 1), release=True) for place in places], "a"
    )
    assert await leases.published(places) == [Watermark(1, 1)] * 20
    await leases.forget_stream(places[0])
    await server.probe_scripts()


async def test_redis_primary_is_had_from_sentinels(tmp_path: Path):
    async with _redis_process(tmp_path / "primary") as primary:
        monitor = f"sentinel monitor events {HOST} {primary} 1"
        async with _redis_process(tmp_path / "sentinel", monitor) as sentinel:
            redis = RedisSettings(sentinels=f"{HOST}:{sentinel}", sentinel_service="events")
            server = RedisServer.connect(Settings(redis=redis, namespace="t-sentinel"))
            await _write_and_read(server)
            await server.close()
            del server
            gc.collect()  # a connection that was left open is told of by now
