"""Bulk commands on real servers: inline and uploaded, thousands of items, workers killed after each step."""

import asyncio
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import EventType
from temporalio.client import WorkflowHandle

import oncelog.activities.bulk
from oncelog.activities.bulk_models import BulkStage, BulkView
from oncelog.client.bulk import Bulks
from oncelog.domain.bulk.command import BulkType
from oncelog.domain.bulk.records import Closed
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.limits import ITEMS_INLINE_BYTES_MAX
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.errors import CommandUnknown, InputInvalid
from oncelog.ports import Stage
from oncelog.settings import Settings
from oncelog.workflows import policies
from tests.bulks import bulk_create, item, ndjson
from tests.commands import create, update
from tests.integration.installation import Installation
from tests.write.test_bulk_crashes import STEPS as PIPELINE_STEPS

pytestmark = pytest.mark.integration

STEPS = (*PIPELINE_STEPS, "bulk_complete")
DEATHS_AT_A_TIME = 3

CREATE, UPDATE = BulkType.BULK_CREATE_INSTANCES, BulkType.BULK_UPDATE_INSTANCES


def items(number: int, **payload: Any) -> list[dict[str, Any]]:
    return [item(f"p{index}", {"n": index, **payload}) for index in range(number)]


def many(tmp_path: Path, number: int, *, text: str = "x" * 100) -> Path:
    """Return a file of items that are too many to travel with their command."""
    path = tmp_path / "items.ndjson"
    path.write_bytes(ndjson(items(number, text=text)))
    assert path.stat().st_size > ITEMS_INLINE_BYTES_MAX
    return path


async def check_results(installation: Installation, result: CommandResult) -> list[dict[str, Any]]:
    """Hold that the results tell what lies on the servers, item by item."""
    assert isinstance(result, BulkResult)
    logs = await installation.check()
    events = {event.event_id: event for log in logs.values() for event in log if event.command_id == result.command_id}
    lines = [line async for line in Bulks(installation.client).results(result)]
    assert [line["index"] for line in lines] == list(range(result.counts.items))
    for line in lines:
        event = events.pop(derive_event_id(str(result.command_id), line["index"]), None)
        assert (event is not None) == (line["outcome"] == "APPLIED")
        if event is not None:
            assert (line["aggregate_id"], line["sequence_number"]) == (event.aggregate_id, event.sequence_number)
    assert events == {}
    return lines


async def until(condition: Callable[[BulkView], bool], installation: Installation, command_id: str) -> BulkView:
    async with asyncio.timeout(180):
        while not condition(view := await Bulks(installation.client).progress(command_id)):
            await asyncio.sleep(0.02)
        return view


@pytest.fixture
def bulks(installation: Installation) -> Bulks:
    return Bulks(installation.client)


async def test_items_lie_alike_on_every_server(installation: Installation, bulks: Bulks):
    async with installation.worker():
        created = await bulks.submit(CREATE, "shop", "Product", items(7))
        changed = await bulks.submit(UPDATE, "shop", "Product", [*items(3, colour="red"), item("p0", {"n": 9})])
        status = await installation.client.status(str(changed.command_id))
    assert (created.outcome, created.counts.applied) == (Outcome.APPLIED, 7)
    lines = await check_results(installation, changed)
    assert [line["sequence_number"] for line in lines] == [2, 2, 2, 3]
    assert (status.stage, status.result, status.command_type) == (Stage.COMPLETED, changed, UPDATE)


async def test_five_thousand_items_are_uploaded_and_applied(installation: Installation, bulks: Bulks, tmp_path: Path):
    path = many(tmp_path, 5_000)
    async with installation.worker(), asyncio.timeout(180):
        bulk = await bulks.prepared(
            path, {"command_id": "five", "command_type": CREATE, "db_name": "shop", "class_id": "Product"}
        )
        assert bulk.payload.reference is not None
        seen = [found async for found in bulks.follow(bulk)]
        result = seen[-1]
        assert isinstance(result, BulkResult)
        views = [view for view in seen if isinstance(view, BulkView) and view.counts.items]
    assert result.counts.applied == 5_000
    assert {view.counts.items for view in views} == {5_000}
    done = [view.counts.done for view in views]
    assert done == sorted(done)
    assert any(0 < count < 5_000 for count in done), "progress is seen while it is made"
    assert len(await check_results(installation, result)) == 5_000


