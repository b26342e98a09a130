"""Everything in Redis is forgotten after a while: no key of ours grows or stays without end."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from redis.asyncio import Redis as Client

from oncelog.ports import CommandStatus, Leases, Stage, StreamProgress, Watermark
from oncelog.settings import Settings
from oncelog.stores.redis.command_statuses import RedisCommandStatuses
from oncelog.stores.redis.leases import PATIENCE_MS, RedisLeases
from oncelog.stores.redis.server import RedisServer
from oncelog.testing.memory.redis import MemoryCommandStatuses, MemoryLeases, MemoryRedis
from tests.contract.chains import PLACE, chain, state_at
from tests.contract.topics import first_generations
from tests.settings import with_server

LEASE_MS = 30_000
MEMORY_S = 600
ACCEPTED = CommandStatus("c1", "h1", "CREATE_INSTANCE", str(PLACE), Stage.ACCEPTED, ((Stage.ACCEPTED, "t1"),))
COMPLETED = replace(ACCEPTED, stage=Stage.COMPLETED)


async def _claim(_: Leases, statuses: MemoryCommandStatuses | RedisCommandStatuses) -> None:
    await statuses.claim_command(ACCEPTED)


async def _complete(_: Leases, statuses: MemoryCommandStatuses | RedisCommandStatuses) -> None:
    await statuses.complete_command(COMPLETED)


async def _hold_and_wait(leases: Leases, _: object) -> None:
    await leases.acquire_leases([PLACE], "a")
    await leases.acquire_leases([PLACE], "b")


async def _save_head(leases: Leases, _: object) -> None:
    await leases.save_progress([StreamProgress(PLACE, state=state_at(chain(1)), published=Watermark(1, 1))], "")


async def _save_watermark(leases: Leases, _: object) -> None:
    await leases.save_progress([StreamProgress(PLACE, published=Watermark(1, 1))], "")


WRITES: dict[str, tuple[Callable[..., Awaitable[None]], dict[str, int]]] = {
    "claim": (_claim, {"command:c1": MEMORY_S * 1000}),
    "complete": (_complete, {"command:c1": MEMORY_S * 1000}),
    "take": (
        _hold_and_wait,
        {f"{{{PLACE}}}:turn": LEASE_MS, f"{{{PLACE}}}:waiting": PATIENCE_MS, f"{{{PLACE}}}:seen": PATIENCE_MS},
    ),
    "head": (_save_head, {f"{{{PLACE}}}:head": MEMORY_S * 1000}),
    "watermark": (_save_watermark, {f"{{{PLACE}}}:head": MEMORY_S * 1000}),
}


@pytest.mark.integration
@pytest.mark.parametrize("name", WRITES)
async def test_every_key_expires(settings: Settings, name: str):
    write, lifetimes = WRITES[name]
    server = RedisServer.connect(with_server(settings, redis={"memory_s": MEMORY_S}))
    await write(RedisLeases(server, generations=first_generations, lease_ms=LEASE_MS), RedisCommandStatuses(server))
    await server.close()
    async with Client.from_url(settings.redis.url) as client:
        keys = [key.decode() async for key in client.scan_iter(f"{settings.redis_prefix}*")]
        left_ms = {key.removeprefix(settings.redis_prefix): await client.pttl(key) for key in keys}
    assert left_ms.keys() == lifetimes.keys() or name == "take"  # a place may have run out on a slow machine
    for key, left in left_ms.items():
        assert 0 <= left <= lifetimes[key], key


async def test_heads_and_statuses_are_forgotten_in_memory():
    now_s = 0.0
    memory = MemoryRedis(memory_s=MEMORY_S, clock=lambda: now_s)
    leases, statuses = (
        MemoryLeases(memory, generations=first_generations, lease_ms=LEASE_MS),
        MemoryCommandStatuses(memory),
    )
    for write in (_claim, _save_head):
        await write(leases, statuses)
    assert (await leases.heads([PLACE]), await statuses.read_status("c1")) == ([1], ACCEPTED)
    now_s = MEMORY_S + 1
    assert (await leases.heads([PLACE]), await statuses.read_status("c1")) == ([None], None)
