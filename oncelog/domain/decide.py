"""The decision on a command of any type, built in or of an aggregate of one's own."""

from typing import Protocol, Required, TypedDict, Unpack

from oncelog.domain import instance
from oncelog.domain.aggregates import decision
from oncelog.domain.commands import CLASS_COMMANDS, CommandType
from oncelog.domain.events import Event
from oncelog.domain.instance import Change, Instance
from oncelog.domain.ontology import class_aggregate
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.results import Rejection


class DecisionOptions(TypedDict, total=False):
    """The keyword arguments of every decision; see ``decide``."""

    occurred_at: Required[str]
    class_schema: ClassSchema | None
    accepted: bool
    hurried: bool


class Decide(Protocol):
    """The signature of a decision, the same for instances, classes, and aggregates of one's own."""

    def __call__(self, state: Instance, change: Change, **options: Unpack[DecisionOptions]) -> Event | Rejection:
        """See ``decide``."""
        ...


_BUILT_IN: dict[str, Decide] = {
    command_type: class_aggregate.decide if command_type in CLASS_COMMANDS else instance.decide
    for command_type in CommandType
}


def decide(state: Instance, change: Change, **options: Unpack[DecisionOptions]) -> Event | Rejection:
    """Return the event that the change makes of this state, or the reason for which it makes none.

    ``occurred_at``: the event's time, RFC 3339. ``class_schema``: of the instance's class, None where the class is
    not defined. ``accepted``: a record says that the command was accepted on this very state and under this very
    schema. ``hurried``: raise TakesLongError where deciding may take more than some milliseconds.
    """
    deciding = _BUILT_IN.get(change.command_type, decision.decide)
    return deciding(state, change, **options)
