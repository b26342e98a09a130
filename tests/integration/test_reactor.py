"""The reactor on real servers: it is killed before it commits and at any moment, and each command exists once."""

import asyncio
import signal
from random import Random

import pytest

from oncelog import Command, CommandType, submit_all
from oncelog.domain.identifiers import AggregateId
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

SHIPMENTS = "tests.reactions.shipments:shipments"
ORDERS = 40
UNTIL_S = 120.0


def order(number: int) -> Command:
    return Command(
        command_id=f"order-{number}",
        command_type=CommandType.CREATE_INSTANCE,
        db_name="shop",
        class_id="Product",
        instance_id=f"o{number}",
        payload={"parcels": number % 3},
    )


async def shipments_of(installation: Installation) -> list[AggregateId]:
    page = await installation.stores.ports.catalogue.listed_streams(db_name="shop", class_id="Shipment")
    assert page.position is None
    assert all(stream.head == 1 for stream in page.items)
    return [stream.aggregate_id for stream in page.items]


async def until_shipped(installation: Installation, expected: int) -> None:
    async with asyncio.timeout(UNTIL_S):
        while len(await shipments_of(installation)) < expected:
            await asyncio.sleep(0.1)


async def test_killed_reactor_starts_each_command_once(installation: Installation):
    expected = sum(number % 3 for number in range(ORDERS))
    rest = [order(number) for number in range(ORDERS // 2, ORDERS)]
    async with installation.worker():
        await submit_all(installation.client, [order(number) for number in range(ORDERS // 2)], concurrency=8)
        crashing = await installation.reactor_process(SHIPMENTS, ONCELOG_CRASH_AFTER="show")  # and commits no offset
        assert await crashing.ended() == -signal.SIGKILL
        writing = asyncio.create_task(submit_all(installation.client, rest, concurrency=2))
        reactor = await (await installation.reactor_process(SHIPMENTS)).ready()
        await asyncio.sleep(Random(ORDERS).uniform(0, 0.3))
        reactor.process.kill()
        await reactor.ended()
        await writing
        await (await installation.reactor_process(SHIPMENTS)).ready()
        await until_shipped(installation, expected)
        await installation.until_ended()
    assert len(await shipments_of(installation)) == expected
    await installation.check()
