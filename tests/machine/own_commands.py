"""The machine with commands of one's own, in releases that all decide otherwise."""

from contextlib import ExitStack
from itertools import count

from oncelog.domain.aggregates import (
    Aggregate,
    DecisionContext,
    DomainCommand,
    DomainEvent,
    DomainState,
    Refused,
    registered,
)
from oncelog.domain.commands import Command, CommandType, parse_command
from tests.machine.command_path import CommandPath

_releases = count(1)


class Start(DomainCommand):
    pass


class Count(DomainCommand):
    pass


class Note(DomainCommand):
    """Accepted in every state, so that it may be the first."""


class Started(DomainEvent):
    release: int


class Counted(DomainEvent):
    release: int


class Noted(DomainEvent):
    release: int


class Counter(DomainState):
    releases: tuple[int, ...] = ()


def _decide(
    state: Counter, command: Start | Count | Note, _context: DecisionContext
) -> Started | Counted | Noted | Refused:
    """Decide as the next release does: no two decisions are the same, though one that refuses still refuses."""
    match command:
        case Note():
            return Noted(release=next(_releases))
        case Start() if state.releases:
            return Refused("CounterStarted", "is started")
        case Start():
            return Started(release=next(_releases))
        case Count() if not state.releases:
            return Refused("CounterMissing", "is not started")
        case _:
            return Counted(release=next(_releases))


COUNTER = Aggregate(
    name="Counter",
    state=Counter,
    initial=Counter(),
    commands=(Start, Count, Note),
    events=(Started, Counted, Noted),
    decide=_decide,
    evolve=lambda state, event: Counter(releases=(*state.releases, event.release)),
)


_TYPES = {
    CommandType.CREATE_INSTANCE: "START",
    CommandType.UPDATE_INSTANCE: "COUNT",
    CommandType.DELETE_INSTANCE: "NOTE",
}


class OwnCommandPath(CommandPath):
    """Commands of one's own on two counters; bulk commands go on as before, on instances."""

    class_id = COUNTER.name

    def __init__(self) -> None:
        self._registered = ExitStack()
        self._registered.enter_context(registered(COUNTER))
        super().__init__()

    def teardown(self) -> None:
        with self._registered:
            super().teardown()

    def _command(self, kind: CommandType, place: str, version: int | None = None) -> Command:
        return parse_command(
            {
                "command_id": f"c{len(self.works) + 1}",
                "command_type": _TYPES[kind],
                "db_name": "shop",
                "class_id": self.class_id,
                "instance_id": place,
                "expected_version": version,
            }
        )
