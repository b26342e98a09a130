"""The workflow of a command with its activities, told again each time an attempt begins."""

from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from typing import TypeVar

from temporalio.testing import ActivityEnvironment

from oncelog.activities.bulk import BulkActivities
from oncelog.activities.bulk_models import (
    BulkCloseRequest,
    BulkDeliverRequest,
    BulkFinishRequest,
    BulkOpenRequest,
    BulkRunRequest,
)
from oncelog.activities.command import CommandActivities
from oncelog.activities.models import CommitReport, CommitRequest, DeliverRequest
from oncelog.bulk.run import Progress
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.records import Closed
from oncelog.domain.commands import Command
from tests.machine.observer import Observer
from tests.write.world import Process

Request = TypeVar("Request")
Found = TypeVar("Found")


class Stories:
    """Every answer is told to the observer, as soon as a client would have it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._heard: dict[tuple[str, int], Progress] = {}  # by command and where its run began; the last report counts

    async def of(
        self, process: Process, command: Command | Bulk, *, number: int = 0, quick: bool = True, closing: bool = False
    ) -> None:
        """One attempt, the ``number``-th.

        ``quick`` publishes in the command's turn, or goes on from where an earlier attempt at a bulk command was heard
        of. ``closing`` ends a bulk command before its next chunk.
        """
        occurred_at = f"2026-01-01T12:00:{number:02d}.000000Z"
        if isinstance(command, Command):
            await self._single(process, command, occurred_at=occurred_at, publish=quick)
        else:
            await self._bulk(process, command, occurred_at=occurred_at, resuming=quick, closing=closing)

    async def _single(self, process: Process, command: Command, *, occurred_at: str, publish: bool) -> None:
        """``InstanceCommand``: commit, deliver, and whatever is left by an activity of its own."""
        steps = CommandActivities(process.pipeline, process.ports.statuses)
        sent = command.model_dump(mode="json", exclude_none=True)
        report = await steps.commit_command(CommitRequest(command=sent, occurred_at=occurred_at, publish=publish))
        report = CommitReport.model_validate_json(report.model_dump_json())
        self._observer.answers(command, report.result)
        request = DeliverRequest(
            command_type=command.command_type, result=report.result, published=report.published, steps=report.steps
        )
        delivered = await steps.deliver_event(request)
        left = {"publish": steps.publish_event, "project": steps.project_event, "complete": steps.complete_command}
        for name in delivered.failures:
            await left[name](request)

    async def _bulk(self, process: Process, bulk: Bulk, *, occurred_at: str, resuming: bool, closing: bool) -> None:
        """``BulkCommand``: open, run through chunks or close, deliver what was left for later, finish."""
        steps, command_id = BulkActivities(process.pipeline, process.ports.statuses), bulk.command_id
        opening = BulkOpenRequest(command=bulk.as_json, occurred_at=occurred_at)
        opened = await self._activity(steps.open_bulk, opening)
        if opened.result is not None:
            self._observer.answers_bulk(bulk, opened.result)
            return
        progress, backlog = Progress(next_chunk=1), list[int]()
        while progress.closed is None and progress.next_chunk <= opened.chunks:
            if closing:
                close = BulkCloseRequest(command_id=command_id, progress=progress, reason=Closed.CANCELLED)
                done = await self._activity(steps.close_bulk, close)
            else:
                run = BulkRunRequest(command_id=command_id, progress=progress)
                done = await self._run_chunks(steps, run, resuming=resuming)
            backlog += done.undelivered
            progress = replace(done, undelivered=())
        while backlog:
            backlog = await self._activity(
                steps.deliver_chunks, BulkDeliverRequest(command_id=command_id, chunks=backlog)
            )
        result = await self._activity(steps.finish_bulk, BulkFinishRequest(command_id=command_id))
        self._observer.answers_bulk(bulk, result)

    async def _run_chunks(self, steps: BulkActivities, run: BulkRunRequest, *, resuming: bool) -> Progress:
        """Heartbeats go to further attempts at the very same run."""
        place = (run.command_id, run.progress.next_chunk)
        environment = ActivityEnvironment()
        environment.on_heartbeat = lambda progress: self._heard.update({place: progress})
        if resuming and place in self._heard:
            environment.info = replace(environment.info, heartbeat_details=[asdict(self._heard[place])])
        return await environment.run(steps.run_chunks, run)

    async def _activity(self, activity: Callable[[Request], Awaitable[Found]], request: Request) -> Found:
        return await ActivityEnvironment().run(activity, request)
