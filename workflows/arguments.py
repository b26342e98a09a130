"""Arguments as they arrive: undecoded, so that rubbish is answered instead of failing the workflow task for ever."""

from typing import Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from factline.errors import InputInvalid

#: Given to a workflow in place of several arguments.
SURPLUS = "surplus arguments"


def decoded(argument: Any, *, what: str) -> Any:
    """Return the JSON value that a workflow was given; raises InputInvalid for anything that is none."""
    if not isinstance(argument, RawValue):
        raise InputInvalid(f"{what}: expected one JSON object as the only argument of the workflow")
    try:
        return workflow.payload_converter().from_payload(argument.payload)
    except Exception as error:
        encoding = argument.payload.metadata.get("encoding", b"")[:40]
        raise InputInvalid(
            f"{what}: expected a JSON object, found an unreadable payload ({encoding!r}): {error}"
        ) from error
