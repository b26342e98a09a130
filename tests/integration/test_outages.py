"""Each server down for a while: commands wait in sight, and are then done once."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from temporalio.client import WorkflowHandle

from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import StoreUnavailable
from oncelog.workflows.command import InstanceCommand
from stack import Server, Stack
from tests.commands import create, update
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

Handle = WorkflowHandle[InstanceCommand, CommandResult]


@pytest.fixture
def servers(stack: Stack) -> Iterator[Stack]:
    """The stack's servers, all of them well again afterwards."""
    yield stack
    for server in stack.servers:
        if server.is_running() and server.name in ("redis", "s3", "kafka", "elasticsearch"):
            server.resume()
        server.start()


@pytest.fixture
async def installation(installation: Installation) -> AsyncIterator[Installation]:
    """An instance from before any server goes away."""
    async with installation.worker():
        await installation.client.submit(create("before"))
        yield installation


async def _take_away(server: Server, how: str) -> None:
    await asyncio.to_thread(server.kill if how == "killed" else server.pause)


async def _give_back(server: Server, how: str) -> None:
    await asyncio.to_thread(server.start if how == "killed" else server.resume)
    await asyncio.to_thread(server.await_healthy)


async def _pending(handle: Handle) -> set[str]:
    """Wait until a step stands as an activity that people can see, with the reason why it is tried again."""
    async with asyncio.timeout(120):
        while True:
            found = (await handle.describe()).raw_description.pending_activities
            if any(activity.attempt > 1 and activity.last_failure.message for activity in found):
                return {activity.activity_type.name for activity in found}
            await asyncio.sleep(0.1)


async def _submitted(installation: Installation) -> list[tuple[Command, Handle]]:
    commands = [update("before"), create("new"), update("before", payload={"m": 2})]
    return [(command, await installation.client.start(command)) for command in commands]


@pytest.mark.parametrize("how", ["killed", "frozen"])
@pytest.mark.parametrize(
    ("name", "waiting"),
    [
        ("redis", {"commit_command"}),
        ("s3", {"commit_command"}),
        ("kafka", {"publish_event"}),
        ("elasticsearch", {"project_event"}),
    ],
)
async def test_a_store_that_is_away_for_a_while(
    servers: Stack, installation: Installation, name: str, waiting: set[str], how: str
):
    server = servers.server(name)
    await _take_away(server, how)
    submitted = await _submitted(installation)
    for _, handle in submitted:
        assert await _pending(handle) == waiting
    if name in (
        "kafka",
        "elasticsearch",
    ):  # the facts are stored already, and callers that need no more than that proceed
        early = await installation.client.submit(update("before", payload={"early": True}), early=True)
        assert early.outcome is Outcome.APPLIED
        logs = await installation.logs()
        assert sorted(len(events) for events in logs.values()) == [1, 4]
    await _give_back(server, how)
    async with asyncio.timeout(120):
        results = [await handle.result() for _, handle in submitted]
    assert {result.outcome for result in results} == {Outcome.APPLIED}
    async with asyncio.timeout(60):
        if name in ("kafka", "elasticsearch"):
            await installation.client.result(str(early.command_id))
    await installation.check()


async def test_temporal_itself_away_for_a_while(servers: Stack, installation: Installation):
    server = servers.server("temporal")
    await _take_away(server, "killed")
    command = create("new")
    with pytest.raises(StoreUnavailable, match="Temporal at "):
        await installation.client.submit(command)
    await _give_back(server, "killed")
    async with asyncio.timeout(60):
        result = await installation.client.submit(command)
        assert await installation.client.submit(command) == result
    assert result.outcome is Outcome.APPLIED
    await installation.check()
