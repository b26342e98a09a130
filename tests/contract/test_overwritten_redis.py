"""Our keys in Redis are overwritten: an aggregate's turn is for speed, so nothing under it may hold it up."""

import asyncio
from collections.abc import Collection

import pytest
from redis.asyncio import Redis as Client

from oncelog.errors import StoreUnavailable
from oncelog.ports import Lease, Leases, StreamProgress, Waiting, Watermark
from oncelog.settings import Settings
from oncelog.stores.redis.leases import RedisLeases
from oncelog.stores.redis.server import RedisServer
from tests.contract.chains import PLACE, chain, state_at
from tests.contract.topics import first_generations

pytestmark = pytest.mark.integration


async def _granted(leases: Leases, holder: str) -> Lease:
    """Ask until it is granted, as the command path does."""
    async with asyncio.timeout(120):
        while True:
            try:
                (answer,) = await leases.acquire_leases([PLACE], holder)
            except StoreUnavailable:
                continue  # the wrong type: what is under these keys was dropped by that
            if isinstance(answer, Lease):
                return answer
            await asyncio.sleep(0.005)


async def _overwrite(settings: Settings, endings: Collection[str]) -> None:
    async with Client.from_url(settings.redis.url) as client:
        keys = [key async for key in client.scan_iter(f"{settings.redis_prefix}*")]
        overwritten = [key for key in keys if key.decode().rpartition(":")[2] in endings]
        assert len(overwritten) == len(endings)
        for key in overwritten:
            await client.set(key, "?")


@pytest.mark.parametrize("endings", [("turn",), ("head",), ("turn", "head")], ids=" and ".join)
async def test_what_stands_in_place_of_a_turn_holds_nobody_up(settings: Settings, endings: tuple[str, ...]):
    server = RedisServer.connect(settings)
    leases = RedisLeases(server, generations=first_generations, lease_ms=200)
    await _granted(leases, "a")
    await leases.save_progress([StreamProgress(PLACE, state=state_at(chain(1)), published=Watermark(1, 1))], "a")
    assert isinstance((await leases.acquire_leases([PLACE], "b", queueing=False))[0], Waiting)
    await _overwrite(settings, endings)
    assert isinstance(await _granted(leases, "b"), Lease)
    await server.close()
