"""Remains of terminated workflows on real servers, and the check that finishes them: by hand, and on schedule."""

import asyncio
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflowservice.v1 import ResetWorkflowExecutionRequest
from temporalio.client import ScheduleActionExecutionStartWorkflow, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.service import RPCError, RPCStatusCode

from oncelog.activities.check_models import CheckOutcome, CheckReport, CheckRequest
from oncelog.bulk.run import Progress, RunControl
from oncelog.checks.verify import nothing_in_flight, verify
from oncelog.client.connection import TemporalWorkflows
from oncelog.client.runs import Checks
from oncelog.client.schedules import CHECK, ScheduleChange, Schedules
from oncelog.composition.checks import sources_of
from oncelog.composition.pipeline import assemble
from oncelog.composition.reconcile import assemble_reconcilers
from oncelog.domain.bulk.records import BulkRecord, Closed
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import Command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import CommandFailed, CommandUnknown, InputInvalid
from oncelog.ports import Stage
from oncelog.replay.trace import Trace
from oncelog.stores.opening import Stores
from oncelog.verification.findings import Code
from oncelog.workflows.bulk import BulkCommand
from oncelog.workflows.command import InstanceCommand
from oncelog.write.completion import final_status
from tests.bulks import bulk_create, item
from tests.classes import FIRST, SECOND, define
from tests.commands import create, update
from tests.integration.installation import Installation, until_pending
from tests.integration.test_restarts import STEPS, TASK_TIMEOUT
from tests.write.sweeper import ANY_AGE
from tests.write.world import NOON

pytestmark = pytest.mark.integration

CLASS = AggregateId.of_class("shop", "Product")

Handle = WorkflowHandle[InstanceCommand, CommandResult]

#: Steps after which a command has a record, so that the check has to finish it.
RECORDED = ("record", "persist", "publish", "project", "complete")


async def _start(installation: Installation, command: Command) -> Handle:
    return await installation.temporal.start_workflow(
        InstanceCommand.run,
        command,
        id=command.command_id,
        task_queue=installation.settings.task_queue,
        id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
        task_timeout=TASK_TIMEOUT,
    )


async def _check(installation: Installation, *, repair: bool = True, **scope: str) -> CheckReport:
    """Run a check, which needs a worker."""
    checks = Checks(installation.temporal, installation.settings)
    check_id = await checks.start(CheckRequest(repair=repair, grace_s=0, **scope))
    async with asyncio.timeout(60):
        return await checks.result(check_id)


async def _nothing_incomplete(installation: Installation) -> None:
    await installation.check()
    again = await _check(installation, repair=False)
    assert again.outcome is CheckOutcome.CLEAN, again.tally


@pytest.mark.parametrize("lost", ["nothing", "redis", "redis and temporal"])
@pytest.mark.parametrize("step", STEPS)
async def test_work_of_a_dead_worker_is_finished(installation: Installation, step: str, lost: str):
    async with installation.worker():
        await installation.client.submit(create("before"))
    worker = await (await installation.worker_process(ONCELOG_CRASH_AFTER=step)).ready()
    commands = [update("before"), create("new"), update("absent")]
    handles = [await _start(installation, command) for command in commands]
    assert await worker.ended() == -9
    for handle in handles:
        await _terminate(handle)
    if lost != "nothing":
        await installation.empty_redis()
    if lost == "redis and temporal":
        await installation.lose_temporal()
    async with installation.worker():
        report = await _check(installation)
        assert (report.tally.damaged, report.tally.unfinished, report.tally.running) == (0, 0, 0)
        await _nothing_incomplete(installation)
        for command in commands:
            await _is_whole(installation, command)


async def _terminate(handle: Handle) -> None:
    try:
        await handle.terminate("lost")
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # it had come to its end before the worker died
            raise


