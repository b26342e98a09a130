"""Try every interleaving of a model's steps, shortest stories first, until a promise is broken or nothing new comes."""

from collections import deque
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

State = TypeVar("State", bound=Hashable)


class Violation(Exception):
    """A promise is broken. ``steps``: the last ones of the story, where a model took some beyond the search."""

    def __init__(self, words: str, steps: tuple[str, ...] = ()) -> None:
        super().__init__(words)
        self.steps = steps


class Searchable(Protocol[State]):
    """A model: where it starts, what one step of anyone leads to, and what must hold."""

    def start(self) -> State: ...

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        """Yield every state that one atomic step leads to, with the step in words; may raise Violation."""
        ...

    def check(self, state: State) -> None:
        """Raise Violation if a promise is broken in this state."""
        ...

    def check_end(self, state: State) -> None:
        """Raise Violation if something is left undone where no step is left."""
        ...


@dataclass(frozen=True)
class Found:
    """The result of a search. ``story``: the shortest way to the violation."""

    states: int
    violation: str = ""
    story: tuple[str, ...] = ()

    def __str__(self) -> str:
        if not self.violation:
            return f"no violation in {self.states} states"
        steps = (f"  {number:2d} {words}" for number, words in enumerate(self.story, 1))
        return "\n".join([f"{self.violation}, after {len(self.story)} steps ({self.states} states seen):", *steps])


def search(model: Searchable[State]) -> Found:
    start = model.start()
    came: dict[State, tuple[State, str] | None] = {start: None}
    waiting = deque([start])
    while waiting:
        state = reached = waiting.popleft()
        moved = False
        try:
            for words, after in model.successors(state):
                moved = True
                if after in came:
                    continue
                came[after] = (state, words)
                reached = after
                model.check(after)
                reached = state
                waiting.append(after)
            if not moved:
                model.check_end(state)
        except Violation as violation:
            return Found(len(came), str(violation), (*_story(came, reached), *violation.steps))
    return Found(len(came))


def _story(came: dict[State, tuple[State, str] | None], state: State) -> tuple[str, ...]:
    story: list[str] = []
    before = came[state]
    while before is not None:
        state, words = before
        story.append(words)
        before = came[state]
    return tuple(reversed(story))
