"""The whole command path on real servers, when nothing breaks."""

import asyncio
import gc

import pytest
from temporalio.client import WorkflowExecutionStatus
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.exceptions import WorkflowAlreadyStartedError

from oncelog.domain.commands import Command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.errors import CommandUnknown, NotYetVisible
from oncelog.ports import Stage
from oncelog.workflows.attributes import COMMAND_OUTCOME, SEQUENCE_NUMBER
from oncelog.workflows.command import InstanceCommand
from oncelog.workflows.presentation import search_attributes
from tests.commands import create, delete, update
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration


async def test_a_fact_lies_alike_on_every_server(installation: Installation):
    async with installation.worker():
        created = await installation.client.submit(create(payload={"name": "Lamp", "price": 12.5}))
        updated = await installation.client.submit(update(payload={"price": None, "tags": ["new"]}))
        deleted = await installation.client.submit(delete())
    assert [result.sequence_number for result in (created, updated, deleted)] == [1, 2, 3]
    assert [result.outcome for result in (created, updated, deleted)] == [Outcome.APPLIED] * 3
    (events,) = (await installation.check()).values()
    assert [event.event_type for event in events] == ["INSTANCE_CREATED", "INSTANCE_UPDATED", "INSTANCE_DELETED"]
    document = await installation.client.get(AggregateId.parse("shop/Product/p1"))
    assert document is not None
    assert (document.sequence_number, document.body["deleted"]) == (3, True)


async def test_a_plain_temporal_client_is_enough(installation: Installation):
    command = {
        "command_id": f"{installation.settings.namespace}-plain",
        "command_type": "CREATE_INSTANCE",
        "db_name": "shop",
        "class_id": "Product",
        "instance_id": "p1",
        "payload": {"name": "Lamp"},
    }
    async with installation.worker():
        answer = await installation.temporal.execute_workflow(
            "InstanceCommand",
            command,
            id=str(command["command_id"]),
            task_queue=installation.settings.task_queue,
            result_type=CommandResult,
        )
    assert answer.outcome is Outcome.APPLIED
    await installation.check()
    described = await installation.temporal.get_workflow_handle(str(command["command_id"])).describe()
    attributes = described.typed_search_attributes
    assert (attributes[COMMAND_OUTCOME], attributes[SEQUENCE_NUMBER]) == ("APPLIED", 1)


async def test_a_token_reads_the_own_write(installation: Installation):
    async with installation.worker():
        result = await installation.client.submit(create())
        place = AggregateId.parse(str(result.aggregate_id))
        document = await installation.client.get(place, token=result.consistency_token)
        assert document is not None
        assert document.sequence_number == 1
        early = await installation.client.submit(update(payload={"n": 2}), early=True)
        document = await installation.client.get(place, token=early.consistency_token)
        assert document is not None
        assert (document.sequence_number, document.body["data"]) == (2, {"n": 2})


async def test_early_duplicate_gets_the_first_result_silently(installation: Installation):
    noises: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: noises.append(context))
    command = create()
    async with installation.worker():
        first = await installation.client.submission(command)
        again = await installation.client.submission(command, early=True)
    gc.collect()  # asyncio complains of an exception that was never retrieved when its future goes
    asyncio.get_running_loop().set_exception_handler(None)
    assert (first.duplicate, again.duplicate) == (False, True)
    assert again.result == first.result
    assert noises == []


async def test_a_token_of_what_is_not_projected_says_so_in_time(installation: Installation):
    async with installation.worker():
        result = await installation.client.submit(create())
    place = AggregateId.parse(str(result.aggregate_id))
    await installation.stores.elasticsearch.client.indices.delete(
        index=f"{installation.stores.documents.alias_of(place)}.000001"
    )
    with pytest.raises(NotYetVisible) as caught:
        await installation.client.get(place, token=result.consistency_token, deadline_s=0.5)
    assert caught.value.details == {"expected": {"shop/Product/p1": 1}, "found": {"shop/Product/p1": 0}}


async def test_the_status_is_there_from_acceptance_on(installation: Installation):
    command = create()
    with pytest.raises(CommandUnknown):
        await installation.client.status(command.command_id)
    await installation.client.start(command)  # no worker is there
    assert (await installation.client.status(command.command_id)).stage is Stage.ACCEPTED
    async with installation.worker():
        result = await installation.client.result(command.command_id)
    status = await installation.client.status(command.command_id)
    assert (status.stage, status.result, status.command_hash) == (Stage.COMPLETED, result, command.hash)
    assert [stage for stage, _ in status.history] == ["ACCEPTED", "PERSISTED", "PUBLISHED", "PROJECTED", "COMPLETED"]
    assert [at for _, at in status.history] == sorted(at for _, at in status.history)


