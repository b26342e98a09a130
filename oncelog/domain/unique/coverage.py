"""Coverage: whether the last event of an instance was decided under a definition that has a unique constraint.

At most one covered instance holds a value of a constraint. An instance whose last event was decided before the
constraint was there is not covered until its next event.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from oncelog.domain.events import DefinitionReference, Event, EventType
from oncelog.domain.ontology.class_schema import ClassSchema, class_schema_after


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
    """Return what the events of a class, from its first on, come to; None where it was never defined."""
    class_schema: ClassSchema | None = None
    since: dict[str, int] = {}
    for event in events:
        class_schema = class_schema_after(class_schema, event)
        if class_schema is not None and event.event_type is EventType.CLASS_DEFINED:
            since = {name: since.get(name, event.sequence_number) for name in class_schema.constraints}
    return ConstraintSpans(class_schema, since) if class_schema is not None else None
