"""The class schema that instances are decided under: its definition, and how data of earlier ones gets into its
form.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import jsonschema_rs
from pydantic import ValidationError

from oncelog.domain.events import DefinitionReference, Event, EventType, content_of
from oncelog.domain.graph import edge_map
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.json_pointer import parse_pointer, value_at
from oncelog.domain.json_size import values_and_characters, weighs_more
from oncelog.domain.limits import EDGES_MAX, JUDGEMENTS_MAX, MATCHING_STEPS_MAX
from oncelog.domain.ontology.budget import JudgingCost
from oncelog.domain.ontology.definition import Cardinality, ClassDefinition, Relationship
from oncelog.domain.ontology.explanation import Explanation, Findings
from oncelog.domain.ontology.migration import MigrationStep, migrated
from oncelog.domain.ontology.patterns import MatchingCost
from oncelog.domain.ontology.schemas import validator_of
from oncelog.domain.unique.constraint import UniqueConstraint, unique_findings
from oncelog.errors import InputInvalid, LogDamaged

#: Data and a definition up to this size are judged at once, by a hundredth of the permitted budget at most.
LONG_BYTES = 16 * 1024
HURRIED_SHARE = 100
#: Data and a definition up to this size are explained at once, too.
EXPLAINED_BYTES = 2 * 1024


class TakesLongError(Exception):
    """A decision may take more than some milliseconds; its caller was in a hurry and takes it elsewhere."""


def check_haste(*values: Any, bytes_max: int = LONG_BYTES) -> None:
    """Raise TakesLongError if any of these values is large."""
    if any(weighs_more(value, than_bytes=bytes_max) for value in values):
        raise TakesLongError


@dataclass(frozen=True)
class ClassSchema:
    """One version of a class. ``retired``: no instance may be created or changed any more.

    ``lineage``: the migration of each definition up to this one, with the sequence number of the event that made it.
    """

    reference: DefinitionReference
    definition: ClassDefinition
    lineage: tuple[tuple[int, tuple[MigrationStep, ...]], ...]
    retired: bool = False

    def __getstate__(self) -> dict[str, Any]:
        """Leave out the compiled parts: another process compiles them itself."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def prepare(self) -> None:
        """Compile the costs and the validator for judging; may take long for a large definition."""
        with contextlib.suppress(InputInvalid):  # found again by each judgement
            _ = self._cost, self._matching
        _ = self._validator

    @property
    def constraints(self) -> Mapping[str, UniqueConstraint]:
        """The unique constraints of the class, by name."""
        return self.definition.constraints

    @cached_property
    def required_relationships(self) -> Sequence[str]:
        """The names of the relationships with ``must_exist``, in order."""
        return sorted(name for name, each in self.definition.relationships.items() if each.must_exist)

    @property
    def rests_on_others(self) -> bool:
        """Whether a decision may rest on instances beside the command's own."""
        return bool(self.constraints or self.required_relationships)

    @cached_property
    def is_large(self) -> bool:
        """Whether its definition takes long to compile."""
        return weighs_more(self.definition.json_schema, than_bytes=EXPLAINED_BYTES)

    @cached_property
    def _validator(self) -> jsonschema_rs.Draft202012Validator:
        return validator_of(self.definition.json_schema)

    @cached_property
    def _cost(self) -> JudgingCost:
        return JudgingCost(self.definition.json_schema)

    @cached_property
    def _matching(self) -> MatchingCost:
        return MatchingCost(self.definition.json_schema)

    @cached_property
    def _explanation(self) -> Explanation:
        return Explanation(self.definition.json_schema, validator_of, cost=self._cost, matching=self._matching)

    def findings(self, data: dict[str, Any], *, hurried: bool = False) -> Findings:
        """Return the problems with an instance's data, each with a JSON Pointer to its place; empty if it fits.

        ``hurried``: raise TakesLongError where that may take more than some milliseconds.
        """
        found = Findings()
        if problem := self._beyond_budget(data, share=HURRIED_SHARE if hurried else 1):
            if hurried:
                raise TakesLongError
            found.add((), problem)
            return found
        if not self._validator.is_valid(data):
            if hurried and self.is_large:
                raise TakesLongError
            if hurried:
                check_haste(data, bytes_max=EXPLAINED_BYTES)
            found = self._explanation.of(data)
        for at, problem in self._reference_findings(data):
            found.add(at, problem)
        for at, problem in unique_findings(self.constraints, data):
            found.add(at, problem)
        return found

    def _beyond_budget(self, data: dict[str, Any], *, share: int) -> str | None:
        judgements_max, steps_max = JUDGEMENTS_MAX // share, MATCHING_STEPS_MAX // share
        try:
            values, characters = values_and_characters(data)
            if self._cost.is_within(values, judgements_max=judgements_max) and self._matching.is_within(
                characters, steps_max=steps_max
            ):
                return None  # as for every ordinary command: no need to count by schema
            exceeded = self._cost.exceeded_by(data, judgements_max=judgements_max)
            unmatched = not exceeded and self._matching.exceeded_by(data, steps_max=steps_max)
        except InputInvalid as error:  # the class was defined before there was a budget
            return f"its class's schema cannot be judged by, since {error.message}; define the class anew"
        if unmatched:
            return (
                "has texts too long for the patterns of its class's schema: matching them could take more than "
                f"{MATCHING_STEPS_MAX} steps; shorten them, or define the class with simpler patterns"
            )
        if not exceeded:
            return None
        return (
            "is too large and too deeply nested for the alternatives of its class's schema: judging it could take "
            f"more than {JUDGEMENTS_MAX} steps; flatten it, or define the class with fewer alternatives"
        )

    def current(self, data: dict[str, Any], since: DefinitionReference | None) -> dict[str, Any]:
        """Return data in the form of this definition; ``since``: the one it was validated against, None for none."""
        known = since.sequence_number if since else 0
        steps = [step for sequence_number, steps in self.lineage if sequence_number > known for step in steps]
        return migrated(data, steps) if steps else data

    def edges(self, data: dict[str, Any], db_name: str) -> dict[str, tuple[AggregateId, ...]]:
        """Return the instances that the data, in the form of this definition, refers to, by predicate."""
        return edge_map(
            {
                predicate: {
                    AggregateId.of(db_name, relationship.target_class, instance_id)
                    for _, instance_id in _references(relationship, data)
                    if _problem(instance_id) is None
                }
                for predicate, relationship in self.definition.relationships.items()
            }
        )

    def new_targets(
        self, predicate: str, before: dict[str, Any], after: dict[str, Any], db_name: str
    ) -> list[AggregateId]:
        """Return the targets of one predicate that data has after an event and had not before, each once, in order.

        Both are in the form of this definition.
        """
        relationship = self.definition.relationships[predicate]
        known, referred = (
            {instance_id for _, instance_id in _references(relationship, data) if isinstance(instance_id, str)}
            for data in (before, after)
        )
        valid = (instance_id for instance_id in referred - known if _problem(instance_id) is None)
        return sorted({AggregateId.of(db_name, relationship.target_class, each) for each in valid}, key=str)

    def _reference_findings(self, data: dict[str, Any]) -> Iterator[tuple[Sequence[str | int], str]]:
        count = 0
        for predicate, relationship in self.definition.relationships.items():
            path = parse_pointer(relationship.path)
            value = value_at(data, path)
            if value is not None and isinstance(value, list) != (relationship.cardinality is Cardinality.MANY):
                expected = (
                    "an array of instance IDs" if relationship.cardinality is Cardinality.MANY else "one instance ID"
                )
                yield path, f"{predicate}: expected {expected}"
                continue
            targets = set()
            for at, instance_id in _references(relationship, data):
                if problem := _problem(instance_id):
                    yield at, f"{predicate}: {problem}"
                else:
                    targets.add(instance_id)
            count += len(targets)
            if count > EDGES_MAX:
                yield (
                    path,
                    f"{predicate}: expected at most {EDGES_MAX} references of one instance, found {count}; "
                    "let the other side refer to this one instead",
                )
                return


