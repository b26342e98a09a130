"""The story of one command, on an instance or on a class."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from temporalio import workflow
from temporalio.common import RawValue, SearchAttributeUpdate
from temporalio.exceptions import ActivityError, FailureError

with workflow.unsafe.imports_passed_through():
    from oncelog.activities.command import CommandActivities
    from oncelog.activities.models import CommitReport, CommitRequest, DeliverRequest, ReindexRequest
    from oncelog.domain.commands import CLASS_COMMANDS, Command, CommandType, parse_command
    from oncelog.domain.events import rfc3339
    from oncelog.domain.results import CommandResult, Outcome
    from oncelog.errors import InputInvalid
    from oncelog.replay.trace import StepReport
    from oncelog.workflows import policies
    from oncelog.workflows.arguments import check_own_id, decoded, invalid_command, judged
    from oncelog.workflows.attributes import (
        AGGREGATE_ID,
        CLASS_ID,
        COMMAND_OUTCOME,
        COMMAND_TYPE,
        DB_NAME,
        SEQUENCE_NUMBER,
        lacking,
    )
    from oncelog.workflows.details import checklist, outcome_line

if TYPE_CHECKING:
    CommandArgument = Command | dict[str, Any]
else:
    # At run time the payload arrives undecoded: decoding it before ``run`` would let rubbish fail the workflow task
    # for ever, where the contract promises an answer.
    CommandArgument = RawValue


class CommandWorkflow:
    """The common part of the workflows of all commands on one aggregate. ``of_classes``: whether it accepts those."""

    of_classes: ClassVar[bool]

    def __init__(self) -> None:
        self._committed: CommandResult | None = None
        self._asked_early = False
        self._steps: list[StepReport] = []
        self._handed_over: dict[str, str] = {}

    async def _run(self, command: Any) -> CommandResult:
        try:
            accepted = _accepted(command, of_classes=self.of_classes)
        except InputInvalid as error:
            self._committed = invalid_command(error)
            return self._committed
        story = asyncio.create_task(self._story(accepted))
        try:
            return await asyncio.shield(story)
        except asyncio.CancelledError:
            # A cancellation cannot undo a record that may exist already: an accepted command goes on to its one end.
            return await story

    @workflow.update
    async def accepted(self) -> CommandResult:
        """Answer as soon as the event is persisted, before it is published and projected."""
        self._asked_early = True
        while (committed := self._committed) is None:
            await workflow.wait_condition(lambda: self._committed is not None)
        return committed

    async def _story(self, command: Command) -> CommandResult:
        report = await self._commit(command)
        self._committed = report.result
        if self._asked_early:
            # Ends this workflow task, which carries the answer; the local activity ahead would hold it back.
            await workflow.sleep(timedelta(milliseconds=1))
        await self._deliver(command, report)
        await self._follow_up(command, report.result)
        self._show(command, report.result)
        await workflow.wait_condition(workflow.all_handlers_finished)
        return report.result

    async def _follow_up(self, command: Command, result: CommandResult) -> None:
        """Do the further work of an applied command of this kind."""

    async def _commit(self, command: Command) -> CommitReport:
        request = CommitRequest(
            command=command.as_json,
            occurred_at=rfc3339(workflow.now()),
            publish=not self._asked_early,
        )
        summary = f"claim, allocate, record, persist, publish {command.aggregate_id}"
        try:
            report = await workflow.execute_local_activity_method(
                CommandActivities.commit_command,
                request,
                start_to_close_timeout=policies.QUICK_COMMIT_TIMEOUT,
                retry_policy=policies.ONCE,
                summary=summary,
            )
        except FailureError as error:
            self._hand_over(command, {"commit": _reason(error)})
            report = await workflow.execute_activity_method(
                CommandActivities.commit_command,
                request,
                start_to_close_timeout=policies.STEP_TIMEOUT,
                retry_policy=policies.UNTIL_DONE,
                summary=summary,
            )
            self._handed_over.clear()
        self._steps += report.steps
        return report

    async def _deliver(self, command: Command, report: CommitReport) -> None:
        request = self._delivery(command, report)
        try:
            delivered = await workflow.execute_local_activity_method(
                CommandActivities.deliver_event,
                request,
                start_to_close_timeout=policies.QUICK_DELIVERY_TIMEOUT,
                retry_policy=policies.ONCE,
                summary=f"project, complete {command.aggregate_id}",
            )
            self._steps += delivered.steps
            failures = delivered.failures
        except FailureError as error:
            left = ("project",) if report.published else ("publish", "project")
            failures = dict.fromkeys(left if report.result.outcome is Outcome.APPLIED else (), _reason(error))
            failures = failures or {"complete": _reason(error)}
        if failures:
            self._hand_over(command, failures)
            await asyncio.gather(*(self._take_over(name, request) for name in failures if name != "complete"))
            await self._take_over("complete", self._delivery(command, report))

    async def _take_over(self, name: str, request: DeliverRequest) -> None:
        """Do one step as an activity that people can see, for as long as it takes."""
        self._steps += await workflow.execute_activity_method(
            _TAKEN_OVER[name],
            request,
            start_to_close_timeout=policies.STEP_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"{name} {request.result.aggregate_id} {request.result.sequence_number or ''}",
        )
        self._handed_over.pop(name, None)

    def _delivery(self, command: Command, report: CommitReport) -> DeliverRequest:
        return DeliverRequest(
            command_type=command.command_type,
            result=report.result,
            published=report.published,
            steps=self._steps,
        )

    def _hand_over(self, command: Command, failures: dict[str, str]) -> None:
        self._handed_over = dict(failures)
        workflow.set_current_details(checklist(str(command.aggregate_id), self._steps, self._handed_over))
        workflow.upsert_search_attributes(_identity(command))

    def _show(self, command: Command, result: CommandResult) -> None:
        workflow.set_current_details(checklist(outcome_line(result), self._steps, self._handed_over))
        updates = [*_identity(command), COMMAND_OUTCOME.value_set(result.outcome)]
        if result.sequence_number:
            updates.append(SEQUENCE_NUMBER.value_set(result.sequence_number))
        workflow.upsert_search_attributes(updates)


@workflow.defn
class InstanceCommand(CommandWorkflow):
    """CREATE_INSTANCE, UPDATE_INSTANCE, DELETE_INSTANCE or one of an own aggregate; the workflow ID is its ID."""

    of_classes = False

    @workflow.run
    async def run(self, command: CommandArgument = None) -> CommandResult:  # type: ignore[assignment]
        return await self._run(command)


@workflow.defn
class ClassCommand(CommandWorkflow):
    """DEFINE_CLASS or RETIRE_CLASS; the workflow ID is the command ID.

    A definition's command ends when readers see its class's documents under it.
    """

    of_classes = True

    @workflow.run
    async def run(self, command: CommandArgument = None) -> CommandResult:  # type: ignore[assignment]
        return await self._run(command)

    async def _follow_up(self, command: Command, result: CommandResult) -> None:
        if command.command_type is not CommandType.DEFINE_CLASS or result.sequence_number is None:
            return
        workflow.upsert_search_attributes(_identity(command))
        self._steps += await workflow.execute_activity_method(
            CommandActivities.reindex_class,
            ReindexRequest(class_name=str(command.aggregate_id), sequence_number=result.sequence_number),
            start_to_close_timeout=policies.REINDEX_TIMEOUT,
            heartbeat_timeout=policies.REINDEX_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"reindex {command.db_name}/{command.class_id} {result.sequence_number}",
        )


_TAKEN_OVER = {
    "publish": CommandActivities.publish_event,
    "project": CommandActivities.project_event,
    "complete": CommandActivities.complete_command,
}


def _accepted(argument: Any, *, of_classes: bool) -> Command:
    """Return the command, or raise InputInvalid for anything that is none, or that runs under another's ID."""
    command = judged(parse_command, decoded(argument, what="command"))
    if (command.command_type in CLASS_COMMANDS) != of_classes:
        kinds = CLASS_COMMANDS if of_classes else frozenset(CommandType) - CLASS_COMMANDS
        raise InputInvalid(
            f"command {command.command_id}: expected one of {', '.join(sorted(kinds))} for the workflow "
            f"{workflow.info().workflow_type}, found {command.command_type}; start it as another"
        )
    check_own_id(command.command_id)
    return command


def _reason(error: FailureError) -> str:
    """Return why a local activity failed: its own error, which comes bare or wrapped in an ActivityError."""
    return str(error.cause if isinstance(error, ActivityError) and error.cause else error)


def _identity(command: Command) -> list[SearchAttributeUpdate[Any]]:
    """Return the search attributes that identify a command, less those its starter has set already."""
    wanted = {
        DB_NAME: command.db_name,
        CLASS_ID: command.class_id,
        AGGREGATE_ID: str(command.aggregate_id),
        COMMAND_TYPE: str(command.command_type),
    }
    return lacking(wanted)
