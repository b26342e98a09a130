"""The unique values that an instance holds after each of its events, each read under the definition its event names."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.unique.constraint import ValueKey
from oncelog.domain.unique.coverage import spans_of
from oncelog.domain.unique.holding import held_values
from oncelog.errors import AggregateDefect, SchemaUnsupported

Values = frozenset[ValueKey]
NONE: Values = frozenset()


class Definitions:
    """The definitions of a class, in their order. ``by_event``: by the sequence number of the event that made each."""

    def __init__(self, class_schemas: Sequence[ClassSchema]) -> None:
        self.by_event = {each.reference.sequence_number: each for each in class_schemas}
        self.spans = spans_of(class_schemas)


@dataclass
class Holdings:
    """The values held after each event, kept where they change; None where damage leaves them unknown.

    ``uncovered``: the constraints of the class that the last due event was not decided under, nor any event after it.
    """

    uncovered: tuple[str, ...] = ()
    _numbers: list[int] = field(default_factory=list)
    _values: list[Values | None] = field(default_factory=list)

    def note(self, number: int, state: Instance | None, definitions: Definitions, *, is_due: bool) -> None:
        """Take the state after an event, None where it is unknown; in the order of the events."""
        if is_due or self.uncovered:  # an event since the check began may have covered it
            lacks = _uncovered_by(state, definitions)
            self.uncovered = lacks if is_due else tuple(name for name in self.uncovered if name in lacks)
        values = _held_by(state, definitions.by_event)
        if values != (self._values[-1] if self._values else NONE):
            self._numbers.append(number)
            self._values.append(values)

    def after(self, number: int) -> Values | None:
        """Return the values held after an event."""
        at = bisect_right(self._numbers, number)
        return self._values[at - 1] if at else NONE

    def brought_in(self, number: int) -> Values:
        """Return the values that are held after an event and were not before; none where either is unknown."""
        before, after = self.after(number - 1), self.after(number)
        return NONE if before is None or after is None else after - before

    def ever(self) -> Values:
        """Return the values held after any of the events."""
        return NONE.union(*(values for values in self._values if values is not None))

    def changes(self) -> Sequence[int]:
        """Return the events that change the held values, by sequence number."""
        return self._numbers


def _held_by(state: Instance | None, class_schemas: Mapping[int, ClassSchema]) -> Values | None:
    """Return the values that an instance holds; None where that is unknown."""
    if state is None:
        return None
    reference = state.definition
    if reference is not None and reference.sequence_number not in class_schemas:
        return None
    class_schema = class_schemas[reference.sequence_number] if reference else None
    try:
        return frozenset(held_values(state, class_schema))
    except AggregateDefect:
        return None


def _uncovered_by(state: Instance | None, definitions: Definitions) -> tuple[str, ...]:
    """Return the constraints that a live instance is not covered by; none where its class is retired.

    Instances of a retired class cannot be updated, and nothing new can take their values.
    """
    own, spans = _own_uncovered(state), definitions.spans
    if state is None or not state.exists or spans is None or spans.class_schema.retired:
        return own
    reference = state.definition
    if reference is not None and reference.sequence_number not in definitions.by_event:
        return own
    return tuple(sorted({*own, *spans.lacking(reference)}))


def _own_uncovered(state: Instance | None) -> tuple[str, ...]:
    """Return the constraints of an aggregate of one's own that its last event was not decided under."""
    if state is None or not state.exists or state.state_version is None:
        return ()
    try:
        constraints = registry().of_state(state.state_version).constraints
    except SchemaUnsupported:
        return ()
    return tuple(name for name in constraints if name not in state.constraints)
