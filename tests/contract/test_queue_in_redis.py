"""The queue of an aggregate as it lies in Redis: no trace stays of a holder that has left it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis as Client

from oncelog.ports import Lease, StreamProgress
from oncelog.settings import Settings
from oncelog.stores.redis.leases import RedisLeases
from oncelog.stores.redis.server import RedisServer
from tests.clients import patient
from tests.contract.chains import PLACE
from tests.contract.topics import first_generations

pytestmark = pytest.mark.integration

LEASE_MS = 60_000
PATIENCE_MS = 60_000  # nothing expires while a test runs, on however busy a machine


class Queue:
    """The turns of one aggregate, and the names that its queue in Redis has."""

    def __init__(self, settings: Settings, leases: RedisLeases, client: Client) -> None:
        self.leases = leases
        self._client = client
        self._prefix = f"{settings.redis_prefix}{{{PLACE}}}:"

    async def take(self, holder: str) -> bool:
        (answer,) = await self.leases.acquire_leases([PLACE], holder)
        return isinstance(answer, Lease)

    async def release(self, holder: str) -> None:
        await self.leases.save_progress([StreamProgress(PLACE, release=True)], holder)

    async def names(self) -> tuple[list[str], list[str]]:
        """Return who waits, in order, and who was seen."""
        waiting, seen = await self._members("waiting"), await self._members("seen")
        return waiting, sorted(seen)

    async def _members(self, name: str) -> list[str]:
        members: Any = await self._client.zrange(self._prefix + name, 0, -1)
        return [member.decode() for member in members]

    async def last_asked_ms(self, holder: str) -> float:
        return float(await self._client.zscore(self._prefix + "seen", holder) or 0)

    async def stop_asking(self, *holders: str) -> None:
        """Have them asked for the last time a long while ago."""
        await self._client.zadd(self._prefix + "seen", dict.fromkeys(holders, 1.0), xx=True)


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    with patient():
        server = RedisServer.connect(settings)
    async with Client.from_url(settings.redis.url) as client:
        leases = RedisLeases(server, generations=first_generations, lease_ms=LEASE_MS, patience_ms=PATIENCE_MS)
        yield Queue(settings, leases, client)
    await server.close()


async def test_queue_forgets_who_stops_asking_while_others_ask(queue: Queue):
    assert await queue.take("a")
    for name in "bcd":
        await queue.take(name)
    await queue.stop_asking("b", "c")
    assert not await queue.take("d")
    assert await queue.names() == (["d"], ["d"])
    await queue.release("a")
    assert await queue.take("d")


async def test_queue_is_in_the_order_of_arrival(queue: Queue):
    assert await queue.take("a")
    for name in "dbc":
        assert not await queue.take(name)
    assert (await queue.names())[0] == ["d", "b", "c"]
    await queue.release("a")
    assert not await queue.take("b")
    assert await queue.take("d")


async def test_queue_forgets_who_gets_the_turn(queue: Queue):
    assert await queue.take("a")
    for name in "bc":
        assert not await queue.take(name)
    await queue.release("a")
    assert await queue.take("b")
    waiting, seen = await queue.names()
    assert "b" not in waiting + seen


async def test_queue_forgets_who_leaves(queue: Queue):
    assert await queue.take("a")
    for name in "bc":
        assert not await queue.take(name)
    await queue.release("b")
    waiting, seen = await queue.names()
    assert "b" not in waiting + seen


async def test_place_is_kept_by_asking_again(queue: Queue):
    assert await queue.take("a")
    asked_ms = []
    for _ in range(2):
        assert not await queue.take("b")
        asked_ms.append(await queue.last_asked_ms("b"))
        await asyncio.sleep(0.005)
    assert asked_ms[0] < asked_ms[1]
