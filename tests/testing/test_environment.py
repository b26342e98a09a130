"""The public test environment, used as an application's own tests would."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import pytest

from oncelog import Command, CommandType, Outcome, new_command_id
from oncelog.testing import MemoryServers, OncelogEnvironment

pytestmark = pytest.mark.integration


@pytest.fixture
def test_server(environment: Mapping[str, str]) -> str:
    return environment["ONCELOG_TEMPORAL_TEST_SERVER"]


def create(name: str) -> Command:
    return Command(
        command_id=new_command_id(),
        command_type=CommandType.CREATE_INSTANCE,
        db_name="shop",
        class_id="Product",
        instance_id="p1",
        payload={"name": name},
    )


async def test_command_is_applied_and_read_back(test_server: str):
    async with OncelogEnvironment.start(test_server=test_server) as environment:
        result = await environment.client.submit(create("Lamp"))
        document = await environment.client.get("shop/Product/p1", token=result.consistency_token)
    assert document is not None
    assert document.body["data"] == {"name": "Lamp"}


async def test_command_waits_out_an_outage_of_days(test_server: str):
    servers = MemoryServers()
    async with OncelogEnvironment.start(servers, test_server=test_server) as environment:
        servers.bucket.available = False
        submitted = asyncio.create_task(environment.client.submit(create("Lamp")))
        await environment.workflows.sleep(timedelta(days=3))
        assert not servers.publisher.messages
        servers.bucket.available = True
        assert (await submitted).outcome is Outcome.APPLIED


async def test_duplicate_is_answered_after_temporal_forgot(test_server: str):
    servers, command = MemoryServers(), create("Lamp")
    async with OncelogEnvironment.start(servers, test_server=test_server) as environment:
        first = await environment.client.submit(command)
    async with OncelogEnvironment.start(servers, test_server=test_server) as environment:
        assert await environment.client.submit(command) == first
    assert len(servers.publisher.messages) == 1