async def _is_whole(installation: Installation, command: Command) -> None:
    """A command with a record has its end, and its status says so; one without has no effect."""
    records = installation.stores.ports.records
    made = {event.command_id for events in (await installation.logs()).values() for event in events}
    if await records.read_record(command.command_id, 1) is None:
        assert command.command_id not in made
        return
    result = await installation.client.result(command.command_id)
    assert (result.outcome is Outcome.APPLIED) == (command.command_id in made)
    assert await installation.client.submit(command) == result
    status = await installation.client.status(command.command_id)
    assert status.result == result
    assert status.stage in (Stage.COMPLETED, Stage.REJECTED, Stage.PERSISTED)


async def test_a_command_that_is_terminated_without_a_record_says_so(installation: Installation):
    handle = await _start(installation, create())
    await handle.terminate("never mind")
    async with installation.worker():
        assert (await _check(installation)).outcome is CheckOutcome.CLEAN
    with pytest.raises(CommandFailed):
        await installation.client.result(handle.id)


async def test_reset_workflow_continues_and_the_check_leaves_it(installation: Installation):
    worker = await (await installation.worker_process(ONCELOG_CRASH_AFTER="record")).ready()
    command = create()
    handle = await _start(installation, command)
    assert await worker.ended() == -9
    await _reset(installation, handle)
    checks = Checks(installation.temporal, installation.settings)
    looking = await checks.start(CheckRequest(repair=True, grace_s=0))
    async with installation.worker(), asyncio.timeout(60):
        report = await checks.result(looking)
        assert report.tally.damaged == 0
        result = await installation.client.result(command.command_id)
        await _reset(installation, handle)  # once it has ended, too
        assert await installation.client.result(command.command_id) == result
        await _nothing_incomplete(installation)
    (events,) = (await installation.logs()).values()
    assert len(events) == 1


async def _reset(installation: Installation, handle: Handle) -> None:
    """Let the workflow begin anew from the end of its first task, as an operator does."""
    async with asyncio.timeout(120):
        while True:
            events = (await handle.fetch_history()).events
            ended = [
                event.event_id
                for event in events
                if event.HasField("workflow_task_completed_event_attributes")
                or event.HasField("workflow_task_timed_out_event_attributes")
            ]
            if ended:
                break
            await asyncio.sleep(0.1)
    request = ResetWorkflowExecutionRequest(
        namespace=installation.temporal.namespace,
        workflow_execution=WorkflowExecution(workflow_id=handle.id),
        reason="reset by a test",
        workflow_task_finish_event_id=ended[0],
        request_id=f"{handle.id}-{len(events)}",
    )
    await installation.temporal.workflow_service.reset_workflow_execution(request)


@pytest.mark.parametrize("step", ["allocate", "record", "persist", "publish"])
async def test_a_zombie_on_real_servers_wakes_up_after_the_sweep(installation: Installation, step: str):
    """Two processes' worth of clients: the zombie holds still in the middle while a check finishes its command."""
    asleep, woken = asyncio.Event(), asyncio.Event()

    async def sleep(done: str) -> None:
        if done == step:
            asleep.set()
            await woken.wait()

    command = create()
    async with await Stores.connect(installation.settings) as theirs:
        zombie = assemble(theirs.ports, installation.settings)
        attempt = asyncio.create_task(zombie.committer.commit(command, occurred_at=NOON, trace=Trace(sleep)))
        await asleep.wait()
        ours = assemble(installation.stores.ports, installation.settings)
        ports = installation.stores.ports
        sweeps = assemble_reconcilers(ours, ports, TemporalWorkflows(installation.temporal))
        tally = await sweeps.commands.page((await ports.catalogue.commands()).items, ANY_AGE)
        tally += await sweeps.aggregates.page((await ports.catalogue.listed_streams()).items, ANY_AGE)
        assert tally.found == (step != "allocate")
        woken.set()
        result = (await attempt).result
        tally = await sweeps.commands.page((await ports.catalogue.commands()).items, ANY_AGE)
        await sweeps.aggregates.page((await ports.catalogue.listed_streams()).items, ANY_AGE)
        await ours.close()
        await zombie.close()
    assert (result.outcome, result.sequence_number) == (Outcome.APPLIED, 1)
    (events,) = (await installation.check()).values()
    assert len(events) == 1


