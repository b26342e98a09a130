"""Failures in the middle of a command: its worker ends, or Redis forgets, after any step."""

import asyncio
import json
from datetime import timedelta

import pytest
from temporalio.client import WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy

from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult, Outcome
from oncelog.workflows.command import InstanceCommand
from tests.commands import create, delete, update
from tests.integration.installation import Installation, until_pending

pytestmark = pytest.mark.integration

STEPS = ("claim", "allocate", "record", "persist", "publish", "project", "complete")

#: A workflow task that a killed worker has begun is given to another one after this time, by default 10 s.
TASK_TIMEOUT = timedelta(seconds=1)


async def _start(installation: Installation, command: Command) -> WorkflowHandle[InstanceCommand, CommandResult]:
    return await installation.temporal.start_workflow(
        InstanceCommand.run,
        command,
        id=command.command_id,
        task_queue=installation.settings.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        task_timeout=TASK_TIMEOUT,
    )


@pytest.mark.parametrize("step", STEPS)
async def test_a_worker_killed_after_any_step_leaves_nothing_undone(installation: Installation, step: str):
    worker = await (await installation.worker_process(ONCELOG_CRASH_AFTER=step)).ready()
    commands = [create(f"p{number}") for number in range(3)]
    handles = [await _start(installation, command) for command in commands]
    assert await worker.ended() == -9
    async with installation.worker(), asyncio.timeout(180):
        results = [await handle.result() for handle in handles]
    assert [result.outcome for result in results] == [Outcome.APPLIED] * 3
    logs = await installation.check()
    assert sorted(len(events) for events in logs.values()) == [1, 1, 1]
    for result in results:
        assert (await installation.client.status(str(result.command_id))).result == result


async def test_a_worker_killed_in_mid_work_has_done_what_came_before(installation: Installation):
    worker = await (await installation.worker_process(ONCELOG_CRASH_AFTER="complete:3")).ready()
    results = [await (await _start(installation, create(f"p{number}"))).result() for number in range(2)]
    last = await _start(installation, create("p2"))
    assert await worker.ended() == -9
    async with installation.worker(), asyncio.timeout(180):
        results.append(await last.result())
    assert [result.outcome for result in results] == [Outcome.APPLIED] * 3
    assert len(await installation.check()) == 3


@pytest.mark.parametrize("step", STEPS)
async def test_redis_emptied_after_any_step_changes_nothing(installation: Installation, step: str):
    emptied = []

    async def after_step(name: str) -> None:
        if name == step:
            emptied.append(await installation.empty_redis())

    async with installation.worker(after_step=after_step), asyncio.timeout(180):
        results = [await installation.client.submit(create(payload={}))]
        commands = [update(payload={f"k{number}": number}) for number in range(8)]
        results += await asyncio.gather(*map(installation.client.submit, commands))
        results.append(await installation.client.submit(delete()))
        again = [await installation.client.submit(command) for command in commands]
    assert len(emptied) >= len(results)
    assert sum(emptied) > 0
    assert [result.outcome for result in results] == [Outcome.APPLIED] * 10
    assert again == results[1:-1]
    (events,) = (await installation.check()).values()
    assert len(events) == 10


async def test_a_worker_told_to_stop_ends_what_it_began(installation: Installation):
    worker = await (await installation.worker_process()).ready()
    commands = [create(f"p{number}") for number in range(40)]
    handles = [await _start(installation, command) for command in commands]
    await handles[0].result()
    assert await worker.stop() == 0
    assert "worker_draining" in worker.output()
    assert "worker_stopped" in worker.output()
    assert "Traceback" not in worker.output()
    async with installation.worker(), asyncio.timeout(180):
        results = [await handle.result() for handle in handles]
    assert {result.outcome for result in results} == {Outcome.APPLIED}
    assert len(await installation.check()) == 40


async def test_a_worker_that_reaches_no_server_names_each(installation: Installation):
    nowhere = "127.0.0.1:1"
    worker = await installation.worker_process(
        TEMPORAL_ADDRESS=nowhere,
        ONCELOG_REDIS_URL=f"redis://{nowhere}/0",
        ONCELOG_KAFKA_BOOTSTRAP_SERVERS=nowhere,
        ONCELOG_ELASTICSEARCH_URL=f"http://{nowhere}",
        ONCELOG_S3_ENDPOINT_URL=f"http://{nowhere}",
    )
    assert await worker.ended() == 3
    said = worker.output()
    assert "Traceback" not in said
    for server in ("Temporal", "Redis", "Kafka", "Elasticsearch", "S3"):
        assert f"{server} at " in said, said
    assert "worker_ready" not in said


async def test_a_worker_that_waits_for_a_server_says_so_in_a_line(installation: Installation):
    worker = await (await installation.worker_process(ONCELOG_LOG_FORMAT="json")).ready()
    damaged = f"{installation.settings.s3_prefix}commands/damaged/000001.json"
    bucket = installation.stores.bucket
    await asyncio.to_thread(bucket.client.put_object, Bucket=bucket.name, Key=damaged, Body=b"?")
    handle = await _start(installation, create(command_id="damaged"))
    await until_pending(handle)
    await handle.terminate()
    assert await worker.stop() == 0
    entries = [json.loads(line) for line in worker.output().splitlines()]
    (failure, *_) = [each for each in entries if "LogDamaged: record 1 of command damaged" in each["event"]]
    assert (failure["logger"], failure["level"]) == ("temporalio.activity", "warning")
    assert (failure["command_id"], failure["aggregate_id"]) == ("damaged", "shop/Product/p1")
    assert "exception" not in failure


async def test_a_worker_refuses_settings_that_do_not_fit(installation: Installation):
    worker = await installation.worker_process(ONCELOG_SNAPSHOT_INTERVAL_EVENTS="often", ONCELOG_CRASH_AFTER="claim:0")
    assert await worker.ended() == 2
    for name, found in (("ONCELOG_SNAPSHOT_INTERVAL_EVENTS", "'often'"), ("ONCELOG_CRASH_AFTER", "'claim:0'")):
        assert name in worker.output()
        assert found in worker.output()