def _references(relationship: Relationship, data: dict[str, Any]) -> Iterator[tuple[Sequence[str | int], Any]]:
    """Yield every value that is a reference, with its place."""
    path: tuple[str | int, ...] = parse_pointer(relationship.path)
    value = value_at(data, parse_pointer(relationship.path))
    if isinstance(value, list):
        yield from (((*path, index), item) for index, item in enumerate(value))
    elif value is not None:
        yield path, value


def _problem(instance_id: Any) -> str | None:
    if not isinstance(instance_id, str):
        return f"expected an instance ID, found {type(instance_id).__name__}"
    try:
        AggregateId.of("a", "b", instance_id)
    except InputInvalid as error:
        return error.message
    return None


def class_schema_after(class_schema: ClassSchema | None, event: Event) -> ClassSchema | None:
    """Return the class schema after one more event of the class.

    Raises SchemaUnsupported for a version that this release cannot read, LogDamaged for content that is no definition.
    """
    if event.event_type is EventType.CLASS_RETIRED:
        return replace(class_schema, retired=True) if class_schema else None
    try:
        definition = ClassDefinition.model_validate(content_of(event).data)
    except ValidationError as error:
        where = f"aggregate {event.aggregate_id} event {event.sequence_number}"
        raise LogDamaged(f"{where}: not a definition: {error}; run oncelog verify", where=where) from error
    return ClassSchema(
        reference=DefinitionReference(sequence_number=event.sequence_number, version=definition.version),
        definition=definition,
        lineage=(
            (*class_schema.lineage, (event.sequence_number, definition.migration))
            if class_schema
            else ((event.sequence_number, definition.migration),)
        ),
    )


def add_definition(definitions: list[ClassSchema], event: Event) -> None:
    """Add the class schema after one more event to the class's definitions so far; a retirement marks the last one.

    Raises SchemaUnsupported, LogDamaged.
    """
    class_schema = class_schema_after(definitions[-1] if definitions else None, event)
    if class_schema is None:
        return
    if event.event_type is EventType.CLASS_RETIRED:
        definitions.pop()
    definitions.append(class_schema)


def class_schema_of(events: Iterable[Event]) -> ClassSchema | None:
    """Return the class schema after the events of a class, from its first on; None where there are none."""
    class_schema = None
    for event in events:
        class_schema = class_schema_after(class_schema, event)
    return class_schema
