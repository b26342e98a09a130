"""The story of one bulk command."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ActivityError, is_cancelled_exception
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from pydantic import ValidationError

    from oncelog.activities.bulk import BulkActivities
    from oncelog.activities.bulk_models import (
        BulkCloseRequest,
        BulkContinuation,
        BulkDeliverRequest,
        BulkFinishRequest,
        BulkOpened,
        BulkOpenRequest,
        BulkRunRequest,
        BulkStage,
        BulkView,
    )
    from oncelog.bulk.run import Progress
    from oncelog.domain.bulk.command import Bulk, parse_bulk
    from oncelog.domain.bulk.records import Closed
    from oncelog.domain.bulk.results import BulkResult, Counts
    from oncelog.domain.events import rfc3339
    from oncelog.errors import InputInvalid
    from oncelog.workflows import policies
    from oncelog.workflows.arguments import check_own_id, decoded, invalid_command, judged
    from oncelog.workflows.attributes import CLASS_ID, COMMAND_OUTCOME, COMMAND_TYPE, DB_NAME, lacking
    from oncelog.workflows.details import bulk_sheet

if TYPE_CHECKING:
    BulkArgument = Bulk | dict[str, Any] | BulkContinuation
else:
    BulkArgument = RawValue  # arrives undecoded; see InstanceCommand

#: How many chunks at a time are delivered later, and how many runs of chunks one run of the workflow has.
CHUNKS_PER_DELIVERY_MAX = 100


@workflow.defn
class BulkCommand:
    """BULK_CREATE_INSTANCES, BULK_UPDATE_INSTANCES or BULK_DELETE_INSTANCES; the workflow ID is the command ID.

    The signals ``pause`` and ``resume`` stop it between two chunks and let it go on; a request to cancel ends it there.
    """

    def __init__(self) -> None:
        self._state: BulkContinuation | None = None
        self._backlog: list[int] = []
        self._stage = BulkStage.OPENING
        self._paused = False
        self._cancelled = False
        self._segments = 0
        self._running: workflow.ActivityHandle[Progress] | None = None
        self._delivering: asyncio.Task[None] | None = None

    @workflow.run
    async def run(self, command: BulkArgument = None) -> BulkResult:  # type: ignore[assignment]
        try:
            accepted = _accepted(command)
        except InputInvalid as error:
            refused = invalid_command(error)
            return BulkResult(**dict(refused), counts=Counts())
        story = asyncio.create_task(self._story(accepted))
        while True:
            try:
                return await asyncio.shield(story)
            except asyncio.CancelledError:
                if story.done():
                    raise
                self._cancelled = True
                self._interrupt()

    @workflow.signal
    def pause(self) -> None:
        """Stop before the next chunk, until told to resume."""
        self._paused = True
        self._interrupt()

    @workflow.signal
    def resume(self) -> None:
        """Go on."""
        self._paused = False

    @workflow.query
    def progress(self) -> BulkView:
        """Answer with how far it has come; the heartbeats of the activity under way know a little more."""
        state = self._state
        if state is None:
            return BulkView(stage=self._stage)
        done = state.progress
        stage = self._stage
        if self._paused and stage is BulkStage.RUNNING:
            stage = BulkStage.PAUSING if self._running else BulkStage.PAUSED
        return BulkView(
            stage=stage,
            counts=Counts(items=state.items, applied=done.applied, rejected=done.rejected),
            chunks=state.chunks,
            chunks_done=done.next_chunk - 1,
            undelivered=len(self._backlog),
            durations_ms=done.durations_ms,
        )

    async def _story(self, accepted: Bulk | BulkContinuation) -> BulkResult:
        if isinstance(accepted, BulkContinuation):
            self._state, self._paused = accepted, self._paused or accepted.paused
        else:
            workflow.upsert_search_attributes(lacking(_identity(accepted)))
            opened = await self._open(accepted)
            if opened.result is not None:
                return self._ended(opened.result)
            self._state = _begun(accepted, opened)
        state = self._state
        self._backlog = list(state.backlog)
        self._stage = BulkStage.RUNNING
        while not self._is_over(state) and not self._cancelled:
            if self._paused:
                self._show(state)
                await workflow.wait_condition(lambda: not self._paused or self._cancelled)
                continue
            if self._segments >= policies.BULK_SEGMENTS_PER_RUN or workflow.info().is_continue_as_new_suggested():
                await self._continue_as_new(state)
            state = await self._run_chunks(state)
        if not self._is_over(state):
            state = await self._close(state)
        await self._deliver_all(state)
        return self._ended(await self._finish(state))

    def _is_over(self, state: BulkContinuation) -> bool:
        return state.progress.closed is not None or state.progress.next_chunk > state.chunks

    async def _open(self, bulk: Bulk) -> BulkOpened:
        request = BulkOpenRequest(command=bulk.as_json, occurred_at=rfc3339(workflow.now()))
        return await workflow.execute_activity_method(
            BulkActivities.open_bulk,
            request,
            start_to_close_timeout=policies.BULK_TIMEOUT,
            heartbeat_timeout=policies.BULK_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"open {bulk.command_type} {bulk.db_name}/{bulk.class_id}",
        )

    async def _run_chunks(self, state: BulkContinuation) -> BulkContinuation:
        """Run for a while; undelivered chunks are delivered beside the next run."""
        self._segments += 1
        self._show(state)
        self._running = workflow.start_activity_method(
            BulkActivities.run_chunks,
            BulkRunRequest(command_id=state.command_id, progress=state.progress),
            start_to_close_timeout=policies.BULK_TIMEOUT,
            heartbeat_timeout=policies.BULK_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"chunk {state.progress.next_chunk} of {state.chunks} and on",
        )
        try:
            return self._come_to(state, await self._running)
        except (ActivityError, asyncio.CancelledError) as error:
            if not (is_cancelled_exception(error) and (self._paused or self._cancelled)):
                raise
            return self._come_to(state, state.progress)  # interrupted while it waited for its next attempt
        finally:
            self._running = None

    async def _close(self, state: BulkContinuation) -> BulkContinuation:
        self._stage = BulkStage.CANCELLING
        self._show(state)
        closed = await workflow.execute_activity_method(
            BulkActivities.close_bulk,
            BulkCloseRequest(command_id=state.command_id, progress=state.progress, reason=Closed.CANCELLED),
            start_to_close_timeout=policies.BULK_TIMEOUT,
            heartbeat_timeout=policies.BULK_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"end before chunk {state.progress.next_chunk} of {state.chunks}",
        )
        return self._come_to(state, closed)

    def _come_to(self, state: BulkContinuation, progress: Progress) -> BulkContinuation:
        """Return the state after a run of chunks, and begin to deliver the chunks that it left undelivered."""
        self._backlog += progress.undelivered
        self._state = state.model_copy(update={"progress": replace(progress, undelivered=())})
        self._deliver_later(state.command_id)
        return self._state

    def _deliver_later(self, command_id: str) -> None:
        if self._backlog and self._delivering is None:
            self._delivering = asyncio.create_task(self._deliver(command_id, self._backlog[:CHUNKS_PER_DELIVERY_MAX]))

    async def _deliver(self, command_id: str, chunks: list[int]) -> None:
        """Deliver these chunks as an activity that people can see, for as long as it takes."""
        try:
            left = await workflow.execute_activity_method(
                BulkActivities.deliver_chunks,
                BulkDeliverRequest(command_id=command_id, chunks=chunks),
                start_to_close_timeout=policies.BULK_TIMEOUT,
                heartbeat_timeout=policies.BULK_HEARTBEAT_TIMEOUT,
                retry_policy=policies.UNTIL_DONE,
                cancellation_type=ActivityCancellationType.TRY_CANCEL,
                summary=f"publish, project chunk {chunks[0]} and others left for later",
            )
        finally:
            self._delivering = None
        delivered = set(chunks) - set(left)
        self._backlog = [chunk for chunk in self._backlog if chunk not in delivered]

    async def _deliver_all(self, state: BulkContinuation) -> None:
        self._stage = BulkStage.DELIVERING
        while self._backlog:
            self._show(state)
            self._deliver_later(state.command_id)
            await workflow.wait_condition(lambda: self._delivering is None)

    async def _finish(self, state: BulkContinuation) -> BulkResult:
        self._stage = BulkStage.REPORTING
        self._show(state)
        return await workflow.execute_activity_method(
            BulkActivities.finish_bulk,
            BulkFinishRequest(command_id=state.command_id),
            start_to_close_timeout=policies.BULK_TIMEOUT,
            heartbeat_timeout=policies.BULK_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary="write results and summary",
        )

    async def _continue_as_new(self, state: BulkContinuation) -> None:
        """End this run of the workflow, for its history has grown, and begin the next one where it is."""
        if self._delivering is not None:
            self._delivering.cancel()
            await asyncio.gather(self._delivering, return_exceptions=True)
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(state.model_copy(update={"backlog": self._backlog, "paused": self._paused}))

    def _interrupt(self) -> None:
        if self._running is not None:
            self._running.cancel()

    def _show(self, state: BulkContinuation) -> None:
        view = self.progress()
        workflow.set_current_details(bulk_sheet(f"{state.command_type} {state.db_name}/{state.class_id}", view))
        counts = view.counts
        workflow.upsert_memo({"items": counts.items, "applied": counts.applied, "rejected": counts.rejected})

    def _ended(self, result: BulkResult) -> BulkResult:
        self._stage = BulkStage.DONE
        workflow.set_current_details(bulk_sheet("", self.progress(), result))
        workflow.upsert_search_attributes([COMMAND_OUTCOME.value_set(result.outcome)])
        return result


def _accepted(argument: Any) -> Bulk | BulkContinuation:
    """Return the command, or the state that the run before handed over; raises InputInvalid for anything else."""
    given = decoded(argument, what="command")
    if workflow.info().continued_run_id:
        try:
            return BulkContinuation.model_validate(given)
        except ValidationError as error:
            raise InputInvalid(f"command: expected what the run before hands over: {error}") from error
    bulk = judged(parse_bulk, given)
    check_own_id(bulk.command_id)
    return bulk


def _begun(bulk: Bulk, opened: BulkOpened) -> BulkContinuation:
    return BulkContinuation(
        command_id=bulk.command_id,
        command_type=bulk.command_type,
        db_name=bulk.db_name,
        class_id=bulk.class_id,
        items=opened.items,
        chunks=opened.chunks,
        progress=Progress(next_chunk=1),
        backlog=[],
        paused=False,
    )


def _identity(bulk: Bulk) -> dict[Any, str]:
    return {DB_NAME: bulk.db_name, CLASS_ID: bulk.class_id, COMMAND_TYPE: str(bulk.command_type)}
