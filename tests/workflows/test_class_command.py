"""A command about a class as a workflow, under a clock that skips."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.common import WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from oncelog.domain.commands import Command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.workflows.attributes import AGGREGATE_ID, CLASS_ID, COMMAND_OUTCOME
from oncelog.workflows.command import ClassCommand
from tests.classes import FIRST, SECOND, WIDER, define, retire
from tests.commands import create
from tests.workflows.conftest import TASK_QUEUE, Bench
from tests.workflows.test_instance_command import current_details, run, start

pytestmark = pytest.mark.integration

NAME = AggregateId.of_class("shop", "Product")


async def start_class(client: Client, command: Command) -> WorkflowHandle[ClassCommand, CommandResult]:
    return await client.start_workflow(ClassCommand.run, command, id=command.command_id, task_queue=TASK_QUEUE)


async def run_class(client: Client, command: Command) -> CommandResult:
    return await (await start_class(client, command)).result()


async def pending(handle: WorkflowHandle[Any, Any]) -> set[str]:
    described = (await handle.describe()).raw_description
    return {activity.activity_type.name for activity in described.pending_activities}


async def test_a_class_is_defined_and_its_documents_follow(bench: Bench):
    await run(bench.client, create(payload={"name": "Lamp", "price": "7"}))
    handle = await start_class(bench.client, define(FIRST))
    result = await handle.result()
    assert (result.outcome, result.aggregate_id) == (Outcome.APPLIED, "shop/_class/Product")
    assert "1 documents copied" in await current_details(handle)
    attributes = (await handle.describe()).typed_search_attributes
    assert (attributes[AGGREGATE_ID], attributes[CLASS_ID]) == ("shop/_class/Product", "Product")
    assert attributes[COMMAND_OUTCOME] == "APPLIED"
    await run_class(bench.client, define(SECOND))
    (document,) = bench.world.documents.indices["shop.product"].values()
    assert document.body["data"] == {"name": "Lamp", "cost": 7}
    bench.world.check()
    bench.world.check_document(document.aggregate_id)


async def test_what_is_no_definition_and_what_breaks_is_answered(bench: Bench):
    refused = await run_class(bench.client, define({"version": "one", "schema": {"type": "text"}}))
    assert refused.rejection is not None
    assert refused.rejection.code is RejectionCode.PAYLOAD_INVALID
    assert {each["at"] for each in refused.rejection.details["errors"]} == {"/version", "/schema/type"}
    await run_class(bench.client, define(FIRST))
    broken = await run_class(bench.client, define({**SECOND, "migration": []}))
    assert broken.rejection is not None
    assert broken.rejection.code is RejectionCode.SCHEMA_INCOMPATIBLE


async def test_a_repeated_command_gives_its_first_result(bench: Bench):
    command = define(FIRST)
    first = await run_class(bench.client, command)
    with pytest.raises(WorkflowAlreadyStartedError):
        await bench.client.start_workflow(
            ClassCommand.run,
            command,
            id=command.command_id,
            task_queue=TASK_QUEUE,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )
    assert await bench.world.process().run(command) == first


async def test_a_retired_class_refuses_what_comes_after(bench: Bench):
    await run_class(bench.client, define(FIRST))
    assert (await run_class(bench.client, retire())).outcome is Outcome.APPLIED
    refused = await run(bench.client, create(payload={"name": "Lamp"}))
    assert refused.rejection is not None
    assert refused.rejection.code is RejectionCode.CLASS_RETIRED


async def test_a_day_without_documents_ends_with_the_index_in_place(bench: Bench):
    await run_class(bench.client, define(FIRST))
    await run(bench.client, create(payload={"name": "Lamp"}))
    bench.world.documents.available = False
    handle = await start_class(bench.client, define(WIDER))
    async with asyncio.timeout(120):
        while "project_event" not in await pending(handle):
            await asyncio.sleep(0.05)
    await bench.env.sleep(timedelta(days=1))
    bench.world.documents.available = True
    assert (await handle.result()).outcome is Outcome.APPLIED
    current = await bench.world.process().ports.indices.current_index(NAME)
    assert current is not None
    assert current.definition is not None
    assert current.definition.version == "1.1.0"


@pytest.mark.parametrize("kind", ["instance", "class"])
async def test_a_command_of_the_other_kind_is_refused(bench: Bench, kind: str):
    if kind == "instance":
        answer = await (await start(bench.client, define(FIRST))).result()
    else:
        answer = await run_class(bench.client, create())
    assert answer.rejection is not None
    assert answer.rejection.code is RejectionCode.INVALID_COMMAND
    assert bench.world.bucket.objects == {}
