"""Builds of a worker deployment: Temporal gives tasks to the current one, and a rolling restart loses nothing."""

import asyncio
from datetime import timedelta

import pytest
from temporalio.api.workflowservice.v1 import (
    DescribeWorkerDeploymentRequest,
    SetWorkerDeploymentCurrentVersionRequest,
)
from temporalio.service import RPCError, RPCStatusCode

from oncelog.client import connection
from oncelog.domain.results import CommandResult, Outcome
from tests.commands import create
from tests.integration.installation import Installation, WorkerProcess

pytestmark = pytest.mark.integration

DEPLOYMENT = "oncelog"
VERSION_TIMEOUT_S = 60


async def _worker(installation: Installation, build_id: str) -> WorkerProcess:
    worker = await installation.worker_process(TEMPORAL_DEPLOYMENT_NAME=DEPLOYMENT, TEMPORAL_WORKER_BUILD_ID=build_id)
    return await worker.ready()


async def _make_current(installation: Installation, build_id: str) -> None:
    """Route tasks to a build, as ``temporal worker deployment set-current-version`` does, once it has polled."""
    service, namespace = installation.temporal.workflow_service, installation.temporal.namespace
    request = SetWorkerDeploymentCurrentVersionRequest(
        namespace=namespace, deployment_name=DEPLOYMENT, build_id=build_id, identity="test"
    )
    async with asyncio.timeout(VERSION_TIMEOUT_S):
        while True:
            try:
                await service.set_worker_deployment_current_version(request, timeout=timedelta(seconds=30))
            except RPCError as error:
                if error.status not in (RPCStatusCode.NOT_FOUND, RPCStatusCode.FAILED_PRECONDITION):
                    raise
                await asyncio.sleep(0.1)  # no poll of this build has reached the server yet
            else:
                break
    described = await service.describe_worker_deployment(
        DescribeWorkerDeploymentRequest(namespace=namespace, deployment_name=DEPLOYMENT)
    )
    current = described.worker_deployment_info.routing_config.current_deployment_version
    assert (current.deployment_name, current.build_id) == (DEPLOYMENT, build_id)


async def _build_of(installation: Installation, command_id: str) -> str:
    described = await installation.temporal.get_workflow_handle(command_id).describe()
    info = described.raw_description.workflow_execution_info.versioning_info
    return info.deployment_version.build_id


async def test_commands_go_to_the_current_build(installation: Installation):
    old = await _worker(installation, "1")
    await _make_current(installation, "1")
    first = await installation.client.submit(create("p1"))
    await _worker(installation, "2")
    await _make_current(installation, "2")
    second = await installation.client.submit(create("p2"))
    assert [await _build_of(installation, str(each.command_id)) for each in (first, second)] == ["1", "2"]
    assert await connection.has_workers(installation.temporal, installation.settings.task_queue)
    assert await old.stop() == 0


async def test_open_command_follows_to_the_current_build(installation: Installation):
    old = await _worker(installation, "1")
    await _make_current(installation, "1")
    assert await old.stop() == 0
    handle = await installation.client.start(create("p1"))
    await _worker(installation, "2")
    await _make_current(installation, "2")
    async with asyncio.timeout(VERSION_TIMEOUT_S):
        result = await handle.result()
    assert result.outcome is Outcome.APPLIED
    assert await _build_of(installation, handle.id) == "2"


async def test_rolling_restart_loses_no_command(installation: Installation):
    workers = [await (await installation.worker_process()).ready() for _ in range(2)]
    is_over = asyncio.Event()
    results: list[CommandResult] = []

    async def submit_on(client: int) -> None:
        while not is_over.is_set():
            results.append(await installation.client.submit(create(f"p{client}-{len(results)}")))

    clients = [asyncio.create_task(submit_on(number)) for number in range(4)]
    for old in workers:
        await (await installation.worker_process()).ready()
        assert await old.stop() == 0
        assert "Traceback" not in old.output()
    is_over.set()
    await asyncio.gather(*clients)
    assert {result.outcome for result in results} == {Outcome.APPLIED}
    assert len(await installation.check()) == len(results) > len(clients)
