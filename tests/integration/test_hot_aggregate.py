"""A hot aggregate beside others, on real servers."""

import asyncio
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult
from tests.commands import create, update
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

HOT_COMMANDS = 300


async def test_command_passes_hundreds_of_a_hot_aggregate(installation: Installation):
    client, free = installation.client, asyncio.Semaphore(32)
    ended: list[str] = []

    async def start(command: Command) -> WorkflowHandle[Any, CommandResult]:
        async with free:
            return await client.start(command)

    async def end(handle: WorkflowHandle[Any, CommandResult]) -> int | None:
        result = await handle.result()
        ended.append(str(result.aggregate_id))
        return result.sequence_number

    await installation.worker_process()
    await client.submit(create("hot"))
    updates = [update("hot", payload={f"k{number}": number}) for number in range(HOT_COMMANDS)]
    hot = [asyncio.create_task(end(handle)) for handle in await asyncio.gather(*map(start, updates))]
    assert await end(await start(create("innocent"))) == 1
    assert ended.count("shop/Product/hot") < HOT_COMMANDS / 2
    assert {*await asyncio.gather(*hot)} == set(range(2, HOT_COMMANDS + 2))
    await installation.check()
