"""The contract of an aggregate of one's own, checked: pure functions, JSON, and every stored version readable."""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from oncelog.domain.aggregates.definition import Aggregate, DecisionContext, DomainCommand, DomainEvent, Refused
from oncelog.domain.canonical import canonical_bytes, normalised
from oncelog.errors import InputInvalid, OncelogError

if TYPE_CHECKING:
    from hypothesis.strategies import DrawFn, SearchStrategy

#: Streams that are tried for each aggregate, and commands of each.
STREAMS = 100
COMMANDS_MAX = 8
#: Times that a command is made up until its model takes it.
_ATTEMPTS = 20

#: Modules whose built-in functions answer differently each time, or reach outside.
_IMPURE_MODULES = frozenset({"time", "_random", "random", "posix", "nt", "_socket", "_uuid", "_ssl"})
_IMPURE_METHODS = frozenset({"now", "utcnow", "today"})


class ContractBrokenError(AssertionError):
    """An aggregate breaks its contract; the message says by which function, on which command."""


def check_decisions(aggregate: Aggregate[Any], commands: Sequence[DomainCommand]) -> dict[str, DomainEvent]:
    """Decide on the commands one after the other, and hold each decision and state to the contract.

    Returns an event of each type that was made. Raises ContractBrokenError.
    """
    data: dict[str, Any] | None = None
    made: dict[str, DomainEvent] = {}
    for number, command in enumerate(commands):
        context = DecisionContext("shop/X/x1", "x1", f"c{number}", number, "2026-01-01T12:00:00.000000Z")
        state = aggregate.read_state(data)
        with _told(aggregate, f"decide on {command!r}, state {state!r}"):
            first, second = (_pure(aggregate.decided, state, command, context) for _ in range(2))
            if first != second:
                raise ContractBrokenError(f"decides twice on the same, first {first!r}, then {second!r}")
            if isinstance(first, Refused):
                canonical_bytes(normalised(dict(first.details)))
                continue
            event_data = normalised(first.model_dump(mode="json"))
            if aggregate.read_event(first.type_name, event_data) != first:
                raise ContractBrokenError(f"event {first!r} does not read back from its JSON {event_data}")
        with _told(aggregate, f"evolve by {first!r}, state {state!r}"):
            after = [_pure(aggregate.after, data, first.type_name, event_data) for _ in range(2)]
            if after[0] != after[1]:
                raise ContractBrokenError(f"evolves twice from the same, first to {after[0]}, then to {after[1]}")
            data = after[0]
            if data is not None and aggregate.read_state(data).model_dump(mode="json") != data:
                raise ContractBrokenError(f"state {data} does not read back from its JSON")
        made[first.type_name] = first
    return made


def check_samples(aggregate: Aggregate[Any], folder: Path) -> Iterator[str]:
    """Yield why a version ever stored cannot be read; ``folder`` has ``{EVENT_TYPE}/{version}.json``: its data."""
    for event_type, versions in aggregate.versions.items():
        for version in versions.ever_stored:
            path = folder / event_type / f"{version}.json"
            where = f"{aggregate}: event {event_type} {version}"
            if not path.exists():
                yield f"{where}: expected a committed sample at {path}, found none; record one, and never change it"
                continue
            try:
                fields: Any = {"data": json.loads(path.read_text())}
                for step in versions.steps_from(version):
                    fields = step(fields)
                aggregate.read_event(event_type, fields["data"])
            except Exception as error:  # noqa: BLE001 - the user's own steps
                problem = error.message if isinstance(error, OncelogError) else f"{type(error).__name__}: {error}"
                yield f"{where}: sample {path} is not readable: {problem}; add a migration, do not change the sample"


def newest_samples(aggregate: Aggregate[Any], folder: Path) -> dict[str, Path]:
    """Return by event type where the sample of its newest version belongs."""
    return {name: folder / name / f"{versions.newest}.json" for name, versions in aggregate.versions.items()}


def record_samples(aggregate: Aggregate[Any], folder: Path, made: dict[str, DomainEvent]) -> list[Path]:
    """Write a sample of each event type's newest version that has none, and return those written."""
    written: list[Path] = []
    paths = newest_samples(aggregate, folder)
    for event_type, event in sorted(made.items()):
        path = paths[event_type]
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(event.model_dump(mode="json"), indent=2, sort_keys=True) + "\n")
            written.append(path)
    return written


