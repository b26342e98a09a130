"""The shop's tests: the real workflows, all servers in memory, and a clock that skips."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from examples.own_tests.shop import raise_price
from oncelog import Command, CommandType, Outcome, RejectionCode
from oncelog.testing import OncelogEnvironment


@pytest.fixture
async def environment() -> AsyncIterator[OncelogEnvironment]:
    # Without a path, the SDK downloads Temporal's test server; `python -m stack env` names one that is there already.
    test_server = os.environ.get("ONCELOG_TEMPORAL_TEST_SERVER")
    async with OncelogEnvironment.start(test_server=test_server) as environment:
        lamp = Command(
            command_id="make-the-lamp",
            command_type=CommandType.CREATE_INSTANCE,
            db_name="shop",
            class_id="Product",
            instance_id="lamp",
            payload={"name": "Lamp", "price": "10.00"},
        )
        await environment.client.submit(lamp)
        yield environment


async def test_price_is_raised_once(environment: OncelogEnvironment) -> None:
    first = await raise_price(environment.client, "lamp", 10, command_id="raise-1")
    document = await environment.client.get("shop/Product/lamp", token=first.consistency_token)
    assert document is not None
    assert document.body["data"]["price"] == "11.00"

    again = await raise_price(environment.client, "lamp", 10, command_id="raise-1")
    assert again.rejection is not None  # the same ID, with the content that follows from the new price
    assert again.rejection.code is RejectionCode.COMMAND_ID_REUSED


async def test_raise_waits_out_a_month_without_kafka(environment: OncelogEnvironment) -> None:
    environment.servers.publisher.available = False
    raising = asyncio.create_task(raise_price(environment.client, "lamp", 10, command_id="raise-1"))
    await environment.workflows.sleep(timedelta(days=30))  # returns at once
    assert not raising.done()

    environment.servers.publisher.available = True
    assert (await raising).outcome is Outcome.APPLIED
