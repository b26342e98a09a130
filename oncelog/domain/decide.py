"""The decision on a command of any type: one place to ask, whichever aggregate it is about."""

from oncelog.domain import instance
from oncelog.domain.commands import CLASS_COMMANDS
from oncelog.domain.events import Event
from oncelog.domain.instance import Change, Instance
from oncelog.domain.ontology import class_aggregate
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection


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

    ``class_schema``: those of an instance's class, None where that is not defined. ``accepted``: a record says that the
    command was accepted on this very state and under these very rules. ``hurried``: raise TakesLongError
    where deciding may take more than some milliseconds.
    """
    if change.command_type in CLASS_COMMANDS:
        return class_aggregate.decide(state, change, occurred_at=occurred_at, accepted=accepted, hurried=hurried)
    return instance.decide(
        state, change, occurred_at=occurred_at, class_schema=class_schema, accepted=accepted, hurried=hurried
    )