async def test_a_scope_leaves_others_half_done(installation: Installation):
    worker = await (await installation.worker_process(ONCELOG_CRASH_AFTER="record")).ready()
    handle = await _start(installation, create())
    assert await worker.ended() == -9
    await handle.terminate()
    async with installation.worker():
        assert (await _check(installation, db_name="shop", class_id="Order")).outcome is CheckOutcome.CLEAN
        assert (await _check(installation, db_name="shop", class_id="Product")).outcome is CheckOutcome.REPAIRED
        await _nothing_incomplete(installation)


async def test_schedule_runs_when_triggered_and_stays_paused(installation: Installation):
    settings, temporal = installation.settings, installation.temporal
    worker = await (await installation.worker_process(ONCELOG_CHECK_GRACE_S="0")).ready()
    handle = temporal.get_schedule_handle(settings.named(CHECK))
    described = await handle.describe()
    (interval,) = described.schedule.spec.intervals
    assert interval.every.total_seconds() == settings.check_interval_s
    assert described.schedule.policy.catchup_window == timedelta(seconds=600)
    orphan = create()
    await installation.client.submit(create("before"))
    await _orphan(installation, orphan)
    schedules = Schedules(temporal, settings)
    await schedules.trigger(CHECK)
    report = await _scheduled_report(installation)
    assert (report.repair, report.tally.finished) == (True, 1)
    await schedules.pause(CHECK, note="maintenance")
    assert await worker.stop() == 0
    changed = Schedules(temporal, settings.model_copy(update={"check_interval_s": 3600}))
    assert (await changed.apply())[CHECK] is ScheduleChange.UPDATED
    described = await handle.describe()
    assert (described.schedule.state.paused, described.schedule.state.note) == (True, "maintenance")
    assert described.schedule.spec.intervals[0].every.total_seconds() == 3600
    (state,) = [state for state in await changed.states() if state.name == CHECK]
    assert (state.exists, state.paused, state.note, state.next_run) == (True, True, "maintenance", None)
    assert state.last_workflow_id is not None
    assert state.last_workflow_id.startswith(settings.named(CHECK))
    await changed.resume(CHECK, note="done")
    (state,) = [state for state in await changed.states() if state.name == CHECK]
    assert (state.paused, state.next_run is not None) == (False, True)


async def test_schedule_with_interval_zero_is_deleted(installation: Installation):
    schedules = Schedules(installation.temporal, installation.settings)
    assert set((await schedules.apply()).values()) == {ScheduleChange.CREATED}
    without = Schedules(installation.temporal, installation.settings.model_copy(update={"check_interval_s": 0}))
    assert (await without.apply())[CHECK] is ScheduleChange.DELETED
    assert (await without.apply())[CHECK] is ScheduleChange.ABSENT
    (state,) = [state for state in await without.states() if state.name == CHECK]
    assert not state.exists
    with pytest.raises(InputInvalid, match="expected it at Temporal, found none"):
        await without.trigger(CHECK)
    with pytest.raises(InputInvalid, match="expected one of consistency-check"):
        await without.trigger("other")


async def _orphan(installation: Installation, command: Command) -> None:
    """Leave an intent without its event."""

    class Died(Exception):
        """The attempt is gone."""

    async def die(step: str) -> None:
        if step == "record":
            raise Died

    pipeline = assemble(installation.stores.ports, installation.settings)
    with pytest.raises(Died):
        await pipeline.committer.commit(command, occurred_at=NOON, trace=Trace(die))


