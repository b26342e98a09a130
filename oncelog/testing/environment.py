"""An installation for tests: Temporal's time-skipping server, a worker, a client, and all other servers in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from oncelog.client.client import Oncelog
from oncelog.composition.pipeline import assemble
from oncelog.testing.servers import MemoryServers
from oncelog.worker import new_worker
from oncelog.workflows.attributes import SEARCH_ATTRIBUTES
from oncelog.workflows.plugin import new_plugin

#: Temporal's test server is downloaded at its first start, which may take a while.
START_TIMEOUT = timedelta(minutes=3)


@asynccontextmanager
async def start_time_skipping(
    test_server: str | None = None, *, task_queue: str | None = None
) -> AsyncIterator[WorkflowEnvironment]:
    """Start Temporal's test server with our search attributes and without a worker, and end it after the block.

    ``test_server``: its path; without it, the SDK downloads one. ``task_queue``: of commands that workflows submit.
    """
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=test_server,
        test_server_startup_timeout=START_TIMEOUT,
        plugins=[new_plugin(task_queue)],
    ) as workflows:
        kinds = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in SEARCH_ATTRIBUTES}
        request = AddSearchAttributesRequest(namespace=workflows.client.namespace, search_attributes=kinds)
        await workflows.client.operator_service.add_search_attributes(request)  # this server cannot list them first
        yield workflows


@dataclass(frozen=True)
class OncelogEnvironment:
    """One installation, for one test.

    ``client`` submits and reads as in production. ``temporal`` is the connected Temporal client, ``workflows`` the
    environment with a clock that skips: ``await environment.workflows.sleep(timedelta(days=30))`` returns at once.
    ``servers`` are the other servers, to look into and to break.
    """

    client: Oncelog
    temporal: Client
    workflows: WorkflowEnvironment
    servers: MemoryServers

    @classmethod
    @asynccontextmanager
    async def start(
        cls, servers: MemoryServers | None = None, *, test_server: str | None = None
    ) -> AsyncIterator[Self]:
        """Start the environment with one worker, and end both after the block.

        ``servers``: an earlier environment's, to continue after Temporal has forgotten all workflows.
        ``test_server``: the path of Temporal's test server; without it, the SDK downloads one.
        """
        servers = servers or MemoryServers()
        async with start_time_skipping(test_server, task_queue=servers.settings.task_queue) as workflows:
            ports = servers.ports()
            pipeline = assemble(ports, servers.settings)
            client = Oncelog(servers.ports(), servers.settings, temporal=workflows.client)
            async with new_worker(workflows.client, ports, pipeline, servers.settings, sources=servers.sources):
                yield cls(client, workflows.client, workflows, servers)
            await pipeline.close()
