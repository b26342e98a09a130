"""Arguments as they arrive: undecoded, so that rubbish is answered instead of failing the workflow task for ever."""

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from factline.domain.canonical import parse_unchecked
    from factline.domain.results import CommandResult, Outcome, Rejection, RejectionCode
    from factline.errors import InputInvalid

#: Given to a workflow in place of several arguments.
SURPLUS = "surplus arguments"


def decoded(argument: Any, *, what: str) -> Any:
    """Return the JSON value that a workflow was given; raises InputInvalid for anything that is none."""
    if not isinstance(argument, RawValue):
        raise InputInvalid(f"{what}: expected one JSON object as the only argument of the workflow")
    if argument.payload.metadata.get("encoding") == b"json/plain":
        # The converter would keep the last of two equal keys, and round a number that no double holds.
        return parse_unchecked(argument.payload.data, where=what)
    try:
        return workflow.payload_converter().from_payload(argument.payload)
    except Exception as error:
        encoding = argument.payload.metadata.get("encoding", b"")[:40]
        raise InputInvalid(
            f"{what}: expected a JSON object, found an unreadable payload ({encoding!r}): {error}"
        ) from error


def check_own_id(command_id: str) -> None:
    """Raise InputInvalid unless the command runs under its own ID: else it would not be exactly once."""
    workflow_id = workflow.info().workflow_id
    if command_id != workflow_id:
        raise InputInvalid(
            f"command {command_id}: expected the workflow ID to be the command ID, found {workflow_id[:140]}; "
            "start it with id=command_id, or it would not be exactly once"
        )


def invalid_command(error: InputInvalid) -> CommandResult:
    """Return the answer to what is no command, or runs under another's ID."""
    rejection = Rejection(code=RejectionCode.INVALID_COMMAND, message=error.message, details=error.details)
    return CommandResult(
        command_id=workflow.info().workflow_id, command_hash=None, outcome=Outcome.REJECTED, rejection=rejection
    )
