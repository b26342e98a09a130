"""A time-skipping server, a worker on it, and stores in memory that a test may take away."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import UnsandboxedWorkflowRunner, Worker
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from oncelog.activities.failures import FailureInterceptor
from oncelog.composition.checks import assemble_checks
from oncelog.testing.environment import start_time_skipping
from oncelog.worker import activities_of
from tests.write.world import World

TASK_QUEUE = "oncelog"


@dataclass(frozen=True)
class Bench:
    """The parts of a workflow test: ``plain`` is a client that knows nothing of ours."""

    env: WorkflowEnvironment
    client: Client
    plain: Client
    world: World


@asynccontextmanager
async def running_worker(
    client: Client, world: World, *, task_queue: str = TASK_QUEUE, sandboxed: bool = True
) -> AsyncIterator[Worker]:
    """Run a worker on the stores in memory, with workflows in the SDK's sandbox, which has modules of its own."""
    process = world.process()
    checks = assemble_checks(world.sources, process.ports, world.workflows, world.settings)
    worker = Worker(
        client,
        task_queue=task_queue,
        workflow_runner=SandboxedWorkflowRunner() if sandboxed else UnsandboxedWorkflowRunner(),
        activities=activities_of(process.pipeline, process.ports, world.workflows, checks=checks),
        interceptors=[FailureInterceptor()],
        max_heartbeat_throttle_interval=timedelta(milliseconds=100),
    )
    async with worker:
        yield worker


@pytest.fixture
def world() -> World:
    """The stores of ``bench``'s worker; a module may have another."""
    return World()


@pytest.fixture
async def bench(environment: Mapping[str, str], world: World) -> AsyncIterator[Bench]:
    """One environment per test, since its clock is everybody's."""
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)  # days of an outage are thousands of warnings
    async with start_time_skipping(environment["ONCELOG_TEMPORAL_TEST_SERVER"]) as env:
        address = env.client.service_client.config.target_host
        plain = await Client.connect(address, data_converter=pydantic_data_converter)
        async with running_worker(env.client, world):
            yield Bench(env, env.client, plain, world)
