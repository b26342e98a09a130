"""A command as a workflow, under a clock that skips: an example for tests of your own."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.api.sdk.v1 import WorkflowMetadata
from temporalio.client import Client, WithStartWorkflowOperation, WorkflowHandle
from temporalio.common import RawValue, WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.ports import Stage
from oncelog.workflows.attributes import AGGREGATE_ID, COMMAND_OUTCOME, SEQUENCE_NUMBER
from oncelog.workflows.command import InstanceCommand
from tests.commands import create, delete, update
from tests.workflows.conftest import TASK_QUEUE, Bench

pytestmark = pytest.mark.integration

#: Noted by the test server where no limit is given.
UNLIMITED = timedelta(days=3650)


async def start(client: Client, command: Command) -> WorkflowHandle[InstanceCommand, CommandResult]:
    return await client.start_workflow(
        InstanceCommand.run,
        command,
        id=command.command_id,
        task_queue=TASK_QUEUE,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )


async def run(client: Client, command: Command) -> CommandResult:
    return await (await start(client, command)).result()


async def current_details(handle: WorkflowHandle[Any, Any]) -> str:
    metadata = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    return str(metadata.current_details)


async def until_details_say(handle: WorkflowHandle[Any, Any], text: str) -> None:
    async with asyncio.timeout(120):
        while text not in await current_details(handle):
            await asyncio.sleep(0.05)


async def test_a_command_is_applied_and_everything_follows(bench: Bench):
    command = create(payload={"name": "Lamp"})
    handle = await start(bench.client, command)
    result = await handle.result()
    assert (result.outcome, result.sequence_number) == (Outcome.APPLIED, 1)
    bench.world.check()
    bench.world.check_document(command.aggregate_id)
    status = await bench.world.process().ports.statuses.read_status(command.command_id)
    assert status is not None
    assert [stage for stage, _ in status.history] == [
        Stage.ACCEPTED,
        Stage.PERSISTED,
        Stage.PUBLISHED,
        Stage.PROJECTED,
        Stage.COMPLETED,
    ]
    assert status.result == result
    details = await current_details(handle)
    assert "APPLIED shop/Product/p1 version 1" in details
    assert all(step in details for step in ("claim", "allocate", "record", "persist", "publish", "project", "complete"))


async def test_what_a_command_came_to_can_be_searched_for(bench: Bench):
    command = create()
    handle = await start(bench.client, command)
    await handle.result()
    attributes = (await handle.describe()).typed_search_attributes
    assert attributes[AGGREGATE_ID] == "shop/Product/p1"
    assert (attributes[COMMAND_OUTCOME], attributes[SEQUENCE_NUMBER]) == ("APPLIED", 1)


async def test_a_refusal_is_a_result_and_no_failure(bench: Bench):
    result = await run(bench.client, update())
    assert result.rejection is not None
    assert result.rejection.code is RejectionCode.INSTANCE_NOT_FOUND
    assert bench.world.logs() == {}


async def test_a_closed_duplicate_reads_the_first_result(bench: Bench):
    command = create()
    result = await run(bench.client, command)
    with pytest.raises(WorkflowAlreadyStartedError):
        await start(bench.client, command)
    assert await bench.client.get_workflow_handle_for(InstanceCommand.run, command.command_id).result() == result


async def test_forgotten_command_returns_its_first_result(bench: Bench):
    command = create()
    first = await bench.world.process().run(command)
    bench.world.redis.flush()
    assert await run(bench.client, command) == first
    other = command.model_copy(update={"payload": {"n": 9}})
    bench.world.redis.flush()
    (events,) = bench.world.check().values()
    assert len(events) == 1
    refused = await bench.world.process().commit(other)
    assert refused.rejection is not None
    assert refused.rejection.code is RejectionCode.COMMAND_ID_REUSED


def payload(encoding: bytes, data: bytes) -> RawValue:
    return RawValue(Payload(metadata={"encoding": encoding}, data=data))


VALID = {"command_type": "CREATE_INSTANCE", "db_name": "shop", "class_id": "Product"}

RUBBISH: dict[str, list[Any]] = {
    "nothing": [],
    "null": [None],
    "text": ["hello"],
    "a number": [7],
    "a list": [[1, 2]],
    "an empty object": [{}],
    "bytes": [b"\x00\xff"],
    "json that is none": [payload(b"json/plain", b"{")],
    "bytes that are no UTF-8": [payload(b"json/plain", b'"\xff"')],
    "an encoding nobody knows": [payload(b"json/proprietary", b"{}")],
    "deep json": [payload(b"json/plain", b"[" * 100_000 + b"]" * 100_000)],
    "an integer too large": [{**VALID, "payload": {"n": 2**53 + 1}}],
    "an infinity": [payload(b"json/plain", b'{"payload": {"n": 1e999}}')],
    "a key twice": [payload(b"json/plain", b'{"command_id": "a-key-twice", "payload": {"price": 1, "price": 2}}')],
    "a number that no double holds": [payload(b"json/plain", b'{"payload": {"n": 0.1234567890123456789}}')],
    "an unknown type": [{**VALID, "command_type": "DESTROY_EVERYTHING"}],
    "an unknown field": [{**VALID, "colour": "red"}],
    "a hostile class": [{**VALID, "class_id": "../../x"}],
    "two commands": [VALID, VALID],
    "unreadable surplus": [VALID, payload(b"json/plain", b"{")],
}


@pytest.mark.parametrize("client", ["ours", "plain"])
async def test_whatever_is_given_as_a_command_is_answered(bench: Bench, client: str):
    starter = bench.client if client == "ours" else bench.plain
    for number, (what, arguments) in enumerate(RUBBISH.items()):
        given = [
            {"command_id": f"r{number}", **argument} if isinstance(argument, dict) and argument else argument
            for argument in arguments
        ]
        handle = await starter.start_workflow("InstanceCommand", args=given, id=f"r{number}", task_queue=TASK_QUEUE)
        async with asyncio.timeout(120):
            answer = await bench.client.get_workflow_handle_for(InstanceCommand.run, handle.id).result()
        assert answer.rejection is not None, what
        assert answer.rejection.code is RejectionCode.INVALID_COMMAND, what
    assert bench.world.bucket.objects == {}


async def test_a_command_under_another_workflow_id_is_refused(bench: Bench):
    command = create()
    answer = await bench.client.execute_workflow(InstanceCommand.run, command, id="another", task_queue=TASK_QUEUE)
    assert answer.rejection is not None
    assert "workflow ID" in answer.rejection.message


@pytest.mark.parametrize("server", ["redis", "bucket", "publisher", "documents"])
async def test_a_day_without_a_server_ends_with_the_command_done_once(bench: Bench, server: str):
    await run(bench.client, create())
    store = getattr(bench.world, server)
    store.available = False
    began = await bench.env.get_current_time()
    command = update(payload={"n": 7})
    handle = await start(bench.client, command)
    await until_details_say(handle, "is tried again until it succeeds")
    pending = (await handle.describe()).raw_description.pending_activities
    assert [activity.activity_type.name for activity in pending] in (
        [["commit_command"]] if server in ("redis", "bucket") else [["publish_event"], ["project_event"]]
    )
    await bench.env.sleep(timedelta(days=1))
    store.available = True
    result = await handle.result()
    assert (result.outcome, result.sequence_number) == (Outcome.APPLIED, 2)
    assert await bench.env.get_current_time() - began >= timedelta(days=1)
    bench.world.check()
    bench.world.check_document(command.aggregate_id)


async def test_no_time_limit_ends_a_command_that_waits(bench: Bench):
    bench.world.redis.available = False
    handle = await start(bench.client, create())
    await until_details_say(handle, "is tried again until it succeeds")
    events = (await handle.fetch_history()).events
    begun = events[0].workflow_execution_started_event_attributes
    (waiting,) = (
        event.activity_task_scheduled_event_attributes
        for event in events
        if event.HasField("activity_task_scheduled_event_attributes")
    )
    limits = begun.workflow_execution_timeout, waiting.schedule_to_close_timeout, waiting.schedule_to_start_timeout
    assert {limit.ToTimedelta() for limit in limits} == {UNLIMITED}
    assert waiting.retry_policy.maximum_attempts == 0


@pytest.mark.parametrize("server", ["publisher", "documents"])
async def test_the_early_answer_does_not_wait_for_stream_and_documents(bench: Bench, server: str):
    getattr(bench.world, server).available = False
    command = create()
    starting: WithStartWorkflowOperation[InstanceCommand, CommandResult] = WithStartWorkflowOperation(
        InstanceCommand.run,
        command,
        id=command.command_id,
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    early = await bench.client.execute_update_with_start_workflow(
        InstanceCommand.accepted, id="accepted", start_workflow_operation=starting
    )
    assert (early.outcome, early.sequence_number) == (Outcome.APPLIED, 1)
    handle = await starting.workflow_handle()
    assert (await handle.describe()).close_time is None
    getattr(bench.world, server).available = True
    assert await handle.result() == early
    bench.world.check()
    bench.world.check_document(command.aggregate_id)


async def test_a_request_to_cancel_does_not_stop_what_was_accepted(bench: Bench):
    bench.world.bucket.available = False
    command = create()
    handle = await start(bench.client, command)
    await until_details_say(handle, "is tried again until it succeeds")
    await handle.cancel()
    bench.world.bucket.available = True
    assert (await handle.result()).outcome is Outcome.APPLIED
    bench.world.check()


async def test_a_deleted_instance_leaves_a_tombstone(bench: Bench):
    for command in (create(), delete()):
        await run(bench.client, command)
    (document,) = bench.world.documents.indices["shop.product"].values()
    assert (document.sequence_number, document.body["deleted"], document.body["data"]) == (2, True, {})
