"""A replay as a workflow, on servers in memory."""

from datetime import timedelta
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import ApplicationError, CancelledError

from oncelog import metrics
from oncelog.replay_runs.request import ReplayMode, ReplayOutcome, ReplayReport, ReplayRequest, ReplayScope
from oncelog.workflows.replay import Replay
from tests.commands import create, update
from tests.workflows.conftest import TASK_QUEUE, Bench
from tests.workflows.test_instance_command import current_details, until_details_say

pytestmark = pytest.mark.integration

Handle = WorkflowHandle[Replay, ReplayReport]


async def start(client: Client, request: ReplayRequest | None = None, replay_id: str = "replay") -> Handle:
    return await client.start_workflow(Replay.run, request, id=replay_id, task_queue=TASK_QUEUE)


async def fill(bench: Bench, count: int) -> None:
    for number in range(count):
        await bench.world.process().run(create(f"p{number}"))


async def test_log_is_replayed_in_partitions(bench: Bench):
    await fill(bench, 5)
    handle = await start(bench.client, ReplayRequest(parallel=2, partition_events=1))
    report = await handle.result()
    assert (report.outcome, report.counts.aggregates) == (ReplayOutcome.SOUND, 5)
    assert report.counts.partitions == 5
    assert report.end is not None
    assert [(tree.name, tree.size) for tree in report.end.classes] == [("shop/Product", 5)]
    assert await handle.query(Replay.progress) == report
    assert f"| root of shop | `{report.end.databases[0].root}` over 1 |" in await current_details(handle)


async def test_events_of_a_replay_are_counted_once(bench: Bench):
    await fill(bench, 5)
    labels = {"mode": "verify"}
    before = metrics.REGISTRY.get_sample_value("oncelog_replay_events_total", labels) or 0.0
    await (await start(bench.client, ReplayRequest(parallel=2, partition_events=2))).result()
    assert metrics.REGISTRY.get_sample_value("oncelog_replay_events_total", labels) == before + 5


async def test_second_replay_is_compared_with_the_first(bench: Bench):
    await bench.world.process().run(create())
    first = await (await start(bench.client, replay_id="first")).result()
    await bench.world.process().run(update())
    second = await (await start(bench.client, replay_id="second")).result()
    assert first.end is not None
    assert second.end is not None
    assert first.end.comparison is None
    assert second.end.comparison is not None
    assert (second.end.comparison.replay_id, second.end.comparison.changed) == ("first", 1)


@pytest.mark.parametrize(
    ("lost", "code", "found"),
    [([2], "StreamShorter", "found 1 events now"), ([1, 2], "AggregateGone", "found nothing")],
)
async def test_lost_events_violate_the_last_replay(bench: Bench, lost: list[int], code: str, found: str):
    await fill(bench, 2)
    await bench.world.process().run(update("p1"))
    await (await start(bench.client, replay_id="first")).result()
    for number in lost:
        del bench.world.bucket.objects[f"events/shop/Product/p1/{number:020}.json"]
    handle = await start(bench.client, replay_id="second")
    report = await handle.result()
    assert (report.outcome, report.counts.findings_count) == (ReplayOutcome.VIOLATED, 0)
    assert report.end is not None
    assert report.end.comparison is not None
    assert report.end.comparison.findings_count == 1
    line = f"- **{code}** aggregate shop/Product/p1: expected event 2 with digest "
    (told,) = (each for each in (await current_details(handle)).splitlines() if each.startswith(line))
    assert told.split(" as in ")[1].startswith(f"first, {found}")


async def test_damage_makes_the_outcome_a_violation(bench: Bench):
    await bench.world.process().run(create())
    await bench.world.process().run(update())
    key = min(key for key in bench.world.bucket.objects if key.startswith("events/"))
    del bench.world.bucket.objects[key]
    handle = await start(bench.client)
    report = await handle.result()
    assert (report.outcome, report.counts.findings_count) == (ReplayOutcome.VIOLATED, 1)
    assert "**LogDamaged** aggregate shop/Product/p1 event 1" in await current_details(handle)


async def test_dry_run_only_plans(bench: Bench):
    await bench.world.process().run(create())
    report = await (await start(bench.client, ReplayRequest(dry_run=True))).result()
    assert (report.outcome, report.counts.events) == (ReplayOutcome.PLANNED, 0)
    assert report.totals is not None
    assert report.totals.events == 1


async def test_paused_replay_begins_no_partition(bench: Bench):
    await fill(bench, 3)
    bench.world.bucket.available = False
    handle = await start(bench.client, ReplayRequest(parallel=1, partition_events=1))
    await until_details_say(handle, "planning")
    await handle.signal(Replay.pause)
    bench.world.bucket.available = True
    await until_details_say(handle, "PAUSED: 0 of 3")
    await bench.env.sleep(timedelta(hours=1))
    assert (await handle.query(Replay.progress)).counts.partitions == 0
    await handle.signal(Replay.resume)
    assert (await handle.result()).counts.aggregates == 3


async def test_day_without_s3_is_waited_for(bench: Bench):
    await bench.world.process().run(create())
    handle = await start(bench.client)
    bench.world.bucket.available = False
    await bench.env.sleep(timedelta(days=1))
    bench.world.bucket.available = True
    assert (await handle.result()).outcome is ReplayOutcome.SOUND


async def test_replay_is_cancelled(bench: Bench):
    bench.world.bucket.available = False
    handle = await start(bench.client)
    await until_details_say(handle, "planning")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)


async def test_export_lists_its_files(bench: Bench):
    await bench.world.process().run(create())
    scope = ReplayScope(db_name="shop", class_id="Product")
    report = await (await start(bench.client, ReplayRequest(mode=ReplayMode.AS_OF, scope=scope))).result()
    assert report.end is not None
    assert (report.end.rows, report.end.manifest) == (1, "replays/replay/files.json")


@pytest.mark.parametrize(
    "arguments", [[{"mode": "?"}], [{"parallel": 0}], [{"scope": {"class_id": "P"}}], ["x"], [{}, {}]]
)
async def test_malformed_request_fails_at_once(bench: Bench, arguments: list[Any]):
    handle = await bench.client.start_workflow("Replay", args=arguments, id="rubbish", task_queue=TASK_QUEUE)
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, ApplicationError)
    assert caught.value.cause.message.startswith("replay: not a request")