@pytest.mark.parametrize("crash", ["bulk_open", "bulk_record:2", "bulk_persist:2", "bulk_project:2"])
async def test_a_terminated_bulk_command_is_ended_where_it_stands(installation: Installation, crash: str):
    worker = await installation.worker_process(ONCELOG_CRASH_AFTER=crash, ONCELOG_BULK_CHUNK_ITEMS_MAX="2")
    await worker.ready()
    bulk = bulk_create(*(item(f"p{number}", {"n": number}) for number in range(7)))
    handle = await installation.temporal.start_workflow(
        BulkCommand.run, bulk, id=bulk.command_id, task_queue=installation.settings.task_queue
    )
    assert await worker.ended() == -9
    await handle.terminate("lost")
    await installation.empty_redis()
    async with installation.worker():
        report = await _check(installation)
        assert (report.tally.closed, report.tally.finished, report.tally.damaged) == (1, 0, 0)
        await _nothing_incomplete(installation)
        result = await installation.client.result(bulk.command_id)
    assert isinstance(result, BulkResult)
    applied = sum(len(events) for events in (await installation.logs()).values())
    assert (result.closed, result.counts.applied) == (Closed.TERMINATED, applied)
    assert result.counts.not_attempted == 7 - applied
    assert applied == (0 if crash == "bulk_open" else result.counts.done)


@pytest.mark.parametrize("step", ["bulk_open", "bulk_record", "bulk_persist", "bulk_publish"])
async def test_orphaned_bulk_command_is_closed_as_it_stands(installation: Installation, step: str):
    settings = installation.settings.model_copy(update={"bulk_chunk_items_max": 2})
    bulk = bulk_create(*(item(f"p{number}", {"n": number}) for number in range(7)))
    path = assemble(installation.stores.ports, settings).bulk

    class Died(Exception):
        """The attempt is gone."""

    async def die(done: str) -> None:
        if done == step:
            raise Died

    async def attempt() -> None:
        opened = await path.opener.open(bulk, occurred_at=NOON, trace=Trace(die))
        assert isinstance(opened, BulkRecord)
        await path.runner.run(opened, Progress(next_chunk=1), RunControl(lambda: False, lambda _: None, die))

    with pytest.raises(Died):
        await attempt()
    async with installation.worker():
        report = await _check(installation)
        assert (report.outcome, report.tally.closed) == (CheckOutcome.REPAIRED, 1)
        await _nothing_incomplete(installation)
    status = await installation.stores.ports.statuses.read_status(bulk.command_id)
    assert status is not None
    assert isinstance(status.result, BulkResult)
    applied = sum(len(events) for events in (await installation.logs()).values())
    assert status.result.closed is Closed.TERMINATED
    assert (status.result.counts.applied, status.result.counts.not_attempted) == (applied, 7 - applied)
    assert (applied > 0) == (step != "bulk_open")


async def _define(installation: Installation, definition: dict[str, Any]) -> None:
    """Commit and deliver a definition, as its workflow does before documents and nodes follow."""
    pipeline = assemble(installation.stores.ports, installation.settings)
    command = define(definition)
    committed = await pipeline.committer.commit(command, occurred_at=NOON, trace=Trace())
    assert committed.result.sequence_number is not None
    await pipeline.deliverer.project_or_park(command.aggregate_id, committed.result.sequence_number, Trace())
    await installation.stores.ports.statuses.complete_command(
        final_status(committed.result, command_type=command.command_type, steps=[])
    )
    await pipeline.close()


async def _close_and_die(installation: Installation) -> None:
    """Bring documents along up to where the old index is closed, and no further."""

    class Died(Exception):
        """The attempt is gone."""

    pages: list[int] = []

    def die(copied: int) -> None:
        pages.append(copied)
        if len(pages) == 2:  # the first page after the old index was closed
            raise Died

    pipeline = assemble(installation.stores.ports, installation.settings)
    with pytest.raises(Died):
        await pipeline.reindexer.run(CLASS, progress=die)
    await pipeline.close()


async def _index(installation: Installation) -> tuple[str, bool]:
    current = await installation.stores.ports.indices.current_index(CLASS)
    assert current is not None
    return current.name.rpartition(".")[2], current.closed


