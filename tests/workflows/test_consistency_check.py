"""A consistency check as a workflow, on servers in memory."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError

import oncelog.activities.check
from oncelog.activities.check_models import CheckOutcome, CheckPhase, CheckReport, CheckRequest
from oncelog.ports import Generations, LogCheckpoint
from oncelog.stores.s3.bucket import StoredObject
from oncelog.workflows.check import ConsistencyCheck
from tests.commands import create, update
from tests.workflows.conftest import TASK_QUEUE, Bench
from tests.workflows.test_instance_command import current_details, until_details_say
from tests.write.sweeper import LOOK_ONLY, sweep
from tests.write.test_sweeping import die, left_by_a_definition

pytestmark = pytest.mark.integration

REPAIR = CheckRequest(repair=True, grace_s=0)


async def start(
    client: Client, request: CheckRequest | None, check_id: str = "check"
) -> WorkflowHandle[ConsistencyCheck, CheckReport]:
    return await client.start_workflow(ConsistencyCheck.run, request, id=check_id, task_queue=TASK_QUEUE)


async def check(client: Client, request: CheckRequest | None = REPAIR, check_id: str = "check") -> CheckReport:
    return await (await start(client, request, check_id)).result()


async def test_orphans_are_found_and_then_finished(bench: Bench):
    await bench.world.process().complete(create())
    await die(bench.world, update(), "record")
    await die(bench.world, create("p2"), "persist", publish=False)
    bench.world.redis.flush()
    looked = await check(bench.client, CheckRequest(grace_s=0), "look")
    assert (looked.outcome, looked.phase, looked.tally.finished) == (CheckOutcome.FOUND, CheckPhase.DONE, 0)
    handle = await start(bench.client, REPAIR)
    done = await handle.result()
    assert (done.outcome, done.tally.finished, done.tally.commands) == (CheckOutcome.REPAIRED, 1, 3)
    bench.world.check()
    assert "| finished | 1 |" in await current_details(handle)
    assert (await check(bench.client, check_id="again")).outcome is CheckOutcome.CLEAN
    assert await handle.query(ConsistencyCheck.progress) == done


async def test_documents_left_by_a_terminated_definition_are_reindexed(bench: Bench):
    await left_by_a_definition(bench.world, "close")
    looked = await check(bench.client, CheckRequest(grace_s=0), "look")
    assert (looked.outcome, looked.tally.reindexed) == (CheckOutcome.FOUND, 0)
    done = await check(bench.client)
    assert (done.outcome, done.tally.reindexed, done.tally.projected) == (CheckOutcome.REPAIRED, 1, 2)
    assert (await check(bench.client, check_id="again")).outcome is CheckOutcome.CLEAN
    bench.world.check_shown()


async def test_what_is_young_is_left_alone_by_default(bench: Bench):
    await die(bench.world, create(), "record")
    report = await check(bench.client, CheckRequest(repair=True))
    assert (report.outcome, report.tally.recent) == (CheckOutcome.CLEAN, 1)
    assert bench.world.logs() == {}


async def test_check_without_repair_changes_nothing(bench: Bench):
    await die(bench.world, create(), "record")
    handle = await bench.client.start_workflow("ConsistencyCheck", id="bare", task_queue=TASK_QUEUE)
    report = CheckReport.model_validate(await handle.result())
    assert (report.repair, report.tally.commands) == (False, 1)


@pytest.mark.parametrize(
    "arguments", [[{"class_id": "Product"}], [{"grace_s": -1}], [{"repare": True}], ["x"], [{}, {}], [{"db_name": "?"}]]
)
async def test_what_is_no_request_fails_at_once_and_says_why(bench: Bench, arguments: list[Any]):
    handle = await bench.client.start_workflow("ConsistencyCheck", args=arguments, id="rubbish", task_queue=TASK_QUEUE)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.type == "InputInvalid"
    assert caught.value.cause.message.startswith("check: not a request")


async def test_damage_is_told_with_its_place(bench: Bench):
    await die(bench.world, create(), "record")
    bench.world.bucket.objects["commands/broken/000001.json"] = StoredObject(b"?")
    handle = await start(bench.client, REPAIR)
    report = await handle.result()
    assert (report.outcome, report.tally.damaged, report.tally.finished) == (CheckOutcome.DAMAGED, 1, 1)
    assert [finding.place for finding in report.tally.findings] == [
        "record 1 of command broken",
        "command " + _made(bench),
    ]
    assert "record 1 of command broken" in await current_details(handle)


def _made(bench: Bench) -> str:
    (events,) = bench.world.logs().values()
    return events[0].command_id


async def test_a_day_without_a_server_is_waited_for(bench: Bench):
    await die(bench.world, create(), "record")
    bench.world.redis.available = False
    handle = await start(bench.client, REPAIR)
    await until_details_say(handle, "COMMANDS")
    await bench.env.sleep(timedelta(days=1))
    bench.world.redis.available = True
    assert (await handle.result()).tally.finished == 1
    bench.world.check()


async def test_page_by_page_it_comes_to_the_same(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(oncelog.activities.check, "RECONCILE_S", -1.0)  # every page is handed back
    list_after = bench.world.bucket.list_after
    monkeypatch.setattr(bench.world.bucket, "list_after", lambda *place, **_: list_after(*place, count_max=1))
    for number in range(3):
        await bench.world.process().complete(create(f"p{number}"))
        await bench.world.process().complete(update(f"p{number}"))
    orphan = update("p1")
    await die(bench.world, orphan, "record")
    handle = await start(bench.client, REPAIR)
    report = await handle.result()
    assert (report.tally.commands, report.tally.aggregates, report.tally.finished) == (7, 3, 1)
    scheduled = [
        event.activity_task_scheduled_event_attributes.activity_type.name
        for event in (await handle.fetch_history()).events
        if event.HasField("activity_task_scheduled_event_attributes")
    ]
    assert scheduled.count("sweep_commands") >= 7
    assert scheduled.count("sweep_aggregates") >= 3
    assert (await sweep(bench.world, LOOK_ONLY)).found == 0


async def test_how_far_the_log_is_whole_is_kept_and_saves_reading(bench: Bench):
    now = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    bench.world.bucket.clock = lambda: now
    await bench.world.process().complete(create())
    marks = bench.world.process().ports.checkpoints
    now += timedelta(hours=2)
    await check(bench.client, CheckRequest(db_name="shop", repair=True, grace_s=0), "scoped")
    await check(bench.client, CheckRequest(grace_s=0), "looked")
    assert await marks.read_checkpoint() is None
    await check(bench.client, check_id="whole")
    assert await marks.read_checkpoint() == LogCheckpoint(now - timedelta(hours=1), Generations())
    bench.world.redis.flush()
    bench.world.bucket.requests.clear()
    alone = CheckRequest(repair=True, grace_s=0, invariants=False)  # reconciliation, not the proof, saves reading
    report = await check(bench.client, alone, "later")
    assert (report.outcome, report.tally.commands) == (CheckOutcome.CLEAN, 1)
    assert bench.world.bucket.requests["GetObject"] == 1  # the mark itself


async def test_what_is_left_holds_the_mark_back(bench: Bench):
    now = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
    bench.world.bucket.clock = lambda: now
    command = create()
    await die(bench.world, command, "record")
    bench.world.workflows.running.add(command.command_id)
    now += timedelta(days=1)
    await check(bench.client)
    mark = await bench.world.process().ports.checkpoints.read_checkpoint()
    assert mark == LogCheckpoint(datetime(2026, 6, 1, 11, 59, 59, tzinfo=UTC), Generations())
    bench.world.workflows.running.clear()
    assert (await check(bench.client, check_id="again")).tally.finished == 1
