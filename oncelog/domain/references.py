"""References to targets that must exist: references that an event brings in, and the rejection for a missing target.

A reference that was there before is not looked at again, so that an unrelated update is never refused for it. An
instance that refers to itself is there as long as its reference is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from oncelog.domain.aggregates.reading import document_data
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.limits import MISSING_REFERENCES_MAX
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection, RejectionCode

#: By target, None if it exists; else the version of its deletion, or 0 if it never was.
Absences = Mapping[AggregateId, int | None]


class Reference(NamedTuple):
    """A reference by a relationship that says ``must_exist``."""

    relationship: str
    target: AggregateId


def required_references(state: Instance, class_schemas: Iterable[ClassSchema]) -> tuple[Reference, ...]:
    """Return all references of an instance to others that must exist, in order; none of a deleted one.

    ``class_schemas``: of its class; its last event names the one that counts.
    """
    named = (each for each in class_schemas if each.reference == state.definition)
    return tuple(_references_beyond({}, state, next(named, None)))


def references_brought_in(before: Instance, after: Instance, class_schema: ClassSchema | None) -> list[Reference]:
    """Return the references to others that must exist which an event brings in, in order.

    ``before``, ``after``: the states around it. ``class_schema``: named by the event. Data before is read in
    its form, so that a reference is not new because its member was renamed, or because ``must_exist`` was added.
    """
    if class_schema is None or not class_schema.required_relationships:
        return []
    data = class_schema.current(document_data(before), before.definition) if before.exists else {}
    return _references_beyond(data, after, class_schema)


def reference_not_found(state: Instance, references: Sequence[Reference], absences: Absences) -> Rejection | None:
    """Return the rejection of a command that would bring in references, some of which lead to no instance; else None.

    ``state``: of the command's own aggregate. ``absences``: of the targets of all references.
    """
    missing = [
        {"relationship": name, "target": str(target), "target_version": version}
        for name, target in references
        if (version := absences[target]) is not None
    ]
    if not missing:
        return None
    first: dict[str, Any] = missing[0]
    version, others = first["target_version"], len(missing) - 1
    found = f"was deleted at version {version}" if version else "does not exist"
    message = (
        f"aggregate {state.aggregate_id}: {first['relationship']} refers to {first['target']}, which {found}"
        + (f", and {others} more references lead to no instance" if others else "")
        + "; create the target first, or refer to another instance"
    )
    details = first | {"missing": missing[:MISSING_REFERENCES_MAX], "missing_count": len(missing)}
    return Rejection(
        code=RejectionCode.REFERENCE_NOT_FOUND,
        message=message,
        details=details | {"found_version": state.sequence_number},
    )


def _references_beyond(before: dict[str, Any], after: Instance, class_schema: ClassSchema | None) -> list[Reference]:
    if class_schema is None or not class_schema.required_relationships or not after.exists:
        return []
    own = AggregateId.parse(after.aggregate_id)
    data = document_data(after)
    return [
        Reference(name, target)
        for name in class_schema.required_relationships
        for target in class_schema.new_targets(name, before, data, own.db_name)
        if target != own
    ]
