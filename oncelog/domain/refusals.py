"""The refusals of a command on an instance, each for one reason."""

from typing import TYPE_CHECKING, Any

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.json_size import indexing_problem
from oncelog.domain.limits import TEXT_BYTES_MAX
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.domain.type_names import CommandType

if TYPE_CHECKING:
    from oncelog.domain.instance import Change, Instance


def version_conflict(state: "Instance", change: "Change") -> Rejection | None:
    """Return the refusal of a command that expects another version than this."""
    if change.expected_version is None or change.expected_version == state.sequence_number:
        return None
    return Rejection(
        code=RejectionCode.VERSION_CONFLICT,
        message=f"aggregate {state.aggregate_id}: expected version {change.expected_version}, found "
        f"{state.sequence_number}; read it again and decide anew",
        details={"expected_version": change.expected_version, "found_version": state.sequence_number},
    )


def owned_refusal(state: "Instance", change: "Change") -> Rejection | None:
    """Return the refusal of a generic command on an instance of an aggregate of one's own.

    Instances that were there before the aggregate go on as they are.
    """
    aggregate = registry().aggregates.get(change.aggregate_id.class_id)
    if state.state_version is None and (aggregate is None or state.sequence_number):
        return None
    commands = ", ".join(model.type_name for model in aggregate.commands) if aggregate else "the commands of its own"
    message = f"aggregate {state.aggregate_id}: its class is that of {aggregate or state.state_version}; use {commands}"
    return Rejection(code=RejectionCode.INVALID_COMMAND, message=message)


def lifecycle_refusal(state: "Instance", change: "Change") -> Rejection | None:
    """Return the refusal of a command that does not fit whether the instance exists."""
    name = f"aggregate {state.aggregate_id}"
    found = {"found_version": state.sequence_number}
    if change.command_type is CommandType.CREATE_INSTANCE:
        if state.exists:
            message = f"{name}: exists at version {state.sequence_number}; use UPDATE_INSTANCE to change it"
            return Rejection(code=RejectionCode.INSTANCE_EXISTS, message=message, details=found)
        return None
    if state.sequence_number == 0:
        message = f"{name}: does not exist; use CREATE_INSTANCE first"
        return Rejection(code=RejectionCode.INSTANCE_NOT_FOUND, message=message, details=found)
    if state.deleted:
        message = f"{name}: was deleted at version {state.sequence_number}; CREATE_INSTANCE makes it anew"
        return Rejection(code=RejectionCode.INSTANCE_DELETED, message=message, details=found)
    return None


def schema_refusal(
    class_schema: ClassSchema | None, data: dict[str, Any], state: "Instance", *, hurried: bool
) -> Rejection | None:
    """Return the refusal of this data by the class schema, with all problems, not only the first; else None."""
    if class_schema is None:
        return None
    if class_schema.retired:
        about = {"definition": class_schema.reference.model_dump()}
        message = f"aggregate {state.aggregate_id}: its class is retired; its instances can be deleted, nothing else"
        return Rejection(code=RejectionCode.CLASS_RETIRED, message=message, details=about)
    findings = class_schema.findings(data, hurried=hurried)
    if not findings:
        return None
    listed = "; ".join(f"{finding['at'] or 'data'}: {finding['problem']}" for finding in findings[:3])
    more = f" and {findings.total - 3}{'' if findings.complete else ' or'} more" if findings.total > 3 else ""
    message = (
        f"aggregate {state.aggregate_id}: its data does not fit version {class_schema.reference.version} of its class: "
        f"{listed}{more}"
    )
    about = {"definition": class_schema.reference.model_dump()}
    details: dict[str, Any] = about | {"errors": list(findings), "errors_count": findings.total}
    if not findings.complete:
        details["errors_complete"] = False
    return Rejection(code=RejectionCode.PAYLOAD_INVALID, message=message, details=details)


def size_refusal(data: dict[str, Any], state: "Instance") -> Rejection | None:
    """Many small patches may add up to more than one document may hold."""
    size_bytes = len(canonical_bytes(data))
    if size_bytes <= TEXT_BYTES_MAX:
        if not (problem := indexing_problem(data, size_bytes=size_bytes)):
            return None
        message = f"aggregate {state.aggregate_id}: its data after the patch: {problem}"
        return Rejection(code=RejectionCode.PAYLOAD_INVALID, message=message)
    message = (
        f"aggregate {state.aggregate_id}: expected at most {TEXT_BYTES_MAX} bytes of data, the patch would make "
        f"{size_bytes}; split it"
    )
    return Rejection(code=RejectionCode.PAYLOAD_INVALID, message=message, details={"size_bytes": size_bytes})
