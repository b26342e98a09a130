"""A bulk command as a workflow, under a clock that skips."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

import oncelog.activities.bulk
from oncelog.activities.bulk_models import BulkStage, BulkView
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.records import Closed
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.results import Outcome, RejectionCode
from oncelog.ports import Stage
from oncelog.settings import Settings
from oncelog.workflows import policies
from oncelog.workflows.attributes import CLASS_ID, COMMAND_OUTCOME, COMMAND_TYPE
from oncelog.workflows.bulk import BulkCommand
from tests.bulks import bulk_create, bulk_update, item
from tests.commands import create
from tests.workflows.conftest import TASK_QUEUE, Bench, running_worker
from tests.workflows.test_instance_command import RUBBISH, current_details, until_details_say
from tests.write.bulks import check_results, upload
from tests.write.world import World

pytestmark = pytest.mark.integration

Handle = WorkflowHandle[BulkCommand, BulkResult]


@pytest.fixture
def world() -> World:
    return World(settings=Settings(bulk_chunk_items_max=2))


async def start(client: Client, bulk: Bulk) -> Handle:
    return await client.start_workflow(
        BulkCommand.run,
        bulk,
        id=bulk.command_id,
        task_queue=TASK_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )


async def run(client: Client, bulk: Bulk) -> BulkResult:
    return await (await start(client, bulk)).result()


def items(number: int) -> list[dict[str, Any]]:
    return [item(f"p{index}", {"n": index}) for index in range(number)]


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(120):
        while not condition():
            await asyncio.sleep(0.01)


async def until_stage(handle: Handle, stage: BulkStage) -> BulkView:
    async with asyncio.timeout(120):
        while (view := await handle.query(BulkCommand.progress)).stage is not stage:
            await asyncio.sleep(0.05)
        return view


def slow(world: World) -> None:
    """Let every request to S3 take a while, so that a test can step in between."""

    async def pause() -> None:
        await asyncio.sleep(0.02)

    world.bucket.pause = pause


@pytest.mark.parametrize("uploaded", [False, True])
async def test_a_bulk_command_is_applied_and_everything_follows(bench: Bench, *, uploaded: bool):
    bulk = bulk_create(*items(7), 7)
    if uploaded:
        bulk = upload(bench.world, bulk)
    handle = await start(bench.client, bulk)
    result = await handle.result()
    assert (result.outcome, result.counts.applied, result.counts.rejected) == (Outcome.APPLIED, 7, 1)
    check_results(bench.world, result)
    view = await handle.query(BulkCommand.progress)
    assert (view.stage, view.counts.done, view.chunks_done, view.chunks) == (BulkStage.DONE, 8, 4, 4)
    details = await current_details(handle)
    assert "APPLIED: 8 of 8 items" in details
    assert str(result.results_key) in details
    described = await handle.describe()
    attributes = described.typed_search_attributes
    assert (attributes[CLASS_ID], attributes[COMMAND_TYPE]) == ("Product", "BULK_CREATE_INSTANCES")
    assert attributes[COMMAND_OUTCOME] == "APPLIED"
    assert (await described.memo())["items"] == 8
    status = await bench.world.process().ports.statuses.read_status(bulk.command_id)
    assert status is not None
    assert (status.stage, status.result, status.command_type) == (Stage.COMPLETED, result, bulk.command_type)


async def test_a_refusal_of_the_whole_is_a_result_and_no_failure(bench: Bench):
    bulk = upload(bench.world, bulk_create(*items(2)))
    wrong = Bulk.model_validate(bulk.as_json | {"payload": bulk.as_json["payload"] | {"items_count": 3}})
    result = await run(bench.client, wrong)
    assert result.rejection is not None
    assert result.rejection.code is RejectionCode.INVALID_COMMAND
    assert bench.world.logs() == {}
    status = await bench.world.process().ports.statuses.read_status(bulk.command_id)
    assert status is not None
    assert (status.stage, status.result) == (Stage.REJECTED, result)


async def test_a_closed_duplicate_reads_the_first_result(bench: Bench):
    bulk = bulk_create(*items(3))
    result = await run(bench.client, bulk)
    with pytest.raises(WorkflowAlreadyStartedError):
        await start(bench.client, bulk)
    assert await bench.client.get_workflow_handle_for(BulkCommand.run, bulk.command_id).result() == result


@pytest.mark.parametrize("client", ["ours", "plain"])
async def test_whatever_is_given_as_a_bulk_command_is_answered(bench: Bench, client: str):
    starter = bench.client if client == "ours" else bench.plain
    single = [create(command_id="r").model_dump(mode="json")]
    forged = [{"command_id": "r", "items": 5, "chunks": 1, "progress": {"next_chunk": 1}, "backlog": []}]
    for number, (what, arguments) in enumerate([*RUBBISH.items(), ("a single one", single), ("forged", forged)]):
        given = [
            {"command_id": f"r{number}", **argument} if isinstance(argument, dict) and argument else argument
            for argument in arguments
        ]
        handle = await starter.start_workflow("BulkCommand", args=given, id=f"r{number}", task_queue=TASK_QUEUE)
        async with asyncio.timeout(120):
            answer = await bench.client.get_workflow_handle_for(BulkCommand.run, handle.id).result()
        assert answer.rejection is not None, what
        assert answer.rejection.code is RejectionCode.INVALID_COMMAND, what
    assert bench.world.bucket.objects == {}


async def test_paused_it_stops_between_chunks_and_resumed_it_goes_on(bench: Bench):
    slow(bench.world)
    handle = await start(bench.client, bulk_create(*items(60)))
    await until(lambda: len(bench.world.logs()) > 2)
    await handle.signal(BulkCommand.pause)
    view = await until_stage(handle, BulkStage.PAUSED)
    assert not (await handle.describe()).raw_description.pending_activities
    done = len(bench.world.logs())
    assert 2 < done < 60
    assert (view.counts.applied, done % 2) == (done, 0)
    assert "PAUSED" in await current_details(handle)
    await handle.signal(BulkCommand.resume)
    result = await handle.result()
    assert result.counts.applied == 60
    check_results(bench.world, result)


@pytest.mark.parametrize("paused", [False, True])
async def test_cancelled_it_ends_between_chunks_and_says_what_was_done(bench: Bench, *, paused: bool):
    slow(bench.world)
    bulk = bulk_create(*items(60))
    handle = await start(bench.client, bulk)
    await until(lambda: len(bench.world.logs()) > 2)
    if paused:
        await handle.signal(BulkCommand.pause)
        await until_stage(handle, BulkStage.PAUSED)
    await handle.cancel()
    result = await handle.result()
    assert (result.outcome, result.closed) == (Outcome.APPLIED, Closed.CANCELLED)
    assert 0 < result.counts.applied < 60
    assert result.counts.applied + result.counts.not_attempted == 60
    check_results(bench.world, result)
    assert "CANCELLED" in await current_details(handle)


async def test_cancelled_before_it_was_opened_it_does_nothing(bench: Bench):
    bench.world.bucket.available = False
    handle = await start(bench.client, bulk_create(*items(4)))
    async with asyncio.timeout(120):
        while not (await handle.describe()).raw_description.pending_activities:
            await asyncio.sleep(0.05)
    await handle.cancel()
    bench.world.bucket.available = True
    result = await handle.result()
    assert (result.closed, result.counts.not_attempted) == (Closed.CANCELLED, 4)
    assert bench.world.logs() == {}


@pytest.mark.parametrize("server", ["redis", "bucket", "publisher", "documents"])
async def test_a_day_without_a_server_ends_with_every_item_done_once(bench: Bench, server: str):
    await run(bench.client, bulk_create(*items(9)))
    getattr(bench.world, server).available = False
    handle = await start(bench.client, bulk_update(*items(9)))
    async with asyncio.timeout(120):
        while not (pending := (await handle.describe()).raw_description.pending_activities) or (
            server in ("publisher", "documents") and pending[0].activity_type.name != "deliver_chunks"
        ):
            await asyncio.sleep(0.05)
    if server in ("publisher", "documents"):
        await until(lambda: all(len(events) == 2 for events in bench.world.logs().values()))
    await bench.env.sleep(timedelta(days=1))
    getattr(bench.world, server).available = True
    result = await handle.result()
    assert result.counts.applied == 9
    check_results(bench.world, result)


async def test_delivery_cut_short_goes_on_with_the_rest(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oncelog.activities.bulk, "SEGMENT_S", 0.05)
    delivered = 0

    async def take_a_while() -> None:
        nonlocal delivered
        delivered += 1
        await asyncio.sleep(0.1)

    bench.world.publisher.available = False
    bulk = bulk_create(*items(9))
    async with running_worker(bench.client, bench.world, task_queue="patched", sandboxed=False):
        handle = await bench.client.start_workflow(BulkCommand.run, bulk, id=bulk.command_id, task_queue="patched")
        await until(lambda: len(bench.world.logs()) == 9)
        bench.world.publisher.pause, bench.world.publisher.available = take_a_while, True
        result = await handle.result()
    assert delivered
    check_results(bench.world, result)
    names = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        async for event in handle.fetch_history_events()
    ]
    assert names.count("deliver_chunks") > 1


async def test_a_long_one_goes_on_in_a_new_run(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oncelog.activities.bulk, "SEGMENT_CHUNKS_MAX", 2)
    monkeypatch.setattr(policies, "BULK_SEGMENTS_PER_RUN", 2)
    bench.world.documents.available = False
    bulk = bulk_create(*items(19))
    async with running_worker(bench.client, bench.world, task_queue="patched", sandboxed=False):
        handle = await bench.client.start_workflow(BulkCommand.run, bulk, id=bulk.command_id, task_queue="patched")
        await until(lambda: len(bench.world.logs()) == 19)  # a query to a run that just ends hangs on this server
        await until_details_say(bench.client.get_workflow_handle(handle.id), "DELIVERING")
        bench.world.documents.available = True
        latest = bench.client.get_workflow_handle_for(BulkCommand.run, handle.id)
        async with asyncio.timeout(180):
            result = await latest.result()
    assert result.counts.applied == 19
    check_results(bench.world, result)
    assert (await latest.describe()).run_id != handle.first_execution_run_id
