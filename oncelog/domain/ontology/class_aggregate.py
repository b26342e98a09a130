"""The class aggregate: the decisions on DEFINE_CLASS and RETIRE_CLASS.

Its state is an ``Instance`` like any other, of the class of classes: ``data`` is the definition as it was asked for,
and ``deleted`` says that the class is retired. A retired class keeps its last definition: its instances stay as they
are, may still be deleted, and a later definition must follow from it.
"""

from collections.abc import Sequence

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.commands import CommandType
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import EVENTS, Change, Instance, decided_event, made_event
from oncelog.domain.ontology.class_schema import ClassSchema, TakesLongError, check_haste
from oncelog.domain.ontology.compatibility import constraint_breaks, relationship_breaks, schema_breaks
from oncelog.domain.ontology.definition import ClassDefinition, parse_definition
from oncelog.domain.ontology.explanation import Finding
from oncelog.domain.ontology.migrated_schema import migrated_schema
from oncelog.domain.refusals import version_conflict
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import InputInvalid

#: Definitions up to this size are looked at and compared at once.
HURRIED_BYTES = 1024


def decide(
    state: Instance,
    change: Change,
    *,
    occurred_at: str,
    class_schema: ClassSchema | None = None,  # noqa: ARG001 - a class is of no class
    accepted: bool = False,
    hurried: bool = False,
) -> Event | Rejection:
    """Return the event that the change makes of this class, or why it makes none.

    ``accepted``: a record says that it was accepted on this very state, so the definition is not judged again.
    """
    if hurried:
        _check_haste(state, change)
    refusal = version_conflict(state, change)
    if not refusal and change.command_type is CommandType.RETIRE_CLASS:
        refusal = _not_to_be_retired(state)
    elif not refusal and not accepted:
        refusal = _not_to_be_defined(state, change)
    return refusal or made_event(
        state,
        change,
        decided=decided_event(change, effect=EVENTS[change.command_type][1], data=change.payload),
        definition=None,
        occurred_at=occurred_at,
    )


def _check_haste(state: Instance, change: Change) -> None:
    """Raise TakesLongError unless two definitions are small, and have no patterns that would have to be compiled."""
    class_schemas = [state.data, change.payload]
    check_haste(*class_schemas, bytes_max=HURRIED_BYTES)
    if b'"pattern' in canonical_bytes(class_schemas):
        raise TakesLongError


def _not_to_be_retired(state: Instance) -> Rejection | None:
    found = {"found_version": state.sequence_number}
    if state.sequence_number == 0:
        message = f"class {state.aggregate_id}: was never defined; there is nothing to retire"
        return Rejection(code=RejectionCode.INSTANCE_NOT_FOUND, message=message, details=found)
    if state.deleted:
        message = f"class {state.aggregate_id}: is retired since version {state.sequence_number}"
        return Rejection(code=RejectionCode.CLASS_RETIRED, message=message, details=found)
    return None


def _not_to_be_defined(state: Instance, change: Change) -> Rejection | None:
    try:
        new = parse_definition(change.payload, class_id=AggregateId.parse(state.aggregate_id).instance_key)
    except InputInvalid as error:
        message = f"class {state.aggregate_id}: {error.message}"
        return Rejection(code=RejectionCode.PAYLOAD_INVALID, message=message, details=error.details)
    if state.sequence_number == 0:
        return None
    old = ClassDefinition.model_validate(state.data)
    problem: str | None
    breaks: Sequence[Finding]
    if not state.deleted and old.says(change.payload):
        same = f"is defined just so since version {state.sequence_number}, as {old.version}; there is nothing to do"
        problem, breaks = f"{same} (class define --if-changed asks first)", ()
    else:
        problem, breaks = _follows(old, new)
    if problem is None:
        return None
    listed = "; ".join(f"{each['at'] or 'schema'}: {each['problem']}" for each in breaks[:3])
    message = f"class {state.aggregate_id}: {problem}" + (f": {listed}" if listed else "")
    details = {"old_version": old.version, "new_version": new.version, "breaks": list(breaks)}
    return Rejection(code=RejectionCode.SCHEMA_INCOMPATIBLE, message=message, details=details)


def _follows(old: ClassDefinition, new: ClassDefinition) -> tuple[str | None, Sequence[Finding]]:
    """Return why the new definition cannot follow the old one, and the findings; None if it can."""
    if changed := constraint_breaks(old, new):
        return "a unique constraint keeps its meaning; give another meaning another name", changed
    if new.semantic_version <= old.semantic_version:
        return f"expected a version above {old.version}, found {new.version}; give the new definition a higher one", ()
    if new.semantic_version.major == old.semantic_version.major:
        if new.migration:
            return f"{new.version} migrates data, which only a new MAJOR may; name it {_next_major(old)}", ()
        breaks = [*schema_breaks(old.json_schema, new.json_schema), *relationship_breaks(old, new)]
        if breaks:
            return (
                f"{new.version} breaks what {old.version} allowed; mend it, or name it {_next_major(old)} and say in "
                "'migration' how data gets there",
                breaks,
            )
        return None, ()
    try:
        reached = migrated_schema(old.json_schema, new.migration)
    except InputInvalid as error:
        return f"the migration from {old.version} cannot be followed: {error.message}", ()
    breaks = schema_breaks(reached, new.json_schema)
    if breaks:
        return f"{new.version} breaks what {old.version} allowed, and its migration does not mend it", breaks
    return None, ()


def _next_major(definition: ClassDefinition) -> str:
    return f"{definition.semantic_version.major + 1}.0.0"
