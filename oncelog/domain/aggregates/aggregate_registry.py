"""The aggregates of one's own that this process knows: from entry points and a setting, read once."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any

from oncelog.domain.aggregates.definition import Aggregate
from oncelog.domain.schema_versions import Step
from oncelog.domain.semantic_version import SemanticVersion
from oncelog.domain.type_names import BULK_PREFIX, CommandType, EventType
from oncelog.errors import EventFromFuture, InputInvalid, OncelogError, SettingsInvalid
from oncelog.named_object import named_object, split_name

#: The group of entry points whose objects are aggregates.
ENTRY_POINTS = "oncelog.aggregates"
#: The setting that names more, as ``module:object`` with commas between them.
VARIABLE = "ONCELOG_AGGREGATES"


class Registry:
    """Aggregates by name, by command type and by event type.

    Raises SettingsInvalid for two with the same name, and for names that are built in.
    """

    def __init__(self, aggregates: Iterable[Aggregate[Any]] = ()) -> None:
        self.aggregates: dict[str, Aggregate[Any]] = {}
        self.commands: dict[str, Aggregate[Any]] = {}
        self.events: dict[str, Aggregate[Any]] = {}
        self._steps: dict[tuple[str, str], tuple[Step, ...]] = {}
        names_in_lower_case: dict[str, Aggregate[Any]] = {}
        for aggregate in aggregates:
            _add(names_in_lower_case, "the class", [aggregate.name.lower()], aggregate)
            _add(self.aggregates, "the name", [aggregate.name], aggregate)
            _add(self.commands, "command", [model.type_name for model in aggregate.commands], aggregate)
            _add(self.events, "event", [model.type_name for model in aggregate.events], aggregate)

    def __str__(self) -> str:
        return ", ".join(map(str, self.aggregates.values())) or "none"

    def of_command(self, command_type: str) -> Aggregate[Any]:
        """Return the aggregate that takes commands of this type; raises InputInvalid."""
        aggregate = self.commands.get(command_type)
        if aggregate is None:
            raise InputInvalid(
                f"command_type: expected one of {', '.join([*CommandType, *self.commands])}, found "
                f"{command_type[:80]!r}; is the package installed here whose aggregate takes it ({VARIABLE})?"
            )
        return aggregate

    def of_event(self, event_type: str, *, class_id: str = "") -> Aggregate[Any]:
        """Return the aggregate that an event's type belongs to; raises EventFromFuture."""
        aggregate = self.events.get(event_type)
        if aggregate is None:
            of_class = f" of class {class_id[:80]}" if class_id else ""
            raise EventFromFuture(
                f"an event of type {event_type[:80]}{of_class}, which this release does not know, nor does an "
                f"aggregate that is registered here ({self}); install the package of the aggregate {class_id[:80]} "
                f"(entry point {ENTRY_POINTS}, or {VARIABLE}), or upgrade; until then what this event is about waits",
                event_type=event_type,
                aggregate=class_id,
            )
        return aggregate

    def of_state(self, state_version: str) -> Aggregate[Any]:
        """Return the aggregate that a state was folded by; raises EventFromFuture."""
        name = state_version.partition("/")[0]
        aggregate = self.aggregates.get(name)
        if aggregate is None:
            raise EventFromFuture(
                f"a state of aggregate {name}, which is not registered here ({self}); install its package (entry point "
                f"{ENTRY_POINTS}, or {VARIABLE})",
                aggregate=name,
            )
        return aggregate

    def steps_from(self, event_type: str, version: str) -> tuple[Step, ...]:
        """Return the steps that lead from a stored version to the newest; raises SchemaUnsupported, InputInvalid."""
        steps = self._steps.get((event_type, version))
        if steps is None:
            versions = self.of_event(event_type).versions[event_type]
            steps = self._steps[event_type, version] = versions.steps_from(SemanticVersion.parse(version))
        return steps


def _add(known: dict[str, Aggregate[Any]], kind: str, names: Iterable[str], aggregate: Aggregate[Any]) -> None:
    for name in names:
        if name in list(CommandType) or name in list(EventType) or name.startswith(BULK_PREFIX):
            raise SettingsInvalid(f"{aggregate}: {kind} {name} is built in; give it another name")
        if name in known:
            raise SettingsInvalid(f"{aggregate}: {kind} {name} is taken by {known[name]}; rename one of them")
        known[name] = aggregate


_current: list[Registry] = []  # at most one, so that a process reads its setting once


def registry() -> Registry:
    """Return the aggregates of this process, loaded when they are first asked for; raises SettingsInvalid."""
    return _current[0] if _current else load_aggregates()


def load_aggregates() -> Registry:
    """Load the aggregates that entry points and the setting name, unless they are loaded; raises SettingsInvalid.

    Every program does so at its start, before it takes work.
    """
    if not _current:
        found = [(f"entry point {point.value}", point.value) for point in entry_points(group=ENTRY_POINTS)]
        setting = os.environ.get(VARIABLE, "")
        found += [(VARIABLE, name.strip()) for name in setting.split(",") if name.strip()]
        loaded = {id(aggregate): aggregate for origin, name in found for aggregate in [_loaded(name, origin)]}
        _current.append(Registry(loaded.values()))
    return _current[0]


@contextmanager
def registered(*aggregates: Aggregate[Any]) -> Iterator[Registry]:
    """Know these aggregates within the block, in place of others of the same names; for tests.

    Raises SettingsInvalid.
    """
    before = registry()
    _current[0] = Registry({**before.aggregates, **{each.name: each for each in aggregates}}.values())
    try:
        yield _current[0]
    finally:
        _current[0] = before


def _loaded(name: str, origin: str) -> Aggregate[Any]:
    if (parts := split_name(name)) is None:
        raise SettingsInvalid(f"{origin}: expected module:object such as shop.aggregates:order, found {name[:80]!r}")
    try:
        found = named_object(*parts)
    except OncelogError as error:
        raise SettingsInvalid(f"{origin}: {name} is not usable: {error.message}") from error
    except Exception as error:
        raise SettingsInvalid(f"{origin}: {name} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Aggregate):
        raise SettingsInvalid(f"{origin}: expected {name} to be an Aggregate, found {type(found).__name__}")
    return found
