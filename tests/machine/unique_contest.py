"""A few commands that contend for a value, as the model's searches have them: only their requests' order is open.

Where `UniquePath` lets anything happen, a contest has the commands that a rule is there for, and so finds soon whether
the code has forgotten it.
"""

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from oncelog.domain.bulk.command import BulkType
from oncelog.domain.commands import CommandType
from tests.machine.unique_path import CoveredLaterPath, Item, UniquePath

_KINDS = {
    "create": CommandType.CREATE_INSTANCE,
    "update": CommandType.UPDATE_INSTANCE,
    "delete": CommandType.DELETE_INSTANCE,
}
_BULK_KINDS = {"create": BulkType.BULK_CREATE_INSTANCES, "update": BulkType.BULK_UPDATE_INSTANCES}


class UniqueContest(UniquePath):
    """Commands that are all given at the beginning.

    ``orders``: "2 create p2 mail=v" is a command with two attempts alive at once, "0 …" came to its end before;
    several parts are the items of a bulk command: "1 update p1 mail=v; update p1 mail=w". "-" stands for null.
    "forget chains" and "forget shop/Product/p1" is what Redis loses before the next command.
    """

    give = None  # type: ignore[assignment]
    give_bulk = None  # type: ignore[assignment]
    cancel = None  # type: ignore[assignment]
    cut_off = None  # type: ignore[assignment]
    sweep = None  # type: ignore[assignment]
    terminate = None  # type: ignore[assignment]
    pass_time = None  # type: ignore[assignment]
    orders: tuple[str, ...] = ()

    @initialize()
    def begin(self) -> None:
        self._define()
        for order in self.orders:
            self._order(order)

    @precondition(lambda self: self.crew.waiting())
    @rule(who=st.integers(0, 5), count=st.integers(1, 4))
    def step(self, who: int, count: int) -> None:
        """Let an attempt make some requests, one after the other."""
        self._go_on((who, count))

    @precondition(lambda self: self.crew.waiting())
    @rule(who=st.integers(0, 5))
    def hold_up(self, who: int) -> None:
        """An attempt is held up while the others come to their ends, in the order in which they were given."""
        waiting = self.crew.waiting()
        for attempt in waiting:
            if attempt is not waiting[who % len(waiting)] and attempt in self.crew.waiting():
                self._go_until(self.crew.waiting().index(attempt), "")

    def go_ahead(self, who: int, count: int, *, in_turn: bool) -> None:
        """An attempt makes some requests; then all go on in turn, or all others go first."""
        self._go_on((who, count))
        if in_turn:
            self.go_on_in_turn()
        else:
            self.hold_up(who)
            self._go_until(who, "")

    def _order(self, order: str) -> None:
        if order.startswith("forget "):
            self._forget(order.removeprefix("forget "))
            return
        attempts, parts = int(order[0]), [part.split() for part in order[2:].split("; ")]
        items: list[Item] = [(place, _content(members)) for _, place, *members in parts]
        kind = parts[0][0]
        if len(items) > 1:
            work = self._given(self._unique_bulk(_BULK_KINDS[kind], items))
        else:
            work = self._given(self._unique(_KINDS[kind], *items[0]))
        if not attempts:
            self.loop.finish(self.stories.of(self.hosts[0].process, work.command))
        for number in range(attempts):
            self._begin(work, 1 + number, number == 0)

    def _forget(self, name: str) -> None:
        """Redis loses where a log ends, or all chains."""
        if name == "chains":
            self.world.redis.last_places.clear()
        else:
            self.world.redis.known.drop(name)


class CoveredLaterContest(UniqueContest, CoveredLaterPath):
    """A contest of a class that is given its constraints while it has instances."""


def _content(members: list[str]) -> dict[str, Any]:
    pairs = (member.split("=") for member in members)
    return {name: None if value == "-" else value for name, value in pairs}
