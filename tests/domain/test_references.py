"""References that must exist: which ones an event brings in, and how the rejection names a target that is missing."""

from typing import Any

import pytest

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.commands import Command
from oncelog.domain.decide import decide
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.limits import EDGES_MAX, MISSING_REFERENCES_MAX
from oncelog.domain.ontology.class_schema import ClassSchema, class_schema_of
from oncelog.domain.references import Reference, reference_not_found, references_brought_in, required_references
from oncelog.domain.results import Rejection
from tests.classes import TEXT, define, schema
from tests.commands import create, delete, update
from tests.required_references import IDS, PRODUCTS
from tests.write.world import NOON

P1 = Instance(aggregate_id="shop/Product/p1")


def event_of(state: Instance, command: Command, class_schema: ClassSchema | None = None) -> Event:
    decision = decide(state, command, occurred_at=NOON, class_schema=class_schema)
    assert isinstance(decision, Event), decision
    return decision


def class_schema(*definitions: dict[str, Any]) -> ClassSchema:
    state, events = Instance(aggregate_id="shop/_class/Product"), []
    for definition in definitions:
        events.append(event_of(state, define(definition)))
        state = evolve(state, events[-1])
    found = class_schema_of(events)
    assert found is not None
    return found


SCHEMA = class_schema(PRODUCTS)


def after(*commands: Command, schema: ClassSchema | None = SCHEMA) -> Instance:
    state = P1
    for command in commands:
        state = evolve(state, event_of(state, command, schema))
    return state


def brought_in(state: Instance, command: Command, schema: ClassSchema = SCHEMA) -> list[str]:
    found = references_brought_in(state, evolve(state, event_of(state, command, schema)), schema)
    return [f"{name} {target}" for name, target in found]


def test_create_brings_in_each_reference_once():
    payload = {"maker": "m1", "parts": ["p3", "p2", "p3"], "alike": ["p4"]}
    expected = ["has_part shop/Product/p2", "has_part shop/Product/p3", "made_by shop/Maker/m1"]
    assert brought_in(P1, create("p1", payload)) == expected


def test_unrelated_update_brings_in_nothing():
    state = after(create("p1", {"maker": "m1", "parts": ["p2"]}))
    assert brought_in(state, update("p1", {"n": 1})) == []
    assert brought_in(state, update("p1", {"maker": "m1"})) == []
    assert brought_in(state, update("p1", {"parts": []})) == []
    assert brought_in(state, delete("p1")) == []


def test_update_brings_in_its_new_references_only():
    state = after(create("p1", {"maker": "m1", "parts": ["p2", "p3"]}))
    assert brought_in(state, update("p1", {"parts": ["p3", "p4", "p2"]})) == ["has_part shop/Product/p4"]
    assert brought_in(state, update("p1", {"maker": "m2"})) == ["made_by shop/Maker/m2"]


def test_reference_is_brought_in_by_each_relationship():
    state = after(create("p1", {"alike": ["p2"]}))
    assert brought_in(state, update("p1", {"parts": ["p2"]})) == ["has_part shop/Product/p2"]


def test_instance_that_refers_to_itself_needs_no_look():
    assert brought_in(P1, create("p1", {"parts": ["p1", "p2"]})) == ["has_part shop/Product/p2"]


def test_created_again_brings_in_all_anew():
    state = after(create("p1", {"maker": "m1"}), delete("p1"))
    assert brought_in(state, create("p1", {"maker": "m1"})) == ["made_by shop/Maker/m1"]


def test_deleted_target_may_be_let_go():
    state = after(create("p1", {"maker": "m1"}))
    assert brought_in(state, update("p1", {"maker": None})) == []


def test_reference_is_not_new_because_it_must_exist_now():
    both = class_schema(LAX, {**PRODUCTS, "version": "1.1.0"})
    state = after(create("p1", {"maker": "m1", "n": 1}), schema=class_schema(LAX))
    assert required_references(state, [class_schema(LAX)]) == ()
    assert brought_in(state, update("p1", {"n": 2}), both) == []
    assert brought_in(state, update("p1", {"maker": "m2"}), both) == ["made_by shop/Maker/m2"]


