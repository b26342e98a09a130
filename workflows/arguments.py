"""Arguments as they arrive: undecoded, so that rubbish is answered instead of failing the workflow task for ever."""

from typing import Any, Protocol, TypeVar

from temporalio import workflow
from temporalio.common import RawValue
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from pydantic import BaseModel, ValidationError

    from oncelog.domain.canonical import parse_unchecked
    from oncelog.domain.results import CommandResult, Outcome, Rejection, RejectionCode
    from oncelog.errors import InputInvalid

#: Given to a workflow in place of several arguments.
SURPLUS = "surplus arguments"

#: The rules for input, numbered: a rule that becomes narrower needs the next number.
INPUT_RULES = "input-rules-2"

Parsed = TypeVar("Parsed", covariant=True)
Request = TypeVar("Request", bound="BaseModel")


class Parse(Protocol[Parsed]):
    """Validates any value; ``stored``: the value was accepted before, by the rules of its day."""

    def __call__(self, value: Any, *, stored: bool = False) -> Parsed: ...


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


def accepted(argument: Any, model: type[Request], *, noun: str) -> Request:
    """Return the request of a run, the default where none is given.

    Anything else fails the workflow, visibly and at once.
    """
    try:
        value = None if argument is None else decoded(argument, what=noun)
        return model() if value is None else model.model_validate(value)
    except (InputInvalid, ValidationError) as error:
        raise ApplicationError(f"{noun}: not a request: {error}", type="InputInvalid", non_retryable=True) from error


def judged(parse: Parse[Parsed], value: Any) -> Parsed:
    """Return the parsed value; raises InputInvalid for one that the rules for input refuse.

    A refusal is marked in the history. So a command that an earlier release accepted goes on by the rules of its day.
    """
    try:
        return parse(value)
    except InputInvalid:
        if workflow.patched(INPUT_RULES):
            raise
        return parse(value, stored=True)


def check_own_id(command_id: str) -> None:
    """Raise InputInvalid unless the command runs under its own ID: else it would not be exactly once."""
    workflow_id = workflow.info().workflow_id
    if command_id != workflow_id:
        raise InputInvalid(
            f"command {command_id}: expected the workflow ID to be the command ID, found {workflow_id[:140]}; "
            "start it with id=command_id, or it would not be exactly once"
        )


def invalid_command(error: InputInvalid) -> CommandResult:
    """Return the answer to an argument that is no command, or runs under another's ID."""
    rejection = Rejection(code=RejectionCode.INVALID_COMMAND, message=error.message, details=error.details)
    return CommandResult(
        command_id=workflow.info().workflow_id, command_hash=None, outcome=Outcome.REJECTED, rejection=rejection
    )
