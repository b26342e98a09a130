"""What instances of a class are decided under: its definition, and how data of earlier ones gets into its form."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import jsonschema_rs
from pydantic import ValidationError

from factline.domain.events import DefinitionReference, Event, EventType, content_of
from factline.domain.graph import edge_map
from factline.domain.identifiers import AggregateId
from factline.domain.json_pointer import parse_pointer, pointer_of, value_at
from factline.domain.ontology.definition import Cardinality, ClassDefinition, Relationship
from factline.domain.ontology.migration import MigrationStep, migrated
from factline.domain.ontology.schemas import Finding, findings_of, validator_of
from factline.errors import InputInvalid, LogDamaged


@dataclass(frozen=True)
class Rules:
    """One version of a class. ``retired``: no instance may be created or changed any more.

    ``lineage``: the migration of each definition up to this one, with the sequence number of the event that made it.
    """

    reference: DefinitionReference
    definition: ClassDefinition
    lineage: tuple[tuple[int, tuple[MigrationStep, ...]], ...]
    retired: bool = False

    @cached_property
    def _validator(self) -> jsonschema_rs.Draft202012Validator:
        return validator_of(self.definition.json_schema)

    def findings(self, data: dict[str, Any]) -> list[Finding]:
        """Return everything that is wrong with an instance's data, each with a JSON Pointer to where it stands."""
        return [*findings_of(self._validator, data), *self._reference_findings(data)]

    def current(self, data: dict[str, Any], since: DefinitionReference | None) -> dict[str, Any]:
        """Return data in the form of this definition; ``since``: the one it was validated against, None for none."""
        known = since.sequence_number if since else 0
        steps = [step for sequence_number, steps in self.lineage if sequence_number > known for step in steps]
        return migrated(data, steps) if steps else data

    def edges(self, data: dict[str, Any], db_name: str) -> dict[str, tuple[AggregateId, ...]]:
        """Return what the data, in the form of this definition, refers to by each predicate."""
        return edge_map(
            {
                predicate: {
                    AggregateId.of(db_name, relationship.target_class, instance_id)
                    for _, instance_id in _standing(relationship, data)
                    if _problem(instance_id) is None
                }
                for predicate, relationship in self.definition.relationships.items()
            }
        )

    def _reference_findings(self, data: dict[str, Any]) -> Iterator[Finding]:
        for predicate, relationship in self.definition.relationships.items():
            value = value_at(data, parse_pointer(relationship.path))
            if value is not None and isinstance(value, list) != (relationship.cardinality is Cardinality.MANY):
                wanted = (
                    "an array of instance IDs" if relationship.cardinality is Cardinality.MANY else "one instance ID"
                )
                yield {"at": relationship.path, "problem": f"{predicate}: expected {wanted}"}
                continue
            for at, instance_id in _standing(relationship, data):
                if problem := _problem(instance_id):
                    yield {"at": at, "problem": f"{predicate}: {problem}"}


def _standing(relationship: Relationship, data: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every value that stands for a reference, with where it stands."""
    value = value_at(data, parse_pointer(relationship.path))
    if isinstance(value, list):
        yield from ((relationship.path + pointer_of([index]), item) for index, item in enumerate(value))
    elif value is not None:
        yield relationship.path, value


def _problem(instance_id: Any) -> str | None:
    if not isinstance(instance_id, str):
        return f"expected an instance ID, found {type(instance_id).__name__}"
    try:
        AggregateId.of("a", "b", instance_id)
    except InputInvalid as error:
        return error.message
    return None


def rules_after(rules: Rules | None, event: Event) -> Rules | None:
    """Return the rules after one more event of the class.

    Raises SchemaUnsupported for a version that this release cannot read, LogDamaged for what is no definition.
    """
    if event.event_type is EventType.CLASS_RETIRED:
        return replace(rules, retired=True) if rules else None
    try:
        definition = ClassDefinition.model_validate(content_of(event).data)
    except ValidationError as error:
        where = f"aggregate {event.aggregate_id} event {event.sequence_number}"
        raise LogDamaged(f"{where}: not a definition: {error}; run factline verify", where=where) from error
    return Rules(
        reference=DefinitionReference(sequence_number=event.sequence_number, version=definition.version),
        definition=definition,
        lineage=(
            (*rules.lineage, (event.sequence_number, definition.migration))
            if rules
            else ((event.sequence_number, definition.migration),)
        ),
    )


def rules_of(events: Iterable[Event]) -> Rules | None:
    """Return what the events of a class come to, from its first on; None where there are none."""
    rules = None
    for event in events:
        rules = rules_after(rules, event)
    return rules
