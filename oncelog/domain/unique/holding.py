"""The values that an instance holds or an event brings in, and the rejection of a value that is held."""

from collections.abc import Mapping
from typing import Any

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.aggregates.reading import document_data
from oncelog.domain.instance import Instance
from oncelog.domain.limits import UNIQUE_PLACES_MAX
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.domain.unique.constraint import UniqueValue, ValueKey, unique_values, value_of

Held = Mapping[ValueKey, UniqueValue]


def held_values(state: Instance, class_schema: ClassSchema | None) -> Held:
    """Return the values that an instance holds. ``class_schema``: named by its last event, and no other.

    An aggregate of one's own holds the values of its document under the constraints of its class, and the values that
    its code gives under its own constraints that its last event was decided under.
    """
    if not state.exists:
        return {}
    found: list[UniqueValue] = []
    if class_schema is not None and class_schema.constraints:
        found += unique_values(class_schema.constraints, document_data(state))
    if state.constraints and state.state_version is not None:
        parts = registry().of_state(state.state_version).unique_parts(state.data)
        own = (value_of(name, parts[name]) for name in state.constraints if name in parts)
        found += [value for value in own if value is not None]
    return {value.key: value for value in found}


def brought_in(before: Held, after: Held) -> list[UniqueValue]:
    """Return the values that are held after an event and were not before, in the order in which they are claimed."""
    return sorted((value for key, value in after.items() if key not in before), key=lambda value: value.key)


def unique_violated(
    state: Instance, value: UniqueValue, class_schema: ClassSchema | None, *, holder: Instance
) -> Rejection:
    """Return the rejection of a command that would bring in a value which another instance holds.

    ``holder``: that instance as S3 showed it to hold the value.
    """
    constraint, sha256 = value.key
    declared = class_schema.constraints.get(constraint) if class_schema else None
    hidden = declared is not None and declared.hidden
    words = f"a value of {constraint} (SHA-256 {sha256})" if hidden else f"{constraint} {value.text}"
    details: dict[str, Any] = {"constraint": constraint, "sha256": sha256, "holder": holder.aggregate_id}
    details["holder_version"] = holder.sequence_number
    if not hidden:
        details["value"] = value.value
    return Rejection(
        code=RejectionCode.UNIQUE_VIOLATED,
        message=f"aggregate {state.aggregate_id}: {words} is held by {holder.aggregate_id} at version "
        f"{holder.sequence_number}; use another value, or let that instance give it up first",
        details=details | {"found_version": state.sequence_number},
    )


def chain_exhausted(state: Instance, value: UniqueValue) -> Rejection:
    """Return the rejection of a command that would bring in a value with no more places in its chain."""
    constraint, sha256 = value.key
    return Rejection(
        code=RejectionCode.PAYLOAD_INVALID,
        message=f"aggregate {state.aggregate_id}: a value of {constraint} (SHA-256 {sha256}) was taken "
        f"{UNIQUE_PLACES_MAX} times, more often than is permitted; use another value",
        details={"constraint": constraint, "sha256": sha256, "found_version": state.sequence_number},
    )
