"""A time-skipping server, a worker on it, and stores in memory that a test may take away."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from activities.check import CheckActivities
from activities.command import CommandActivities
from activities.failures import FailureInterceptor
from factline.pipeline.sweeping.assembly import assemble_sweeps
from tests.pipeline.world import World
from workflows.command import SEARCH_ATTRIBUTES
from workflows.plugin import factline_plugin

TASK_QUEUE = "factline"


@dataclass(frozen=True)
class Bench:
    """What a workflow test works with: ``plain`` is a client that knows nothing of ours."""

    env: WorkflowEnvironment
    client: Client
    plain: Client
    world: World


@asynccontextmanager
async def running_worker(client: Client, world: World) -> AsyncIterator[Worker]:
    """Run a worker on the stores in memory, with workflows in the SDK's sandbox."""
    process = world.process()
    sweeps = assemble_sweeps(process.pipeline, process.ports, world.workflows)
    worker = Worker(
        client,
        task_queue=TASK_QUEUE,
        activities=[
            *CommandActivities(process.pipeline, process.ports.statuses).all,
            *CheckActivities(sweeps, process.ports).all,
        ],
        interceptors=[FailureInterceptor()],
    )
    async with worker:
        yield worker


@pytest.fixture
async def bench(environment: Mapping[str, str]) -> AsyncIterator[Bench]:
    """One environment per test, since its clock is everybody's."""
    logging.getLogger("temporalio.activity").setLevel(logging.ERROR)  # days of an outage are thousands of warnings
    world = World()
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=environment["FACTLINE_TEMPORAL_TEST_SERVER"],
        plugins=[factline_plugin],
    ) as env:
        kinds = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in SEARCH_ATTRIBUTES}
        request = AddSearchAttributesRequest(namespace=env.client.namespace, search_attributes=kinds)
        await env.client.operator_service.add_search_attributes(request)  # this server cannot list them first
        address = env.client.service_client.config.target_host
        plain = await Client.connect(address, data_converter=pydantic_data_converter)
        async with running_worker(env.client, world):
            yield Bench(env, env.client, plain, world)
