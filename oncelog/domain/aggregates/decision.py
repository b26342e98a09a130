"""The decision on a command of one's own: the aggregate's code, between the same checks as for every instance."""

from typing import Any

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.aggregates.definition import Aggregate, DecisionContext, DomainState, Refused
from oncelog.domain.canonical import canonical_bytes, normalised
from oncelog.domain.commands import read_own
from oncelog.domain.events import DecidedEvent, Effect, Event
from oncelog.domain.instance import Change, Instance, made_event
from oncelog.domain.limits import UNIQUE_VALUE_BYTES_MAX
from oncelog.domain.ontology.class_schema import ClassSchema, check_haste
from oncelog.domain.refusals import schema_refusal, version_conflict
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import AggregateDefect, EventFromFuture, InputInvalid


def decide(
    state: Instance,
    change: Change,
    *,
    occurred_at: str,
    class_schema: ClassSchema | None = None,
    accepted: bool = False,  # noqa: ARG001 - a record of an accepted one carries its event
    hurried: bool = False,
) -> Event | Rejection:
    """Return the event that the aggregate's own code makes of the command, or why it makes none.

    The document that follows is held to the definition of its class, if there is one. Raises AggregateDefect.
    """
    aggregate = registry().of_command(change.command_type)
    if refusal := version_conflict(state, change) or _foreign(state, aggregate):
        return refusal
    _check_constraints(state, aggregate)
    data = state.data if state.exists else None
    try:
        command = read_own(change.command_type, change.payload)
        decision = aggregate.decided(aggregate.read_state(data), command, _context(state, change, occurred_at))
        if isinstance(decision, Refused):
            return _rejection(aggregate, decision, state)
        event_data = normalised(decision.model_dump(mode="json"), where=decision.type_name)
    except InputInvalid as error:  # under code that has become narrower since the command was accepted
        return Rejection(code=RejectionCode.INVALID_COMMAND, message=error.message, details=error.details)
    state_after = aggregate.after(data, decision.type_name, event_data)
    if state_after is not None and (refusal := _unfit(aggregate, state_after, state, class_schema, hurried=hurried)):
        return refusal
    decided = DecidedEvent(
        event_type=decision.type_name,
        schema_version=str(aggregate.versions[decision.type_name].newest),
        effect=Effect.EVOLVE,
        data=event_data,
        constraints=aggregate.constraints or None,
    )
    definition = class_schema.reference if class_schema else None
    return made_event(state, change, decided=decided, definition=definition, occurred_at=occurred_at)


def _unfit(
    aggregate: Aggregate[DomainState],
    state_after: dict[str, Any],
    state: Instance,
    class_schema: ClassSchema | None,
    *,
    hurried: bool,
) -> Rejection | None:
    """Return the refusal if a state's document breaks the class's definition or a unique value is too long."""
    document = aggregate.document_data(state_after)
    if hurried:
        check_haste(document)
    return schema_refusal(class_schema, document, state, hurried=hurried) or _too_long(aggregate, state_after, state)


def _check_constraints(state: Instance, aggregate: Aggregate[DomainState]) -> None:
    """Raise EventFromFuture where the aggregate's last event was decided under constraints that this code lacks (V6).

    An event without them would release the values that the aggregate holds, while newer code takes them for held.
    """
    if unknown := sorted(set(state.constraints) - set(aggregate.unique)):
        raise EventFromFuture(
            f"aggregate {state.aggregate_id}: its last event was decided under the unique constraints "
            f"{', '.join(unknown)}, which the code of {aggregate} lacks here; deploy the release that has them; "
            "one that gives them up names them in 'dropped'",
            aggregate_id=state.aggregate_id,
            constraints=unknown,
        )


def _too_long(aggregate: Aggregate[DomainState], state_after: dict[str, Any], state: Instance) -> Rejection | None:
    """Return the refusal of a unique value that is longer than one may be."""
    for name, parts in aggregate.unique_parts(state_after).items():
        if (size_bytes := len(canonical_bytes(parts))) > UNIQUE_VALUE_BYTES_MAX:
            message = (
                f"aggregate {state.aggregate_id}: unique {name}: expected at most {UNIQUE_VALUE_BYTES_MAX} bytes of "
                f"canonical JSON, found {size_bytes}; use a shorter value"
            )
            details = {"constraint": name, "size_bytes": size_bytes, "found_version": state.sequence_number}
            return Rejection(code=RejectionCode.PAYLOAD_INVALID, message=message, details=details)
    return None


def _context(state: Instance, change: Change, occurred_at: str) -> DecisionContext:
    return DecisionContext(
        aggregate_id=state.aggregate_id,
        instance_id=change.aggregate_id.instance_id,
        command_id=change.command_id,
        sequence_number=state.sequence_number,
        occurred_at=occurred_at,
        actor=change.actor,
    )


def _foreign(state: Instance, aggregate: Aggregate[DomainState]) -> Rejection | None:
    """Return the refusal of a command on an instance that commands of another kind made."""
    if state.sequence_number == 0 or state.state_version is not None:
        return None
    message = (
        f"aggregate {state.aggregate_id}: was made by CREATE_INSTANCE, before its class was that of {aggregate}; "
        "change it by UPDATE_INSTANCE and DELETE_INSTANCE, and use another instance ID for the new one"
    )
    return Rejection(code=RejectionCode.INVALID_COMMAND, message=message)


def _rejection(aggregate: Aggregate[DomainState], refused: Refused, state: Instance) -> Rejection:
    if refused.code in list(RejectionCode):
        raise AggregateDefect(str(aggregate), "decide", f"refusal code {refused.code} is built in; choose another")
    try:
        details = normalised(dict(refused.details), where="details")
    except InputInvalid as error:
        raise AggregateDefect(str(aggregate), f"refusal {refused.code}", error) from error
    details.setdefault("found_version", state.sequence_number)
    return Rejection(code=refused.code, message=f"aggregate {state.aggregate_id}: {refused.message}", details=details)
