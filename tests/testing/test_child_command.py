"""Commands from inside a workflow of the user's: one effect, whichever workflow submits them and how often."""

from collections.abc import Mapping

import pytest
from temporalio.worker import Worker

from oncelog import CommandResult, Outcome
from oncelog.testing import OncelogEnvironment
from tests.testing.process import Process

pytestmark = pytest.mark.integration


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
