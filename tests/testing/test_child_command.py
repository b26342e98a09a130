"""Commands from inside a workflow of the user's: one effect, whichever workflow submits them and how often."""

import asyncio
from collections.abc import Mapping

import pytest
from temporalio.worker import Worker

from oncelog import CommandResult, Outcome
from oncelog.testing import MemoryServers, OncelogEnvironment
from tests.testing.process import Process

pytestmark = pytest.mark.integration

TIMEOUT_S = 60


async def test_command_of_a_workflow_has_one_effect(environment: Mapping[str, str]):
    async with (
        OncelogEnvironment.start(test_server=environment["ONCELOG_TEMPORAL_TEST_SERVER"]) as oncelog,
        Worker(oncelog.temporal, task_queue="shop", workflows=[Process]),
    ):

        async def run(name: str, number: int) -> CommandResult:
            return await oncelog.temporal.execute_workflow(Process.run, number, id=name, task_queue="shop")

        first = await run("a", 1)
        again = await run("b", 1)
        other = await run("c", 2)
    assert first.outcome is Outcome.APPLIED
    assert first == again
    assert other.rejection is not None
    assert other.rejection.code == "CommandIdReused"
    assert len(oncelog.servers.publisher.messages) == 1


async def test_settings_of_the_shell_break_no_test(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONCELOG_NAMESPACE", "shell")
    monkeypatch.setenv("ONCELOG_PROJECTION", "stream")
    defaults = MemoryServers().settings
    assert (defaults.namespace, defaults.projection) == ("", "inline")
    servers = MemoryServers(settings=defaults.model_copy(update={"namespace": "own"}))
    test_server = environment["ONCELOG_TEMPORAL_TEST_SERVER"]
    async with (
        OncelogEnvironment.start(servers, test_server=test_server) as oncelog,
        Worker(oncelog.temporal, task_queue="shop", workflows=[Process]),
        asyncio.timeout(TIMEOUT_S),  # a command on the queue of the shell's namespace would wait for ever
    ):
        done = await oncelog.temporal.execute_workflow(Process.run, 1, id="a", task_queue="shop")
    assert done.outcome is Outcome.APPLIED
