"""The search through the model of unique constraints: attempts interleaved in every way, each also left alone.

States are small: S3 and an attempt stand for themselves by a number each, and a move is worked out once.
"""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

from tests.model.search import Violation
from tests.model.unique import Unique
from tests.model.unique_state import DONE, Attempt, Bucket, Record, audit, check_events, check_holders, outcome_of

NEW, ENDED = 0, 1
"""The numbers of an attempt that has not begun, and of one that is done."""

Value = TypeVar("Value", bound=Hashable)


class State(NamedTuple):
    """A state of the search. ``bucket`` and each attempt are numbers; the attempts at a command are in no order."""

    bucket: int
    attempts: tuple[tuple[int, ...], ...]
    lies: int
    deaths: int
    redefinitions: int


class Move(NamedTuple):
    """A move in words, with the numbers of the attempt and of S3 afterwards."""

    words: str
    attempt: int
    bucket: int
    lied: bool


class Numbers(Generic[Value]):
    """Values and their numbers, in order of first use."""

    def __init__(self, *values: Value) -> None:
        self._values: list[Value] = []
        self._numbers: dict[Value, int] = {}
        for value in values:
            self.number(value)

    def __getitem__(self, number: int) -> Value:
        return self._values[number]

    def number(self, value: Value) -> int:
        number = self._numbers.setdefault(value, len(self._values))
        if number == len(self._values):
            self._values.append(value)
        return number


@dataclass(frozen=True)
class Interleavings:
    """One search of one model. An attempt that is never heard of again takes no step.

    So from every state each attempt, and a new one of each command, must come to its end alone.
    """

    model: Unique
    _buckets: Numbers[Bucket] = field(default_factory=Numbers)
    _attempts: Numbers[Attempt] = field(default_factory=lambda: Numbers(Attempt(), DONE))
    _checked: set[int] = field(default_factory=set)
    _moves: dict[tuple[int, int, int, bool], list[Move]] = field(default_factory=dict)
    _judged: set[tuple[int, int, int, bool]] = field(default_factory=set)
    _alone: dict[tuple[int, int, int], bool] = field(default_factory=dict)
    _outcomes: dict[tuple[int, int], Record] = field(default_factory=dict)

    def start(self) -> State:
        attempts = tuple((NEW,) * order.attempts for order in self.model.orders)
        model = self.model
        return State(self._buckets.number(model.start()), attempts, model.lies, model.deaths, model.redefinitions)

    def successors(self, state: State) -> Iterator[tuple[str, State]]:
        for command, attempts in enumerate(state.attempts):
            for attempt in dict.fromkeys(attempts):
                if attempt == ENDED:
                    continue
                for words, after, bucket, lied in self._judged_moves(state, command, attempt):
                    others = _replaced(state.attempts, command, attempt, after)
                    yield words, State(bucket, others, state.lies - lied, state.deaths, state.redefinitions)
                if state.deaths and attempt != NEW:
                    others = _replaced(state.attempts, command, attempt, NEW)
                    yield f"C{command} dies and starts again", state._replace(attempts=others, deaths=state.deaths - 1)
        if state.redefinitions:
            before = self._buckets[state.bucket]
            changed = self._buckets.number(before._replace(definition=before.definition + 1))
            yield "the class is defined anew", state._replace(bucket=changed, redefinitions=state.redefinitions - 1)

    def check(self, state: State) -> None:
        """Judge S3 as it is, once; and leave a new attempt at each command alone with it."""
        if state.bucket in self._checked:
            return
        self._checked.add(state.bucket)
        bucket = self._buckets[state.bucket]
        check_holders(bucket)
        if not self.model.without:
            audit(bucket)
        check_events(bucket)
        for command in range(len(self.model.orders)):
            self._end_alone(state.bucket, command, NEW)

    def check_end(self, state: State) -> None:
        for command in range(len(self.model.orders)):
            if not self._outcome(state.bucket, command):
                raise Violation(f"C{command} has no outcome")

    def _moves_of(self, bucket: int, command: int, attempt: int, *, may_lie: bool = False) -> list[Move]:
        key = bucket, command, attempt, may_lie
        if key not in self._moves:
            moves = self.model.moves(self._buckets[bucket], command, self._attempts[attempt], may_lie=may_lie)
            self._moves[key] = [
                Move(f"C{command} {words}", self._attempts.number(after), self._buckets.number(changed), lied)
                for words, after, changed, lied in moves
            ]
        return self._moves[key]

    def _judged_moves(self, state: State, command: int, attempt: int) -> list[Move]:
        """Return an attempt's moves, once it was seen to come to its end alone."""
        key = state.bucket, command, attempt, state.lies > 0
        if key not in self._judged:
            self._end_alone(state.bucket, command, attempt)
            for move in self._moves_of(state.bucket, command, attempt, may_lie=state.lies > 0):
                self._check_outcomes(state.bucket, command, move)
            self._judged.add(key)
        return self._moves[key]

    def _check_outcomes(self, bucket: int, command: int, move: Move) -> None:
        """An outcome never changes, and an attempt that is done has one."""
        for other in range(len(self.model.orders)):
            before, now = self._outcome(bucket, other), self._outcome(move.bucket, other)
            if before and before != now:
                raise Violation(f"C{other} has another outcome than before", (move.words,))
            if other == command and move.attempt == ENDED and not now:
                raise Violation(f"C{command} is done without an outcome", (move.words,))

    def _outcome(self, bucket: int, command: int) -> Record:
        key = bucket, command
        if key not in self._outcomes:
            self._outcomes[key] = outcome_of(self._buckets[bucket], command)
        return self._outcomes[key]

    def _end_alone(self, bucket: int, command: int, attempt: int) -> None:
        """Whatever the others have left behind, an attempt comes to its end while they stand still."""
        key = bucket, command, attempt
        if attempt == ENDED or self._alone.get(key):
            return
        if key in self._alone:
            raise Violation(f"C{command} goes round in circles when left alone")
        moves = self._moves_of(bucket, command, attempt)
        if not moves:
            raise Violation(f"C{command} is stuck when left alone")
        self._alone[key] = False
        for move in moves:
            try:
                self._end_alone(move.bucket, command, move.attempt)
            except Violation as violation:
                raise Violation(str(violation), (move.words, *violation.steps)) from None
        self._alone[key] = True


def _replaced(attempts: tuple[tuple[int, ...], ...], command: int, one: int, after: int) -> tuple[tuple[int, ...], ...]:
    changed = list(attempts[command])
    changed[changed.index(one)] = after
    changed.sort()
    return (*attempts[:command], tuple(changed), *attempts[command + 1 :])
