"""The instance aggregate: its state, how events change it, and how commands are decided on it."""

from dataclasses import dataclass, field
from typing import Any, Protocol

from pydantic import ConfigDict, TypeAdapter

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.commands import CommandType
from oncelog.domain.events import (
    SCHEMA_VERSIONS,
    DecidedEvent,
    DefinitionReference,
    Effect,
    Event,
    EventContent,
    EventType,
    content_of,
    sealed_event,
)
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.merge_patch import merge_patch
from oncelog.domain.ontology.class_schema import ClassSchema, check_haste
from oncelog.domain.refusals import (
    lifecycle_refusal,
    owned_refusal,
    schema_refusal,
    size_refusal,
    version_conflict,
)
from oncelog.domain.results import Rejection
from oncelog.errors import LogDamaged


class Change(Protocol):
    """A change to one instance: a command, or one item of a bulk command."""

    @property
    def command_id(self) -> str: ...
    @property
    def hash(self) -> str: ...  # of the command, all of it
    @property
    def event_id(self) -> str: ...
    @property
    def command_type(self) -> CommandType | str: ...
    @property
    def aggregate_id(self) -> AggregateId: ...
    @property
    def payload(self) -> dict[str, Any]: ...
    @property
    def expected_version(self) -> int | None: ...
    @property
    def actor(self) -> str | None: ...
    @property
    def correlation_id(self) -> str | None: ...
    @property
    def causation_id(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Instance:
    """The fold of an aggregate's events up to ``sequence_number``; 0 means that nothing has happened yet.

    ``schema_version``: the version in which the last event was stored, before any migration. ``definition``:
    ``data`` was validated against it, None where its class was undefined. ``state_version``: of an aggregate of one's
    own, its name and the version of its state; ``data`` is that state as JSON. ``constraints``: the unique constraints
    of such an aggregate that its last event was decided under. No model: events are checked when they are read, and
    thousands of states are made and kept.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    aggregate_id: str
    sequence_number: int = 0
    checksum: str | None = None  # of the last event: the next one cites it
    event_id: str | None = None
    schema_version: str | None = None
    deleted: bool = False
    created_at: str | None = None
    updated_at: str | None = None
    definition: DefinitionReference | None = None
    data: dict[str, Any] = field(default_factory=dict)
    state_version: str | None = None
    constraints: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.sequence_number > 0 and not self.deleted


#: How a state is kept outside the log.
INSTANCE_JSON = TypeAdapter(Instance)


#: After these there is nothing to be changed; a retired class keeps its last definition.
_ENDS = frozenset({EventType.INSTANCE_DELETED, EventType.CLASS_RETIRED})


def evolve(state: Instance, event: Event) -> Instance:
    """Return the state after the event, read as the newest version of its type.

    Raises LogDamaged unless the event is the next link of this chain, SchemaUnsupported if it cannot be read.
    """
    if (event.aggregate_id, event.sequence_number, event.previous_checksum) != (
        state.aggregate_id,
        state.sequence_number + 1,
        state.checksum,
    ):
        raise LogDamaged(
            f"aggregate {state.aggregate_id}: expected event {state.sequence_number + 1} after checksum "
            f"{state.checksum}, found {event.aggregate_id} event {event.sequence_number} after "
            f"{event.previous_checksum}; the chain is broken, run oncelog verify",
            aggregate_id=state.aggregate_id,
            sequence_number=event.sequence_number,
        )
    content = content_of(event)
    if content.effect is Effect.EVOLVE:
        return _evolved_by_own(state, event, content)
    if state.state_version is not None:
        raise _mixed(state, event)
    created = event.event_type is EventType.INSTANCE_CREATED or (
        event.event_type is EventType.CLASS_DEFINED and not state.exists
    )
    return Instance(
        aggregate_id=state.aggregate_id,
        sequence_number=event.sequence_number,
        checksum=event.checksum,
        event_id=event.event_id,
        schema_version=event.schema_version,
        deleted=event.event_type in _ENDS,
        created_at=event.occurred_at if created else state.created_at,
        updated_at=event.occurred_at,
        definition=content.definition,
        data=_effected(state.data, content),
    )


def _evolved_by_own(state: Instance, event: Event, content: EventContent) -> Instance:
    """Return the state after an event of an aggregate of one's own."""
    aggregate = registry().of_event(event.event_type, class_id=event.class_id)
    if state.sequence_number and state.state_version != aggregate.state_mark:
        raise _mixed(state, event)
    data = aggregate.after(state.data if state.exists else None, event.event_type, content.data)
    return Instance(
        aggregate_id=state.aggregate_id,
        sequence_number=event.sequence_number,
        checksum=event.checksum,
        event_id=event.event_id,
        schema_version=event.schema_version,
        deleted=data is None,
        created_at=state.created_at if state.exists else event.occurred_at,
        updated_at=event.occurred_at,
        definition=content.definition,
        data=data or {},
        state_version=aggregate.state_mark,
        constraints=content.constraints,
    )


def _mixed(state: Instance, event: Event) -> LogDamaged:
    return LogDamaged(
        f"aggregate {state.aggregate_id}: expected event {event.sequence_number} of the kind of those before it "
        f"({state.state_version or 'instance'}), found {event.event_type}; run oncelog verify",
        aggregate_id=state.aggregate_id,
        sequence_number=event.sequence_number,
    )


def _effected(data: dict[str, Any], content: EventContent) -> dict[str, Any]:
    match content.effect:
        case Effect.REPLACE:
            return content.data
        case Effect.MERGE:
            merged: dict[str, Any] = merge_patch(data, content.data)
            return merged
        case _:
            return {}


def decide(
    state: Instance,
    change: Change,
    *,
    occurred_at: str,
    class_schema: ClassSchema | None = None,
    accepted: bool = False,
    hurried: bool = False,
) -> Event | Rejection:
    """Return the event that the change makes of this state, or why it makes none.

    ``class_schema``: None where the class is not defined. ``accepted``: a record says that the command was accepted on
    this very state under this very schema, so its event is not validated again. ``hurried``: raise
    TakesLongError where deciding may take more than some milliseconds.
    """
    if hurried:
        check_haste(state.data, change.payload)
    owned = None if accepted else owned_refusal(state, change)
    refusal = version_conflict(state, change) or owned or lifecycle_refusal(state, change)
    if refusal:
        return refusal
    effect, data, merged = _changed(state, change, class_schema)
    if not accepted and effect is not Effect.REMOVE:
        patched = change.command_type is CommandType.UPDATE_INSTANCE
        refusal = (size_refusal(merged, state) if patched else None) or schema_refusal(
            class_schema, merged, state, hurried=hurried
        )
    return refusal or made_event(
        state,
        change,
        decided=decided_event(change, effect=effect, data=data),
        definition=class_schema.reference if class_schema else None,
        occurred_at=occurred_at,
    )


def _changed(
    state: Instance, change: Change, class_schema: ClassSchema | None
) -> tuple[Effect, dict[str, Any], dict[str, Any]]:
    """Return the effect and the data of the change's event, and the instance's data after it."""
    effect, data = EVENTS[change.command_type][1], change.payload
    if change.command_type is not CommandType.UPDATE_INSTANCE:
        return effect, data, data
    current = class_schema.current(state.data, state.definition) if class_schema else state.data
    merged: dict[str, Any] = merge_patch(current, change.payload)
    if current is not state.data and canonical_bytes(current) != canonical_bytes(state.data):
        # A merge patch cannot express the changes of the migration, so the event has all data.
        return Effect.REPLACE, merged, merged
    return effect, data, merged


#: The event type of each command type, if the command is not rejected.
EVENTS: dict[str, tuple[EventType, Effect]] = {
    CommandType.CREATE_INSTANCE: (EventType.INSTANCE_CREATED, Effect.REPLACE),
    CommandType.UPDATE_INSTANCE: (EventType.INSTANCE_UPDATED, Effect.MERGE),
    CommandType.DELETE_INSTANCE: (EventType.INSTANCE_DELETED, Effect.REMOVE),
    CommandType.DEFINE_CLASS: (EventType.CLASS_DEFINED, Effect.REPLACE),
    CommandType.RETIRE_CLASS: (EventType.CLASS_RETIRED, Effect.MERGE),
}


def decided_event(change: Change, *, effect: Effect, data: dict[str, Any]) -> DecidedEvent:
    """Return the decided event of a built-in command, in today's schema version."""
    event_type = EVENTS[change.command_type][0]
    return DecidedEvent(event_type=event_type, schema_version=SCHEMA_VERSIONS[event_type], effect=effect, data=data)


def made_event(
    state: Instance,
    change: Change,
    *,
    decided: DecidedEvent,
    definition: DefinitionReference | None,
    occurred_at: str,
) -> Event:
    """Return the event in the slot after this state."""
    aggregate = change.aggregate_id
    more = {"constraints": list(decided.constraints)} if decided.constraints else {}
    return sealed_event(
        event_id=change.event_id,
        event_type=decided.event_type,
        schema_version=decided.schema_version,
        sequence_number=state.sequence_number + 1,
        aggregate_id=str(aggregate),
        db_name=aggregate.db_name,
        class_id=aggregate.class_id,
        instance_id=aggregate.instance_id,
        command_id=change.command_id,
        command_hash=change.hash,
        data=decided.data,
        definition=definition.as_json if definition else None,
        effect=decided.effect,
        occurred_at=occurred_at,
        actor=change.actor,
        correlation_id=change.correlation_id,
        causation_id=change.causation_id,
        previous_checksum=state.checksum,
        **more,
    )
