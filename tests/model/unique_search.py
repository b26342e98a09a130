"""The search through the model of unique constraints: attempts interleaved in every way, each also left alone.

States are small: S3 and an attempt stand for themselves by a number each, and a move is worked out once.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.model.search import Violation
from tests.model.unique import Move, Unique
from tests.model.unique_state import DONE, Attempt, Bucket, audit, check_events, check_holders, outcome_of


class State(NamedTuple):
    """A state of the search. ``bucket`` and each attempt are numbers; the attempts at a command are in no order."""

    bucket: int
    attempts: tuple[tuple[int, ...], ...]
    lies: int
    deaths: int


class Numbers:
    """Values and their numbers, in order of first use."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._numbers: dict[Hashable, int] = {}

    def __getitem__(self, number: int) -> Any:
        return self.values[number]

    def number(self, value: Hashable) -> int:
        if value not in self._numbers:
            self._numbers[value] = len(self.values)
            self.values.append(value)
        return self._numbers[value]


@dataclass(frozen=True)
class Interleavings:
    """One search of one model. An attempt that is never heard of again takes no step.

    So from every state each attempt, and a new one of each command, must come to its end alone.
    """

    model: Unique
    _buckets: Numbers = field(default_factory=Numbers)
    _attempts: Numbers = field(default_factory=Numbers)
    _checked: set[int] = field(default_factory=set)
    _moves: dict[tuple[int, int, int, bool], list[tuple[str, int, int, bool]]] = field(default_factory=dict)
    _alone: dict[tuple[Bucket, int, Attempt], bool] = field(default_factory=dict)

    def start(self) -> State:
        new = self._attempts.number(Attempt())
        self._attempts.number(DONE)
        attempts = tuple((new,) * order.attempts for order in self.model.orders)
        return State(self._buckets.number(self.model.start()), attempts, self.model.lies, self.model.deaths)

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        new, done = self._attempts.number(Attempt()), self._attempts.number(DONE)
        for command, attempts in enumerate(state.attempts):
            for attempt in dict.fromkeys(attempts):
                if attempt == done:
                    continue
                for words, after, bucket, lied in self._moves_of(state, command, attempt):
                    others = _replaced(state.attempts, command, attempt, after)
                    yield words, State(bucket, others, state.lies - lied, state.deaths)
                if state.deaths and attempt != new:
                    others = _replaced(state.attempts, command, attempt, new)
                    yield f"C{command} dies and starts again", State(state.bucket, others, state.lies, state.deaths - 1)

    def check(self, state: State) -> None:
        """Judge S3 as it is, once; and leave a new attempt at each command alone with it."""
        if state.bucket in self._checked:
            return
        self._checked.add(state.bucket)
        bucket: Bucket = self._buckets[state.bucket]
        check_holders(bucket)
        if not self.model.without:
            audit(bucket)
        check_events(bucket)
        for command in range(len(self.model.orders)):
            self._end_alone(bucket, command, Attempt())

    def check_end(self, state: State) -> None:
        bucket: Bucket = self._buckets[state.bucket]
        for command in range(len(self.model.orders)):
            if not outcome_of(bucket, command):
                raise Violation(f"C{command} has no outcome")

    def _moves_of(self, state: State, command: int, attempt: int) -> list[tuple[str, int, int, bool]]:
        key = (state.bucket, command, attempt, state.lies > 0)
        if key not in self._moves:
            bucket, mover = self._buckets[state.bucket], self._attempts[attempt]
            self._end_alone(bucket, command, mover)
            numbered = []
            for move in self.model.moves(bucket, command, mover, may_lie=state.lies > 0):
                self._check_outcomes(bucket, command, move)
                after, changed = self._attempts.number(move.attempt), self._buckets.number(move.bucket)
                numbered.append((f"C{command} {move.words}", after, changed, move.lied))
            self._moves[key] = numbered
        return self._moves[key]

    def _check_outcomes(self, bucket: Bucket, command: int, move: Move) -> None:
        """An outcome never changes, and an attempt that is done has one."""
        steps = (f"C{command} {move.words}",)
        for other in range(len(self.model.orders)):
            before, now = outcome_of(bucket, other), outcome_of(move.bucket, other)
            if before and before != now:
                raise Violation(f"C{other} has another outcome than before", steps)
            if other == command and move.attempt == DONE and not now:
                raise Violation(f"C{command} is done without an outcome", steps)

    def _end_alone(self, bucket: Bucket, command: int, attempt: Attempt) -> None:
        """Whatever the others have left behind, an attempt comes to its end while they stand still."""
        key = (bucket, command, attempt)
        if attempt == DONE or self._alone.get(key):
            return
        if key in self._alone:
            raise Violation(f"C{command} goes round in circles when left alone")
        moves = list(self.model.moves(bucket, command, attempt))
        if not moves:
            raise Violation(f"C{command} is stuck when left alone")
        self._alone[key] = False
        for move in moves:
            try:
                self._end_alone(move.bucket, command, move.attempt)
            except Violation as violation:
                raise Violation(str(violation), (f"C{command} {move.words}", *violation.steps)) from None
        self._alone[key] = True


def _replaced(attempts: tuple[tuple[int, ...], ...], command: int, one: int, after: int) -> tuple[tuple[int, ...], ...]:
    changed = list(attempts[command])
    changed[changed.index(one)] = after
    return (*attempts[:command], tuple(sorted(changed)), *attempts[command + 1 :])
