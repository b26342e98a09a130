"""``RunningWorkflows``: workflows at work, as far as can be told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import pytest

from oncelog.client.connection import DESCRIBED_MAX, LISTED_MAX, TemporalWorkflows
from oncelog.ports import RunningWorkflows
from oncelog.testing.memory.workflows import MemoryWorkflows
from oncelog.workflows.command import InstanceCommand
from tests.commands import create
from tests.contract.conftest import BOTH, IN_MEMORY
from tests.integration.installation import new_temporal


@dataclass(frozen=True)
class Workflows:
    """The port, and ways to start and to end a command's workflow."""

    port: RunningWorkflows
    start: Callable[[str], Awaitable[None]]
    terminate: Callable[[str], Awaitable[None]]


@pytest.fixture(params=BOTH)
async def workflows(request: pytest.FixtureRequest) -> AsyncIterator[Workflows]:
    if request.param == IN_MEMORY:
        memory = MemoryWorkflows()

        async def begin(command_id: str) -> None:
            memory.running.add(command_id)

        async def end(command_id: str) -> None:
            memory.running.discard(command_id)

        yield Workflows(memory, begin, end)
        return
    request.getfixturevalue("environment")
    client = await new_temporal()

    async def start(command_id: str) -> None:
        command = create(command_id=command_id)
        await client.start_workflow(InstanceCommand.run, command, id=command_id, task_queue="nobody-polls")

    async def terminate(command_id: str) -> None:
        await client.get_workflow_handle(command_id).terminate()

    yield Workflows(TemporalWorkflows(client), start, terminate)


async def test_one_that_was_started_runs_until_it_is_ended(workflows: Workflows):
    await workflows.start("c1")
    assert await workflows.port.is_running("c1")
    await workflows.terminate("c1")
    assert not await workflows.port.is_running("c1")


async def test_one_that_is_started_anew_runs_again(workflows: Workflows):
    await workflows.start("c1")
    await workflows.terminate("c1")
    await workflows.start("c1")
    assert await workflows.port.is_running("c1")


async def test_one_that_nobody_knows_does_not_run(workflows: Workflows):
    assert not await workflows.port.is_running("never-started")


@pytest.mark.parametrize("count", [1, DESCRIBED_MAX + 1, LISTED_MAX + 2])
async def test_running_workflows_are_found_among_many(workflows: Workflows, count: int):
    names = [f"c{number}" for number in range(count)]
    await workflows.start("c0")
    await workflows.start("another")
    if count > 1:
        await workflows.start(names[-1])
    async with asyncio.timeout(120):  # the list of workflows follows a moment later
        while set(await workflows.port.running_among(names)) != {"c0", names[-1]}:
            await asyncio.sleep(0.05)
    await workflows.terminate("c0")
    async with asyncio.timeout(120):
        while "c0" in await workflows.port.running_among(names):
            await asyncio.sleep(0.05)
    assert not await workflows.port.running_among([])
