"""The end of a submitted command, as Temporal or the records in S3 tell it."""

from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass

from temporalio.client import (
    Client,
    WithStartWorkflowOperation,
    WorkflowFailureError,
    WorkflowUpdateFailedError,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.service import RPCError

from oncelog import tracing
from oncelog.client.start_options import run_of, start_options
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import reused_bulk
from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult
from oncelog.errors import CommandFailed
from oncelog.workflows.command import InstanceCommand
from oncelog.write.command_outcomes import CommandOutcomes, reused

ACCEPTED_UPDATE_ID = "accepted"


@dataclass(frozen=True)
class Submission:
    """The answer to a submitted command. ``duplicate``: its ID had been used, and the result is the first one."""

    result: CommandResult
    duplicate: bool


def submission_span(command: Command | Bulk) -> AbstractContextManager[None]:
    """Trace a block that submits the command and waits for its result."""
    aggregate_id = None if isinstance(command, Bulk) else command.aggregate_id
    return tracing.span(
        "submit_command",
        command_id=command.command_id,
        command_type=command.command_type,
        aggregate_id=aggregate_id,
    )


async def persisted(temporal: Client, command: Command, *, task_queue: str) -> CommandResult:
    """Start the command and return its result once its event is persisted; raises Temporal's errors."""
    starting: WithStartWorkflowOperation[InstanceCommand, CommandResult] = WithStartWorkflowOperation(
        run_of(command), command, **start_options(command, task_queue=task_queue)
    )
    try:
        return await temporal.execute_update_with_start_workflow(
            InstanceCommand.accepted, id=ACCEPTED_UPDATE_ID, start_workflow_operation=starting
        )
    except (WorkflowAlreadyStartedError, RPCError, WorkflowUpdateRPCTimeoutOrCancelledError) as error:
        # The operation keeps the error for the awaiter of its handle, and asyncio complains if there is none.
        with suppress(type(error)):
            await starting.workflow_handle()
        raise


async def recorded_or_failed(
    outcomes: CommandOutcomes, command_id: str, error: WorkflowFailureError | WorkflowUpdateFailedError
) -> CommandResult:
    """Return the recorded result of a command with a failed workflow; a consistency check may have finished it.

    Raises CommandFailed where there is none.
    """
    record = await outcomes.last_record(command_id)
    result = await outcomes.result(record) if record else None
    if result is None:
        raise CommandFailed(
            f"command {command_id}: its workflow ended without a result: {error.cause}; a consistency check finishes "
            "it if it came so far as to have a record (oncelog check --repair), else nothing was written, and it is "
            "submitted under an ID of its own; oncelog status tells which",
            command_id=command_id,
        ) from error
    return result


async def own_or_refused(outcomes: CommandOutcomes, command: Command | Bulk, result: CommandResult) -> CommandResult:
    """Return the result if it is this command's. Temporal compares IDs only, so the content is compared here."""
    if result.command_hash == command.hash:
        return result
    record = await outcomes.last_record(command.command_id)
    if record and record.command_hash == command.hash:  # another content came later, when Temporal had forgotten
        recorded = await outcomes.result(record)
        if recorded:
            return recorded
    first = record.command_hash if record else result.command_hash
    return reused_bulk(command, first) if isinstance(command, Bulk) else reused(command, first)
