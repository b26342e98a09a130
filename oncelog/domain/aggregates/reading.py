"""Events and states of one's own, read as their models."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.aggregates.definition import DomainEvent, DomainState
from oncelog.errors import InputInvalid

if TYPE_CHECKING:
    from oncelog.domain.events import Event
    from oncelog.domain.instance import Instance


def own_event(event: "Event") -> DomainEvent:
    """Return a stored event as its model, migrated to the newest version.

    Raises SchemaUnsupported for one that this process cannot read, built-in ones included.
    """
    aggregate = registry().of_event(event.event_type, class_id=event.class_id)
    fields: Mapping[str, Any] = {"data": event.data}
    for step in registry().steps_from(event.event_type, event.schema_version):
        fields = step(fields)
    return aggregate.read_event(event.event_type, fields["data"])


def document_data(state: "Instance") -> dict[str, Any]:
    """Return the data that an instance's document has: its own, or that of an aggregate of one's own.

    Raises AggregateDefect.
    """
    if state.state_version is None or state.deleted:
        return state.data
    return registry().of_state(state.state_version).document_data(state.data)


def own_state(state: "Instance") -> DomainState:
    """Return a folded state as its model, the initial one of a deleted aggregate.

    Raises InputInvalid for a generic instance, SchemaUnsupported.
    """
    if state.state_version is None:
        raise InputInvalid(f"aggregate {state.aggregate_id}: expected one of an own aggregate, found an instance")
    found: DomainState = registry().of_state(state.state_version).read_state(None if state.deleted else state.data)
    return found
