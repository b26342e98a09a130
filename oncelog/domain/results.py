"""The result of a command: applied, or rejected with a reason."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class Outcome(StrEnum):
    APPLIED = "APPLIED"
    REJECTED = "REJECTED"


class RejectionCode(StrEnum):
    INVALID_COMMAND = "InvalidCommand"
    COMMAND_ID_REUSED = "CommandIdReused"
    INSTANCE_EXISTS = "InstanceExists"
    INSTANCE_NOT_FOUND = "InstanceNotFound"
    INSTANCE_DELETED = "InstanceDeleted"
    VERSION_CONFLICT = "VersionConflict"
    PAYLOAD_INVALID = "PayloadInvalid"
    CLASS_RETIRED = "ClassRetired"
    SCHEMA_INCOMPATIBLE = "SchemaIncompatible"
    UNIQUE_VIOLATED = "UniqueViolated"
    REFERENCE_NOT_FOUND = "ReferenceNotFound"


#: A rejection's code: built in, or of an aggregate of one's own, such as ``CreditExceeded``.
RejectionCodeName = Annotated[RejectionCode | str, Field(union_mode="left_to_right")]


class Rejection(BaseModel):
    """Why a command was refused; an answer, not a failure."""

    model_config = ConfigDict(frozen=True)

    code: RejectionCodeName
    message: str
    details: dict[str, Any] = Field(default_factory=dict)


class CommandResult(BaseModel):
    """The first and only answer to a command; every duplicate reads the same one."""

    model_config = ConfigDict(frozen=True)

    command_id: str | None
    command_hash: str | None
    outcome: Outcome
    aggregate_id: str | None = None
    sequence_number: int | None = None
    event_id: str | None = None
    consistency_token: str | None = None
    rejection: Rejection | None = None


def reused_id(command_id: str, *, first_hash: str | None, found_hash: str) -> Rejection:
    """Return why a command ID that was used before with other content is refused."""
    message = (
        f"command {command_id}: was used before with other content (hash {first_hash}, found {found_hash}); "
        "give the new command an ID of its own"
    )
    details = {"expected_hash": first_hash, "found_hash": found_hash}
    return Rejection(code=RejectionCode.COMMAND_ID_REUSED, message=message, details=details)
