"""Coverage: whether the last event of an instance was decided under a definition that has a unique constraint.

At most one covered instance holds a value of a constraint. An instance with a last event decided before the
constraint was there is not covered until its next event.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from oncelog.domain.events import DefinitionReference, Event
from oncelog.domain.ontology.class_schema import ClassSchema, add_definition


@dataclass(frozen=True)
class ConstraintSpans:
    """The constraints of a class's newest definition.

    ``since``: by name, the sequence number of the definition from which on every definition has the constraint.
    """

    class_schema: ClassSchema
    since: Mapping[str, int]

    def lacking(self, definition: DefinitionReference | None) -> frozenset[str]:
        """Return the constraints that do not cover an instance. ``definition``: the one its last event names."""
        known = definition.sequence_number if definition else 0
        return frozenset(name for name, first in self.since.items() if known < first)


def constraint_spans(events: Iterable[Event]) -> ConstraintSpans | None:
    """Return the constraint spans by the events of a class, from its first on; None where it was never defined."""
    definitions: list[ClassSchema] = []
    for event in events:
        add_definition(definitions, event)
    return spans_of(definitions)


def spans_of(definitions: Sequence[ClassSchema]) -> ConstraintSpans | None:
    """Return the constraint spans by the definitions of a class, in their order; None where there are none."""
    since: dict[str, int] = {}
    for class_schema in definitions:
        number = class_schema.reference.sequence_number
        since = {name: since.get(name, number) for name in class_schema.constraints}
    return ConstraintSpans(definitions[-1], since) if definitions else None
