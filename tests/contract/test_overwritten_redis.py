"""Our keys in Redis are overwritten: an aggregate's turn is for speed, so nothing under it may hold it up."""

import asyncio
from collections.abc import Collection, Sequence

import pytest
from redis.asyncio import Redis as Client

from oncelog.domain.identifiers import AggregateId
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
                continue  # the wrong type: values under these keys were dropped by that
            if isinstance(answer, Lease):
                return answer
            await asyncio.sleep(0.005)


async def _overwrite(settings: Settings, names: Collection[str], places: Sequence[AggregateId] = (PLACE,)) -> None:
    async with Client.from_url(settings.redis.url) as client:
        keys = [f"{settings.redis_prefix}{{{place}}}:{name}" for place in places for name in names]
        await client.mset(dict.fromkeys(keys, "?"))


@pytest.mark.parametrize("names", [("turn",), ("head",), ("turn", "head")], ids=" and ".join)
async def test_what_stands_in_place_of_a_turn_holds_nobody_up(settings: Settings, names: tuple[str, ...]):
    server = RedisServer.connect(settings)
    leases = RedisLeases(server, generations=first_generations, lease_ms=200)
    await _granted(leases, "a")
    await leases.save_progress([StreamProgress(PLACE, state=state_at(chain(1)), published=Watermark(1, 1))], "a")
    assert isinstance((await leases.acquire_leases([PLACE], "b", queueing=False))[0], Waiting)
    await _overwrite(settings, names)
    assert isinstance(await _granted(leases, "b"), Lease)
    await server.close()


async def test_many_overwritten_keys_cost_one_attempt(settings: Settings):
    server = RedisServer.connect(settings)
    leases = RedisLeases(server, generations=first_generations, lease_ms=200)
    places = [AggregateId.of("shop", "Product", f"p{number}") for number in range(250)]
    await _overwrite(settings, ["head"], places)
    assert await leases.heads(places) == [None] * len(places)
    await server.close()