async def test_refusals_leave_no_event(installation: Installation):
    client = installation.client
    async with installation.worker():
        codes = [
            (await client.submit(command)).rejection
            for command in (
                update("absent"),
                delete("absent"),
                create(),
                create(),
                update(expected_version=7),
                delete(),
                update(),
                delete(),
                create(),
            )
        ]
    assert [refusal and refusal.code for refusal in codes] == [
        RejectionCode.INSTANCE_NOT_FOUND,
        RejectionCode.INSTANCE_NOT_FOUND,
        None,
        RejectionCode.INSTANCE_EXISTS,
        RejectionCode.VERSION_CONFLICT,
        None,
        RejectionCode.INSTANCE_DELETED,
        RejectionCode.INSTANCE_DELETED,
        None,
    ]
    (events,) = (await installation.check()).values()
    assert len(events) == 3


async def test_50_commands_at_once_on_one_aggregate_stand_in_one_line(installation: Installation):
    async with installation.worker():
        await installation.client.submit(create(payload={}))
        commands = [update(payload={f"k{number}": number}) for number in range(50)]
        results = await asyncio.gather(*map(installation.client.submit, commands))
    assert sorted(result.sequence_number or 0 for result in results) == list(range(2, 52))
    (events,) = (await installation.check()).values()
    assert {event.command_id for event in events[1:]} == {command.command_id for command in commands}
    document = await installation.client.get(AggregateId.parse("shop/Product/p1"))
    assert document is not None
    assert document.body["data"] == {f"k{number}": number for number in range(50)}


async def test_of_50_creations_of_one_instance_one_wins(installation: Installation):
    async with installation.worker():
        results = await asyncio.gather(*(installation.client.submit(create(payload={"n": n})) for n in range(50)))
    codes = [result.rejection.code if result.rejection else result.outcome for result in results]
    assert sorted(codes) == sorted([Outcome.APPLIED, *[RejectionCode.INSTANCE_EXISTS] * 49])
    (events,) = (await installation.check()).values()
    assert len(events) == 1


@pytest.mark.parametrize("eager", [False, True], ids=["apart", "in the client's program"])
async def test_one_command_started_20_times_at_once_happens_once(installation: Installation, *, eager: bool):
    command = create()
    async with installation.worker(eager=eager):
        submissions = await asyncio.gather(*(installation.client.submission(command) for _ in range(20)))
    assert len({submission.result.model_dump_json() for submission in submissions}) == 1
    (events,) = (await installation.check()).values()
    assert len(events) == 1


async def test_two_workers_at_once_keep_the_order(installation: Installation):
    async with installation.worker(), installation.worker():
        await installation.client.submit(create(payload={}))
        commands = [update(payload={f"k{number}": number}) for number in range(40)]
        results = await asyncio.gather(*map(installation.client.submit, commands))
    assert sorted(result.sequence_number or 0 for result in results) == list(range(2, 42))
    await installation.check()


async def _start_as_anyone(installation: Installation, command: Command) -> CommandResult:
    """Start it again although it is closed, as a client that does not keep to our policies."""
    return await installation.temporal.execute_workflow(
        InstanceCommand.run,
        command,
        id=command.command_id,
        task_queue=installation.settings.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.ALLOW_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        search_attributes=search_attributes(command),
    )


async def test_id_with_other_content_is_refused(installation: Installation):
    command = create()
    other = update(command_id=command.command_id)
    async with installation.worker():
        first = await installation.client.submit(command)
        answers = [await installation.client.submit(other), await _start_as_anyone(installation, other)]
    await installation.lose_temporal()
    async with installation.worker():
        answers.append(await installation.client.submit(other))
    await installation.lose_temporal()
    await installation.empty_redis()
    async with installation.worker():
        answers.append(await installation.client.submit(other))
        again = await _start_as_anyone(installation, command)
    for answer in answers:
        assert answer.rejection is not None
        assert answer.rejection.code is RejectionCode.COMMAND_ID_REUSED
        assert answer.rejection.details == {"expected_hash": command.hash, "found_hash": other.hash}
    assert again == first
    (events,) = (await installation.check()).values()
    assert len(events) == 1


async def test_the_first_result_is_given_for_ever(installation: Installation):
    applied, refused = create(), update("absent")
    async with installation.worker():
        first = [await installation.client.submit(command) for command in (applied, refused)]
        await installation.client.submit(create("absent"))  # now the update would be applied
        with pytest.raises(WorkflowAlreadyStartedError):
            await installation.client.start(applied)
        assert [await installation.client.submit(command) for command in (applied, refused)] == first
        assert [await _start_as_anyone(installation, command) for command in (applied, refused)] == first
    await installation.lose_temporal()
    await installation.empty_redis()
    assert [await installation.client.result(command.command_id) for command in (applied, refused)] == first
    assert (await installation.client.status(applied.command_id)).result == first[0]
    async with installation.worker():
        assert [await installation.client.submit(command) for command in (applied, refused)] == first
    logs = await installation.check()
    assert sorted(len(events) for events in logs.values()) == [1, 1]


async def test_cancelling_an_accepted_command_changes_nothing(installation: Installation):
    command = create()
    handle = await installation.client.start(command)
    await handle.cancel()
    async with installation.worker():
        assert (await handle.result()).outcome is Outcome.APPLIED
    assert (await handle.describe()).status is WorkflowExecutionStatus.COMPLETED
    await installation.check()