async def test_class_stuck_by_a_terminated_definition_is_released(installation: Installation):
    async with installation.worker():
        await installation.client.submit(define(FIRST))
        await asyncio.gather(*(installation.client.submit(create(f"n{one}", {"name": "x"})) for one in range(5)))
        await _define(installation, SECOND)
        await _close_and_die(installation)
        assert await _index(installation) == ("d000001", True)
        waiting = await _start(installation, update("n1", {"maker": "acme"}))
        await until_pending(waiting)
        looked = await _check(installation, repair=False)
        places = {finding.place: finding.what for finding in looked.tally.findings}
        assert (looked.outcome, looked.tally.reindexed) == (CheckOutcome.FOUND, 0)
        assert "closed for writing" in places["class shop/Product"]
        report = await _check(installation, db_name="shop", class_id="Product")
        assert (report.tally.reindexed, report.tally.damaged) == (1, 0)
        assert report.outcome in (CheckOutcome.REPAIRED, CheckOutcome.UNFINISHED)
        assert await _index(installation) == ("d000002", False)
        async with asyncio.timeout(120):  # it waits between two attempts
            assert (await waiting.result()).outcome is Outcome.APPLIED
        await _nothing_incomplete(installation)
    nodes = await installation.stores.ports.graph.read_nodes(
        [AggregateId("shop", "Product", f"n{one}") for one in range(5)]
    )
    assert {node.definition_sequence for node in nodes if node} == {2}


async def test_nodes_follow_a_definition_whose_workflow_was_terminated(installation: Installation):
    async with installation.worker():
        await installation.client.submit(define(FIRST))
        await installation.client.submit(create("lamp", {"name": "Lamp", "maker": "acme"}))
        await _define(installation, {**FIRST, "version": "1.0.1"})
        looked = await _check(installation, repair=False)
        assert [finding.what for finding in looked.tally.findings] == [
            "head 1, shown in: graph at version 1 under an earlier definition"
        ]
        report = await _check(installation)
        assert (report.outcome, report.tally.projected, report.tally.reindexed) == (CheckOutcome.REPAIRED, 1, 0)
        await _nothing_incomplete(installation)


async def test_definition_and_checks_reindex_at_the_same_time(installation: Installation):
    ports = installation.stores.ports
    async with installation.worker():
        await installation.client.submit(define(FIRST))
        await asyncio.gather(*(installation.client.submit(create(f"n{one}", {"name": "x"})) for one in range(20)))
    await _define(installation, SECOND)
    async with await Stores.connect(installation.settings) as theirs:
        living = assemble(theirs.ports, installation.settings)
        ours = assemble(ports, installation.settings)
        sweeps = assemble_reconcilers(ours, ports, TemporalWorkflows(installation.temporal))

        async def bring_along() -> None:
            await living.reindexer.run(CLASS)
            await living.graph_rebuilder.run(CLASS)

        async def sweep() -> None:
            tally = await sweeps.classes.page((await ports.catalogue.classes(db_name="shop")).items, ANY_AGE)
            tally += await sweeps.aggregates.page((await ports.catalogue.listed_streams()).items, ANY_AGE)
            assert tally.damaged == 0

        await asyncio.gather(bring_along(), sweep())
        await living.close()
        await ours.close()
    assert await _index(installation) == ("d000002", False)
    async with installation.worker():
        await _check(installation)
        await _nothing_incomplete(installation)


async def test_pinned_index_is_left_alone(installation: Installation):
    indices = installation.stores.elasticsearch.client.indices
    async with installation.worker():
        await installation.client.submit(define(FIRST))
        await installation.client.submit(create("lamp", {"name": "Lamp"}))
        await installation.client.submit(define(SECOND))
        alias = installation.settings.named("instances.shop.product")
        old, new = f"{alias}.d000001", f"{alias}.d000002"
        pin = installation.settings.named("pinned.shop.product")
        await indices.put_settings(index=old, settings={"index.blocks.write": None})
        await indices.update_aliases(
            actions=[
                {"remove": {"index": new, "alias": alias}},
                {"add": {"index": old, "alias": alias, "is_write_index": True}},
                {"add": {"index": old, "alias": pin}},
            ]
        )
        assert (await _check(installation)).outcome is CheckOutcome.CLEAN
        assert await _index(installation) == ("d000001", False)
        await indices.delete_alias(index=old, name=pin)
        report = await _check(installation)
        assert (report.outcome, report.tally.reindexed) == (CheckOutcome.REPAIRED, 1)
        assert await _index(installation) == ("d000002", False)
        await _nothing_incomplete(installation)


