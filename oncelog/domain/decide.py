"""The decision on a command of any type: one place to ask, whichever aggregate it is about."""

from typing import Protocol

from oncelog.domain import instance
from oncelog.domain.aggregates import decision
from oncelog.domain.commands import CLASS_COMMANDS, CommandType
from oncelog.domain.events import Event
from oncelog.domain.instance import Change, Instance
from oncelog.domain.ontology import class_aggregate
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection


class Decide(Protocol):
    """The one form of a decision: that of instances, of classes, and of aggregates of one's own."""

    def __call__(
        self,
        state: Instance,
        change: Change,
        *,
        occurred_at: str,
        class_schema: ClassSchema | None = None,
        accepted: bool = False,
        hurried: bool = False,
    ) -> Event | Rejection:
        """See ``decide``."""
        ...


_BUILT_IN: dict[str, Decide] = {
    command_type: class_aggregate.decide if command_type in CLASS_COMMANDS else instance.decide
    for command_type in CommandType
}


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
    deciding = _BUILT_IN.get(change.command_type, decision.decide)
    return deciding(
        state, change, occurred_at=occurred_at, class_schema=class_schema, accepted=accepted, hurried=hurried
    )