async def test_a_duplicate_gets_the_first_result_whoever_has_forgotten(installation: Installation, tmp_path: Path):
    path = many(tmp_path, 800)
    again: list[BulkResult] = []
    async with installation.worker():
        bulks = Bulks(installation.client)
        first = await bulks.submit(CREATE, "shop", "Product", path, command_id="twice")
        again.append(await bulks.submit(CREATE, "shop", "Product", path, command_id="twice"))
        await installation.empty_redis()
        again.append(await bulks.submit(CREATE, "shop", "Product", path, command_id="twice"))
        found = (await installation.client.status("twice")).result
        other = await bulks.submit(CREATE, "shop", "Product", items(3), command_id="twice")
        single = await installation.client.submit(create("q1", command_id="twice"))
    await installation.lose_temporal()
    await installation.empty_redis()
    async with installation.worker():
        bulks = Bulks(installation.client)
        again.append(await bulks.submit(CREATE, "shop", "Product", path, command_id="twice"))
    await installation.lose_temporal()
    async with installation.worker():
        refused = await Bulks(installation.client).submit(CREATE, "shop", "Product", items(3), command_id="twice")
    assert first.counts.applied == 800
    assert again == [first] * 3
    assert found == first
    for result in (other, single, refused):
        assert result.rejection is not None
        assert result.rejection.code is RejectionCode.COMMAND_ID_REUSED
    await check_results(installation, first)


async def test_a_worker_killed_after_any_step_leaves_nothing_undone(
    settings: Settings, environment: Mapping[str, str], tmp_path: Path
):
    """Some steps at a time, each on an installation of its own: most of the time goes by until a death is noticed."""
    free = asyncio.Semaphore(DEATHS_AT_A_TIME)

    async def kill_after(step: str) -> None:
        own = settings.model_copy(update={"namespace": f"{settings.namespace}-{STEPS.index(step)}"})
        folder = tmp_path / step
        folder.mkdir()
        async with free, Installation.opened(own, environment, folder) as installation:
            await _killed_after(installation, step)

    async with asyncio.TaskGroup() as group:
        for step in STEPS:
            group.create_task(kill_after(step))


async def _killed_after(installation: Installation, step: str) -> None:
    bulk = bulk_create(*items(50), command_id="killed")
    variables = {"ONCELOG_CRASH_AFTER": step, "ONCELOG_BULK_CHUNK_ITEMS_MAX": "20"}
    worker = await (await installation.worker_process(**variables)).ready()
    await installation.client.start(bulk)
    assert await worker.ended() == -9, step
    async with installation.worker(), asyncio.timeout(90):
        result = await installation.client.result("killed")
    assert isinstance(result, BulkResult)
    assert (result.outcome, result.counts.applied) == (Outcome.APPLIED, 50), step
    await check_results(installation, result)
    assert (await installation.client.status("killed")).result == result


async def test_a_worker_told_to_stop_hands_over_between_chunks(
    installation: Installation, bulks: Bulks, tmp_path: Path
):
    bulk = await bulks.prepared(many(tmp_path, 3_000), _create("handed-over"))
    worker = await (await installation.worker_process()).ready()
    await installation.client.start(bulk)
    await until(lambda view: view.counts.applied >= 500, installation, "handed-over")
    assert await worker.stop() == 0
    assert "Traceback" not in worker.output()
    async with installation.worker(), asyncio.timeout(90):
        result = await installation.client.result("handed-over")
    assert isinstance(result, BulkResult)
    assert result.counts.applied == 3_000
    await check_results(installation, result)


async def test_paused_it_rests_and_resumed_it_ends(installation: Installation, bulks: Bulks, tmp_path: Path):
    bulk = await bulks.prepared(many(tmp_path, 4_000), _create("paused"))
    async with installation.worker(), asyncio.timeout(120):
        await installation.client.start(bulk)
        await until(lambda view: view.counts.applied >= 500, installation, "paused")
        await bulks.pause("paused")
        view = await until(lambda view: view.stage is BulkStage.PAUSED, installation, "paused")
        assert len(await installation.logs()) == view.counts.done < 4_000
        await bulks.resume("paused")
        result = await installation.client.result("paused")
    assert isinstance(result, BulkResult)
    assert result.counts.applied == 4_000
    with pytest.raises(InputInvalid, match="already"):
        await bulks.pause("paused")