def test_reference_is_not_new_because_its_member_was_renamed():
    second = {
        "version": "2.0.0",
        "schema": schema(producer=TEXT, parts=IDS),
        "relationships": {"made_by": {**PRODUCTS["relationships"]["made_by"], "path": "/producer"}},
        "migration": [{"rename": {"at": "/maker", "to": "producer"}}, {"keep": {"at": "", "members": ["producer"]}}],
    }
    state = after(create("p1", {"maker": "m1"}))
    migrated = class_schema(PRODUCTS, second)
    assert brought_in(state, update("p1", {"parts": []}), migrated) == []
    assert brought_in(state, update("p1", {"producer": "m2"}), migrated) == ["made_by shop/Maker/m2"]


def test_undefined_class_and_one_without_must_exist_need_no_look():
    plain = class_schema({"version": "1.0.0", "schema": {"type": "object"}})
    assert references_brought_in(P1, evolve(P1, event_of(P1, create("p1", {"maker": "m1"}))), None) == []
    assert brought_in(P1, create("p1", {"maker": "m1"}), plain) == []


def test_references_of_a_live_instance_are_all_of_them():
    state = after(create("p1", {"maker": "m1", "parts": ["p1", "p2"], "alike": ["p9"]}))
    assert [str(each.target) for each in required_references(state, [SCHEMA])] == ["shop/Product/p2", "shop/Maker/m1"]
    assert required_references(after(create("p1", {"maker": "m1"}), delete("p1")), [SCHEMA]) == ()


def test_most_references_of_one_instance_are_found_at_once():
    payload = {"parts": [f"p{number}" for number in range(2, EDGES_MAX + 2)]}
    assert len(brought_in(P1, create("p1", payload))) == EDGES_MAX


def reference(number: int) -> Reference:
    return Reference("has_part", AggregateId.of("shop", "Product", f"p{number}"))


def not_found(*versions: int | None) -> Rejection | None:
    references = [reference(number) for number in range(len(versions))]
    absences = {each.target: version for each, version in zip(references, versions, strict=True)}
    return reference_not_found(P1, references, absences)


def test_existing_targets_refuse_nothing():
    assert not_found() is None
    assert not_found(None, None) is None


@pytest.mark.parametrize(
    ("version", "words"), [(0, "p1, which does not exist"), (3, "p1, which was deleted at version 3")]
)
def test_rejection_names_the_missing_target(version: int, words: str):
    refused = not_found(None, version)
    assert refused is not None
    assert str(refused.code) == "ReferenceNotFound"
    assert refused.message == (
        f"aggregate shop/Product/p1: has_part refers to shop/Product/{words}; "
        "create the target first, or refer to another instance"
    )
    missing = {"relationship": "has_part", "target": "shop/Product/p1", "target_version": version}
    assert refused.details == {**missing, "missing": [missing], "missing_count": 1, "found_version": 0}


def test_rejection_lists_the_first_ones_and_counts_all():
    refused = not_found(*[0] * EDGES_MAX)
    assert refused is not None
    assert "shop/Product/p0, which does not exist, and 9999 more references lead to no instance" in refused.message
    assert len(refused.details["missing"]) == MISSING_REFERENCES_MAX
    assert refused.details["missing_count"] == EDGES_MAX
    assert len(canonical_bytes(refused.details)) < 4096


LAX: dict[str, Any] = {
    **PRODUCTS,
    "relationships": {
        name: {key: value for key, value in each.items() if key != "must_exist"}
        for name, each in PRODUCTS["relationships"].items()
    },
}


@pytest.mark.parametrize("version", ["1.0.1", "1.1.0", "2.0.0"])
def test_must_exist_may_be_added_and_removed(version: str):
    for first, second in ((LAX, PRODUCTS), (PRODUCTS, LAX)):
        assert class_schema(first, {**second, "version": version}).reference.sequence_number == 2


def test_must_exist_is_part_of_what_a_definition_says():
    assert SCHEMA.definition.says(PRODUCTS)
    assert not SCHEMA.definition.says(LAX)