@dataclass
class ContractReport:
    """The findings about one aggregate. ``streams``: how many were tried; ``made``: an event of each type."""

    aggregate: str
    problems: list[str] = field(default_factory=list)
    streams: int = 0
    made: dict[str, DomainEvent] = field(default_factory=dict)


def check_contract(aggregate: Aggregate[Any], *, samples: Path | None = None) -> ContractReport:
    """Hold an aggregate to its contract: by made-up commands, where Hypothesis is installed, and by its samples."""
    report = ContractReport(str(aggregate))
    try:
        _try_streams(aggregate, report)
    except ContractBrokenError as error:
        report.problems.append(str(error))
    except ExceptionGroup as error:  # Hypothesis: it fails now and then
        report.problems += map(str, error.exceptions)
    except ImportError:
        report.problems.append(f"{aggregate}: decisions were not tried; install hypothesis")
    if samples is not None:
        report.problems += check_samples(aggregate, samples)
    return report


def commands_of(aggregate: Aggregate[Any]) -> "SearchStrategy[DomainCommand]":
    """Return a Hypothesis strategy of an aggregate's commands, made from their models."""
    from hypothesis import reject
    from hypothesis import strategies as st

    @st.composite
    def valid(draw: "DrawFn", strategy: "SearchStrategy[DomainCommand]") -> DomainCommand:
        for _ in range(_ATTEMPTS):
            try:
                command = draw(strategy)
                normalised(command.model_dump(mode="json"))
            except (ValidationError, InputInvalid):  # by a rule that the type does not tell Hypothesis
                continue
            return command
        return reject()

    return st.one_of([valid(st.builds(model)) for model in aggregate.commands])


def _try_streams(aggregate: Aggregate[Any], report: ContractReport) -> None:
    from hypothesis import HealthCheck, Phase, given, settings
    from hypothesis import strategies as st

    @settings(
        max_examples=STREAMS,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],  # its explanation is not shown, and takes half of the time
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(st.lists(commands_of(aggregate), min_size=1, max_size=COMMANDS_MAX))
    def tried(commands: list[DomainCommand]) -> None:
        report.streams += 1
        report.made |= check_decisions(aggregate, commands)

    tried()


@contextmanager
def _told(aggregate: Aggregate[Any], doing: str) -> Iterator[None]:
    try:
        yield
    except ContractBrokenError as error:
        raise ContractBrokenError(f"{aggregate}: {doing}: {error}") from error
    except OncelogError as error:
        raise ContractBrokenError(f"{aggregate}: {doing}: {error.message}") from error


def _pure(function: Callable[..., Any], *args: Any) -> Any:
    """Call a function; raise ContractBrokenError if it asks a clock, chance or the world outside.

    The interpreter reports each call of a built-in function, so nothing has to be replaced.
    """
    impure: list[str] = []

    def watch(frame: FrameType, event: str, called: Any) -> None:
        if event == "c_call" and _is_impure(called) and not _is_of_hypothesis(frame):
            impure.append(getattr(called, "__qualname__", repr(called)))

    before = sys.getprofile()
    sys.setprofile(watch)
    try:
        result = function(*args)
    finally:
        sys.setprofile(before)
    if impure:
        raise ContractBrokenError(f"calls {', '.join(dict.fromkeys(impure))}; take time and identity from the context")
    return result


def _is_of_hypothesis(frame: FrameType) -> bool:
    """Return whether the call is one of Hypothesis, which measures the garbage collector wherever it runs."""
    return str(frame.f_globals.get("__name__", "")).startswith("hypothesis")


def _is_impure(called: Any) -> bool:
    owner = getattr(called, "__self__", None)
    if called is open:
        return True
    module = getattr(called, "__module__", None) or getattr(owner, "__name__", None) or type(owner).__module__
    if module in _IMPURE_MODULES or type(owner).__module__ in _IMPURE_MODULES:
        return True
    is_moment = getattr(owner, "__module__", None) == "datetime" and isinstance(owner, type)
    return is_moment and getattr(called, "__name__", "") in _IMPURE_METHODS