async def test_cancelled_it_says_what_was_done(installation: Installation, bulks: Bulks, tmp_path: Path):
    bulk = await bulks.prepared(many(tmp_path, 4_000), _create("cancelled"))
    async with installation.worker(), asyncio.timeout(120):
        await installation.client.start(bulk)
        await until(lambda view: view.counts.applied >= 500, installation, "cancelled")
        await bulks.cancel("cancelled")
        result = await installation.client.result("cancelled")
        again = await installation.client.submit(bulk)
    assert isinstance(result, BulkResult)
    assert (result.outcome, result.closed) == (Outcome.APPLIED, Closed.CANCELLED)
    assert 500 <= result.counts.applied < 4_000
    assert result.counts.applied + result.counts.not_attempted == 4_000
    assert again == result
    lines = await check_results(installation, result)
    assert lines[-1] == {"index": 3_999, "outcome": "NOT_ATTEMPTED"}


async def test_single_commands_proceed_beside_a_bulk_command(installation: Installation, bulks: Bulks):
    async with installation.worker(), asyncio.timeout(120):
        await bulks.submit(CREATE, "shop", "Product", items(40))
        changes = [item(f"p{index % 40}", {f"b{index}": True}) for index in range(400)]
        singles = [update(f"p{index}", {f"s{turn}": True}) for turn in range(3) for index in range(40)]
        bulk, *results = await asyncio.gather(
            bulks.submit(UPDATE, "shop", "Product", changes), *map(installation.client.submit, singles)
        )
    assert {result.outcome for result in results} == {Outcome.APPLIED}
    assert isinstance(bulk, BulkResult)
    assert bulk.counts.applied == 400
    await check_results(installation, bulk)
    assert {len(log) for log in (await installation.logs()).values()} == {1 + 10 + 3}


async def test_a_long_one_goes_on_in_a_new_run(
    installation: Installation, bulks: Bulks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(oncelog.activities.bulk, "SEGMENT_CHUNKS_MAX", 1)
    monkeypatch.setattr(policies, "BULK_SEGMENTS_PER_RUN", 2)
    bulk = await bulks.prepared(many(tmp_path, 2_600), _create("long"))
    async with installation.worker(), asyncio.timeout(120):
        handle: WorkflowHandle[Any, Any] = await installation.client.start(bulk)
        result = await installation.client.result("long")
    assert isinstance(result, BulkResult)
    assert result.counts.applied == 2_600
    first = installation.temporal.get_workflow_handle("long", run_id=handle.first_execution_run_id)
    events = [event.event_type async for event in first.fetch_history_events()]
    assert events[-1] == EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW
    await check_results(installation, result)


async def test_a_plain_temporal_client_is_enough(installation: Installation):
    command = bulk_create(*items(3), command_id="plain").as_json
    async with installation.worker():
        answer = await installation.temporal.execute_workflow(
            "BulkCommand", command, id="plain", task_queue=installation.settings.task_queue, result_type=dict
        )
    assert (answer["outcome"], answer["counts"]["applied"]) == ("APPLIED", 3)
    assert json.dumps(answer)
    await installation.check()


async def test_what_is_no_bulk_command_cannot_be_paused(installation: Installation, bulks: Bulks):
    async with installation.worker():
        await installation.client.submit(create("p1", command_id="single"))
        await bulks.submit(UPDATE, "shop", "Product", [item("p1", {"n": 1})], command_id="bulk")
    with pytest.raises(InputInvalid, match="expected a bulk command"):
        await bulks.pause("single")
    with pytest.raises(InputInvalid, match="already"):
        await bulks.cancel("bulk")
    with pytest.raises(CommandUnknown):
        await bulks.progress("nobody")


async def test_nothing_is_uploaded_unless_every_line_is_valid(installation: Installation, bulks: Bulks, tmp_path: Path):
    path = many(tmp_path, 1_000)
    with path.open("ab") as file:
        file.write(b'{"instance_id": "last", "payload": {"n": NaN}}\n')
    with pytest.raises(InputInvalid, match=r"items\.ndjson, line 1001: NaN is not JSON"):
        await bulks.submit(CREATE, "shop", "Product", path)
    assert await asyncio.to_thread(installation.objects, "payloads/") == {}


def _create(command_id: str) -> dict[str, Any]:
    return {"command_id": command_id, "command_type": CREATE, "db_name": "shop", "class_id": "Product"}
