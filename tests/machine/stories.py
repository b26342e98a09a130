"""What a command's workflow does with its activities, told again each time an attempt begins."""

from activities.command import CommandActivities
from activities.models import CommitReport, CommitRequest, DeliverRequest
from factline.domain.bulk.command import Bulk
from factline.domain.bulk.results import BulkResult
from factline.domain.commands import Command
from factline.pipeline.bulk.running import Progress
from factline.pipeline.trace import Trace
from tests.machine.observer import Observer
from tests.pipeline.bulks import Attempt
from tests.pipeline.world import NOON, Process


class Stories:
    """Every answer is told to the observer, as soon as a client would have it."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer

    async def of(
        self, process: Process, command: Command | Bulk, *, number: int = 0, publish: bool = True, closing: bool = False
    ) -> None:
        """One attempt, the ``number``-th; ``closing`` ends a bulk command before its next chunk."""
        if isinstance(command, Command):
            await self._single(process, command, number=number, publish=publish)
        elif closing:
            await self._closing(process, command)
        else:
            await self._bulk(process, command)

    async def _single(self, process: Process, command: Command, *, number: int, publish: bool) -> None:
        """``InstanceCommand``: commit, deliver, and whatever is left by an activity of its own."""
        steps = CommandActivities(process.pipeline, process.ports.statuses)
        sent = command.model_dump(mode="json", exclude_none=True)
        occurred_at = f"2026-01-01T12:00:{number:02d}.000000Z"
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

    async def _bulk(self, process: Process, bulk: Bulk) -> None:
        """``BulkCommand``: open, run, deliver what was left, report; going on with what it has heard."""
        attempt = Attempt(process)
        answer = await attempt.run(bulk)
        while not isinstance(answer, BulkResult):
            answer = await attempt.run(bulk, answer)
        self._observer.answers_bulk(bulk, answer)

    async def _closing(self, process: Process, bulk: Bulk) -> None:
        opened = await process.pipeline.bulk.opener.open(bulk, occurred_at=NOON, trace=Trace())
        answer = opened.result or await Attempt(process).close(bulk, Progress(next_chunk=1))
        self._observer.answers_bulk(bulk, answer)