async def test_unreadable_node_is_reported_and_holds_up_no_other(installation: Installation):
    elasticsearch = installation.stores.elasticsearch.client
    async with installation.worker():
        for name in ("behind", "spoilt"):
            await installation.client.submit(create(name))
        graph = installation.settings.named("graph.shop")
        await elasticsearch.index(index=graph, id="Product/spoilt", document={"aggregate_id": "shop/Product/spoilt"})
        pipeline = assemble(installation.stores.ports, installation.settings)
        await pipeline.committer.commit(update("behind"), occurred_at=NOON, trace=Trace())
        report = await _check(installation, db_name="shop", class_id="Product")
        assert (report.outcome, report.tally.damaged) == (CheckOutcome.DAMAGED, 1)
        (shown,) = await installation.stores.ports.graph.read_nodes([AggregateId("shop", "Product", "behind")])
        assert shown is not None
        assert shown.sequence_number == 2
    verified = await verify(sources_of(installation.stores, installation.settings), in_flight=nothing_in_flight)
    assert {(finding.code, finding.where) for finding in verified.findings} == {
        (Code.NODE_WRONG, "node shop/Product/spoilt")
    }


async def _scheduled_report(installation: Installation) -> CheckReport:
    handle = installation.temporal.get_schedule_handle(installation.settings.named(CHECK))
    async with asyncio.timeout(60):
        while not (actions := (await handle.describe()).info.recent_actions):
            await asyncio.sleep(0.1)
    started = actions[-1].action
    checks = Checks(installation.temporal, installation.settings)
    assert isinstance(started, ScheduleActionExecutionStartWorkflow)
    return await checks.result(started.workflow_id)


async def test_a_check_is_attached_to_by_its_id(installation: Installation):
    checks = Checks(installation.temporal, installation.settings)
    check_id = await checks.start(CheckRequest(grace_s=0))
    async with installation.worker(), asyncio.timeout(60):
        reports = [report async for report in checks.follow(check_id)]
        again = [report async for report in checks.follow(check_id)]
    assert reports[-1] == again[-1]
    assert reports[-1].outcome is CheckOutcome.CLEAN
    with pytest.raises(CommandUnknown):
        await checks.result("no-such-check")


async def test_the_command_line_looks_repairs_and_attaches(installation: Installation):
    async with installation.worker():
        await installation.client.submit(create("before"))
        await _orphan(installation, create())
        found = await _oncelog(installation, "check", "--grace-s", "0", "--json")
        assert (found[0], '"outcome": "FOUND"' in found[1]) == (1, True)
        code, output, said = await _oncelog(installation, "check", "--repair", "--grace-s", "0")
        assert (code, "REPAIRED" in output) == (0, True)
        check_id = said.partition("--attach ")[2].split()[0]
        attached = await _oncelog(installation, "check", "--attach", check_id)
        assert (attached[0], attached[1]) == (0, output)
        assert (await _oncelog(installation, "check", "--attach", "no-such-check"))[0] == 1
        assert (await _oncelog(installation, "check", "--class", "Product"))[0] == 2
        await _nothing_incomplete(installation)


async def _oncelog(installation: Installation, *arguments: str) -> tuple[int, str, str]:
    variables: Mapping[str, str] = {**installation.variables, "TEMPORAL_NAMESPACE": installation.temporal.namespace}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", "from oncelog.cli import main; main()", *arguments),
        env=variables,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        output, said = await process.communicate()
    return process.returncode or 0, output.decode(), said.decode()
