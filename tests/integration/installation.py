"""One installation on real servers, under names of its own, and what must hold of what lies in them."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from redis.asyncio import Redis
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client, WorkflowHandle

from oncelog.checks.verify import nothing_in_flight, verify
from oncelog.client import connection
from oncelog.client.client import Oncelog
from oncelog.composition.checks import sources_of
from oncelog.composition.own_code import load_object
from oncelog.composition.pipeline import assemble
from oncelog.reactions.model import reaction_model_name
from oncelog.reactions.reaction import Reaction
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.settings import Settings
from oncelog.stores.kafka.progress import KafkaProgress
from oncelog.stores.kafka.topic_reader import read_topic
from oncelog.stores.opening import Stores
from oncelog.worker import new_worker
from tests import promises
from tests.clients import prepare

START_TIMEOUT_S = 180  # a start takes seconds; a busy machine may take minutes
END_TIMEOUT_S = 180  # longer than a worker's drain, on a busy machine


@dataclass
class WorkerProcess:
    """``oncelog-worker`` or ``oncelog-projector`` as an operator runs it; ``sign``: its log event once it is ready."""

    process: asyncio.subprocess.Process
    log: Path
    sign: str = "worker_ready"

    async def ready(self) -> "WorkerProcess":
        """Wait until it takes work; raises what it said if it ended instead."""
        async with asyncio.timeout(START_TIMEOUT_S):
            while self.sign not in self.output():
                assert self.process.returncode is None, f"ended with {self.process.returncode}: {self.output()}"
                await asyncio.sleep(0.05)
        return self

    async def ended(self) -> int:
        """Wait until it has ended, by itself or by a signal, and return its exit code."""
        async with asyncio.timeout(END_TIMEOUT_S):
            return await self.process.wait()

    async def stop(self) -> int:
        """Send SIGTERM and wait."""
        self.process.terminate()
        return await self.ended()

    def output(self) -> str:
        return self.log.read_text()


@dataclass
class Installation:
    """Names on shared servers. ``variables`` lead a process of its own to them."""

    settings: Settings
    variables: Mapping[str, str]
    folder: Path
    stores: Stores
    temporal: Client
    client: Oncelog
    _processes: list[WorkerProcess] = field(default_factory=list)

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, settings: Settings, environment: Mapping[str, str], folder: Path
    ) -> AsyncIterator["Installation"]:
        """Prepare the servers as a worker does, and end every process started here when the block ends."""
        temporal = await new_temporal()
        async with await Stores.connect(settings) as stores:
            await prepare(stores)
            given = {**os.environ, **environment, "ONCELOG_NAMESPACE": settings.namespace}
            client = Oncelog(stores.ports, settings, temporal=temporal)
            installation = cls(settings, given, folder, stores, temporal, client)
            try:
                yield installation
            finally:
                await installation._end_processes()

    async def lose_temporal(self) -> None:
        """Go on with a Temporal that knows of no command; workers must be started anew."""
        self.temporal = await new_temporal()
        self.client = Oncelog(self.stores.ports, self.settings, temporal=self.temporal)

    @asynccontextmanager
    async def worker(self, *, after_step: AfterStep = nothing_after, eager: bool = False) -> AsyncIterator[None]:
        """Run a worker in this process, with clients of its own.

        ``eager``: on the client's connection to Temporal, which has at most one worker, so that it starts eagerly.
        """
        temporal = self.temporal if eager else await connected(self.temporal.namespace)
        async with await Stores.connect(self.settings) as stores:
            pipeline = assemble(stores.ports, self.settings)
            sources = sources_of(stores, self.settings)
            async with new_worker(
                temporal, stores.ports, pipeline, self.settings, sources=sources, after_step=after_step
            ):
                yield
            await pipeline.close()

    async def worker_process(self, **variables: str) -> WorkerProcess:
        """Start a worker as a process of its own."""
        return await self._process((sys.executable, "-m", "oncelog.worker"), "worker_ready", variables)

    async def projector_process(self, read_model: str, **variables: str) -> WorkerProcess:
        """Start a projector of a read model as a process of its own."""
        own = {"ONCELOG_PROJECTOR_READ_MODEL": read_model, **variables}
        return await self._process((sys.executable, "-m", "oncelog.projector"), "projector_ready", own)

    async def reactor_process(self, reaction: str, **variables: str) -> WorkerProcess:
        """Start a reactor as a process of its own."""
        argv = (sys.executable, "-m", "oncelog.reactor", "--reaction", reaction)
        return await self._process(argv, "projector_ready", variables)

    async def own_projector_process(self, read_model: str, **variables: str) -> WorkerProcess:
        """Start a projector of a read model that ``module:object`` names."""
        argv = (sys.executable, "-m", "oncelog.projector", "--read-model", read_model)
        return await self._process(argv, "projector_ready", variables)

    async def until_idle(self, path: str) -> None:
        """Wait until the group of a read model or reaction of one's own has committed every message there is."""
        found: Any = load_object(path, object)
        name = reaction_model_name(found.name) if isinstance(found, Reaction) else found.name
        async with asyncio.timeout(START_TIMEOUT_S):
            while sum((await KafkaProgress(self.settings).reached(name)).values()) < await self._messages():
                await asyncio.sleep(0.1)

    async def until_ended(self) -> None:
        """Wait until every command that wrote an event has ended: an event may be seen in S3 before that."""
        command_ids = {event.command_id for events in (await self.logs()).values() for event in events}
        async with asyncio.timeout(END_TIMEOUT_S):
            await asyncio.gather(*(self.temporal.get_workflow_handle(each).result() for each in command_ids))

    async def _messages(self) -> int:
        """Return how many messages the topic of instances has."""
        return len(await read_topic(self.settings, self.settings.instance_topic))

    async def program(self, path: Path, sign: str, *, folder: Path) -> WorkerProcess:
        """Start an installed program in a folder of the caller's; no module of the checkout is on its path."""
        return await self._process((str(path),), sign, {"PYTHONPATH": ""}, folder=folder)

    async def _process(
        self, argv: Sequence[str], sign: str, variables: Mapping[str, str], *, folder: Path | None = None
    ) -> WorkerProcess:
        log = self.folder / f"process-{len(self._processes)}.log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *argv,
                cwd=folder,
                env={**self.variables, "TEMPORAL_NAMESPACE": self.temporal.namespace, **variables},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )
        self._processes.append(WorkerProcess(process, log, sign))
        return self._processes[-1]

    async def oncelog(self, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
        """Run the command line; returns its exit code and the JSON it prints."""
        return await run_oncelog({**self.variables, "TEMPORAL_NAMESPACE": self.temporal.namespace}, *arguments)

    async def empty_redis(self) -> int:
        """Delete all that Redis holds of this installation; returns how many keys those were."""
        async with Redis.from_url(self.settings.redis.url) as redis:
            keys = [key async for key in redis.scan_iter(f"{self.settings.redis_prefix}*", count=1000)]
            return int(await redis.delete(*keys)) if keys else 0

    async def logs(self) -> promises.Logs:
        """Read every aggregate's log from S3, past all of our own stores."""
        return promises.logs_of(await asyncio.to_thread(self.objects, "events/"))

    async def check(self) -> promises.Logs:
        """Hold every promise on all servers, as ``oncelog verify`` does, and return the logs."""
        report = await verify(sources_of(self.stores, self.settings), in_flight=nothing_in_flight)
        assert not report.findings, report.findings
        return await self.logs()

    def objects(self, prefix: str) -> dict[str, bytes]:
        client, bucket, ours = self.stores.bucket.client, self.settings.s3.bucket, self.settings.s3_prefix
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=ours + prefix)
        keys = [item["Key"] for page in pages for item in page.get("Contents", [])]
        return {
            key.removeprefix(ours): client.get_object(Bucket=bucket, Key=key)["Body"].read() for key in sorted(keys)
        }

    async def _end_processes(self) -> None:
        for worker in self._processes:
            with contextlib.suppress(ProcessLookupError):
                worker.process.send_signal(signal.SIGKILL)  # which ends a stopped one, too
            await worker.process.wait()


async def run_oncelog(variables: Mapping[str, str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    """Run the command line with ``--json``; returns its exit code and what it prints for programs."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "from oncelog.cli import main; main()",
        *arguments,
        "--json",
        env=dict(variables),
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return int(process.returncode or 0), [json.loads(line) for line in output.splitlines()]


async def new_temporal() -> Client:
    """Return a client of a Temporal namespace of its own, prepared as a worker does."""
    somewhere = await connection.connect()
    name = f"t-{uuid.uuid4().hex[:12]}"
    request = RegisterNamespaceRequest(namespace=name, workflow_execution_retention_period=Duration(seconds=86_400))
    await somewhere.workflow_service.register_namespace(request)
    client = await connected(name)
    await connection.prepare(client)
    return client


async def connected(namespace: str) -> Client:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEMPORAL_NAMESPACE", namespace)
        return await connection.connect()


async def until_pending(handle: WorkflowHandle[Any, Any]) -> None:
    """Wait until a step of the workflow stands as an activity that people can see."""
    async with asyncio.timeout(120):
        while not (await handle.describe()).raw_description.pending_activities:
            await asyncio.sleep(0.05)
