"""The budget for judging schemas and data: no permitted input takes long, whatever its size and shape."""

import sys
import tracemalloc
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from oncelog.domain.events import DefinitionReference
from oncelog.domain.json_size import values_and_characters
from oncelog.domain.limits import EDGES_MAX, FINDINGS_MAX
from oncelog.domain.ontology.budget import JudgingCost
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.ontology.compatibility import schema_breaks
from oncelog.domain.ontology.definition import ClassDefinition, parse_definition
from oncelog.domain.ontology.migrated_schema import migrated_schema
from oncelog.domain.ontology.migration import MigrationStep
from oncelog.domain.ontology.schemas import schema_findings
from oncelog.errors import InputInvalid
from tests.domain.schema_strategies import object_schemas, objects

pytestmark = pytest.mark.no_cover

#: Calls and returns of functions, Python's and C's. Generous: an input without a bound takes millions more.
STEPS_MAX = 6_000_000
MEMORY_BYTES_MAX = 64 * 1024**2


class Work:
    """Fails if the block took more steps, or more memory, than any permitted input may.

    Steps are counted, and no time is taken: their number is the same on a slow machine and beside a tracer. The
    fuzz tests hold the time that one call of a library takes.
    """

    def __enter__(self) -> None:
        self._steps = 0
        tracemalloc.start()
        sys.setprofile(self._count)

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        peak_bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert self._steps < STEPS_MAX
        assert peak_bytes < MEMORY_BYTES_MAX

    def _count(self, _frame: FrameType, _event: str, _of: object) -> None:
        self._steps += 1


def class_schema(schema: dict[str, Any], **fields: Any) -> ClassSchema:
    definition = ClassDefinition.model_validate({"version": "1.0.0", "schema": schema, **fields})
    return ClassSchema(DefinitionReference(sequence_number=1, version="1.0.0"), definition, ((1, ()),))


def doubling(depth: int, combine: str) -> dict[str, Any]:
    twice = {
        f"d{number}": {combine: [{"$ref": f"#/$defs/d{number + 1}"}, {"$ref": f"#/$defs/d{number + 1}"}]}
        for number in range(depth)
    }
    return {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/d0"}},
        "$defs": {**twice, f"d{depth}": {"type": "string"}},
    }


def chain(length: int) -> dict[str, Any]:
    links = {f"d{number}": {"$ref": f"#/$defs/d{number + 1}"} for number in range(length)}
    return {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/d0"}},
        "$defs": {**links, f"d{length}": {"type": "string"}},
    }


FILTER: dict[str, Any] = {
    "type": "object",
    "properties": {"filter": {"$ref": "#/$defs/node"}},
    "$defs": {
        "node": {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"op": {"const": "and"}, "arg": {"$ref": "#/$defs/node"}},
                    "required": ["op", "arg"],
                },
                {
                    "type": "object",
                    "properties": {"op": {"const": "not"}, "arg": {"$ref": "#/$defs/node"}},
                    "required": ["op", "arg"],
                },
                {"type": "object", "properties": {"field": {"type": "string"}}, "required": ["field"]},
            ]
        }
    },
}


def nested_filter(depth: int, field: Any) -> dict[str, Any]:
    node: dict[str, Any] = {"field": field}
    for _ in range(depth):
        node = {"op": "and", "arg": node}
    return {"filter": node}


@pytest.mark.parametrize("combine", ["anyOf", "oneOf", "allOf"])
def test_multiplying_alternatives_are_refused(combine: str):
    with Work():
        (finding,) = schema_findings(doubling(20, combine))
    assert "multiply" in finding["problem"]


@pytest.mark.parametrize("length", [65, 1_200, 6_000])
def test_long_reference_chain_is_refused(length: int):
    with Work():
        (finding,) = schema_findings(chain(length))
    assert "in a row" in finding["problem"]


def test_short_reference_chain_is_accepted():
    assert schema_findings(chain(30)) == []
    assert class_schema(chain(30)).findings({"x": "text"}) == []


@pytest.mark.parametrize("combine", ["anyOf", "allOf", "not"])
def test_circle_without_descent_is_refused(combine: str):
    inner: Any = {"$ref": "#/$defs/a"}
    schema = {"type": "object", "$ref": "#/$defs/a", "$defs": {"a": {combine: inner if combine == "not" else [inner]}}}
    (finding,) = schema_findings(schema)
    assert "never end" in finding["problem"]


def test_deep_recursive_filter_is_rejected_at_once():
    with Work():
        findings = class_schema(FILTER).findings(nested_filter(15, 7))
    assert [finding["at"] for finding in findings] == ["/filter"]
    assert class_schema(FILTER).findings(nested_filter(15, "name")) == []


def test_data_beyond_the_budget_is_refused():
    with Work():
        findings = class_schema(FILTER).findings(nested_filter(29, 7))
    assert "flatten it" in findings[0]["problem"]


def test_properties_that_are_no_schemas_give_one_finding():
    schema = {"type": "object", "properties": {f"p{number}": number for number in range(20_000)}}
    with Work():
        (finding,) = schema_findings(schema)
    assert finding["at"] == "/properties/p0"


def test_oversized_definition_is_refused_unseen():
    schema = {"type": "object", "properties": {f"p{number}": number for number in range(90_000)}}
    with Work(), pytest.raises(InputInvalid) as caught:
        parse_definition({"version": "1.0.0", "schema": schema}, class_id="City")
    assert len(caught.value.details["errors"]) == 1


def test_many_wrong_leaves_are_counted_and_cut():
    schema = {"type": "object", "additionalProperties": {"$ref": "#/$defs/leaf"}, "$defs": {"leaf": {"type": "string"}}}
    with Work():
        findings = class_schema(schema).findings({f"k{number}": number for number in range(3_000)})
    assert len(findings) == FINDINGS_MAX
    assert findings.total == 3_000
    assert findings.complete


def test_uncounted_findings_are_said_to_be_so():
    schema = {"type": "object", "additionalProperties": {"type": "string"}}
    with Work():
        findings = class_schema(schema).findings({f"k{number}": number for number in range(50_000)})
    assert len(findings) == FINDINGS_MAX
    assert not findings.complete


def test_long_places_are_cut():
    schema = {"type": "object", "additionalProperties": {"$ref": "#"}}
    data: Any = {f"k{number}": number for number in range(500)}
    for _ in range(20):
        data = {"n" * 498: data}
    findings = class_schema(schema).findings(data)
    assert len(findings) == FINDINGS_MAX
    assert sum(len(finding["at"]) + len(finding["problem"]) for finding in findings) < 64 * 1024


def conditional(**more: Any) -> dict[str, Any]:
    cases = [
        {
            "if": {"properties": {f"k{number}": {"const": "v"}}, "required": [f"k{number}"]},
            "then": {"required": [f"r{number}"]},
        }
        for number in range(8)
    ]
    return {"type": "object", "allOf": cases, **more}


def test_a_new_description_breaks_nothing():
    with Work():
        assert schema_breaks(conditional(), conditional(description="said")) == []


def test_an_equal_keyword_breaks_nothing():
    old, new = conditional(minProperties=2), conditional(minProperties=1)
    with Work():
        assert schema_breaks(old, new) == []


def test_a_changed_alternative_beyond_proof_is_refused():
    new = conditional()
    new["allOf"][0]["then"] = {"required": ["other"]}
    with Work():
        assert schema_breaks(conditional(), new)


def test_recursive_schemas_are_compared():
    old = {"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": "string"}}}
    wider = {"type": "object", "properties": {"next": {"$ref": "#"}, "name": {"type": ["string", "null"]}}}
    assert schema_breaks(old, wider) == []
    assert [each["at"] for each in schema_breaks(wider, old)] == ["/properties/name/type"]


def test_members_named_like_annotations_count():
    old = {"type": "object", "properties": {"title": True}}
    new = {"type": "object", "properties": {"title": False}}
    assert schema_breaks(old, new)


def test_rename_in_a_recursive_class_breaks_what_is_nested():
    def node(name: str) -> dict[str, Any]:
        properties = {name: {"type": "string"}, "child": {"$ref": "#"}}
        return {"type": "object", "properties": properties, "additionalProperties": False}

    rename = MigrationStep.model_validate({"rename": {"at": "/old", "to": "new"}})
    assert schema_breaks(migrated_schema(node("old"), [rename]), node("new"))


def test_too_many_references_are_refused_at_their_place():
    parts = {"parts": {"target_class": "Part", "cardinality": "many", "path": "/parts"}}
    under = class_schema({"type": "object"}, relationships=parts)
    assert under.findings({"parts": [f"p{number}" for number in range(EDGES_MAX)]}) == []
    (finding,) = under.findings({"parts": [f"p{number}" for number in range(EDGES_MAX + 1)]})
    assert finding["at"] == "/parts"
    assert str(EDGES_MAX) in finding["problem"]


@given(object_schemas(), objects)
@settings(max_examples=200)
def test_findings_agree_with_the_validator(schema: dict[str, Any], data: dict[str, Any]):
    under = class_schema(schema)
    with Work():
        findings = under.findings(data)
    assert (findings == []) == under._validator.is_valid(data)


@given(object_schemas(), objects, st.integers(1, 300))
@settings(max_examples=300)
def test_quick_bound_lets_nothing_beyond_the_budget_pass(schema: dict[str, Any], data: dict[str, Any], limit: int):
    cost = JudgingCost(schema)
    values, _ = values_and_characters(data)
    if cost.is_within(values, judgements_max=limit):
        assert not cost.exceeded_by(data, judgements_max=limit)


def unique_items(levels: int) -> dict[str, Any]:
    """Return a schema of so many levels of arrays within each other, all of unique items."""
    listed: dict[str, Any] = {}
    for _ in range(levels):
        listed = {"type": "array", "uniqueItems": True, "items": listed}
    return {"type": "object", "properties": {"a": listed}}


nested = st.recursive(st.integers(0, 3), lambda inner: st.lists(inner, max_size=4), max_leaves=30)


@given(st.integers(0, 5), nested)
@example(5, [[[[list(range(20))]]]])
def test_quick_bound_counts_what_is_within_unique_items(levels: int, data: Any):
    cost = JudgingCost(unique_items(levels))
    values, _ = values_and_characters({"a": data})
    assert not cost.is_within(values, judgements_max=cost.spent({"a": data}) - 1)


def test_unique_items_cost_one_for_each_value_within():
    def cost(listed: dict[str, Any]) -> JudgingCost:
        return JudgingCost({"type": "object", "properties": {"a": {"type": "array", **listed}}})

    data = {"a": [[1, 2], [3]]}
    assert cost({"uniqueItems": True}).spent(data) == cost({}).spent(data) + 5
    assert cost({"uniqueItems": True}).is_within(100, judgements_max=1_000)


def test_quick_bound_of_recursive_unique_items_is_by_depth():
    recursive = {"type": "array", "uniqueItems": True, "items": {"$ref": "#/$defs/list"}}
    listed = {"type": "object", "properties": {"a": {"$ref": "#/$defs/list"}}, "$defs": {"list": recursive}}
    assert not JudgingCost(listed).is_within(100, judgements_max=1_000)
    assert JudgingCost(listed).is_within(100, judgements_max=10_000)


@given(st.integers(0, 4), object_schemas(), object_schemas(), objects)
@settings(max_examples=200)
def test_recursive_comparison_is_never_wrong(depth: int, old: Any, new: Any, leaf: dict[str, Any]):
    for schema in (old, new):
        schema["properties"] = {**schema.get("properties", {}), "next": {"$ref": "#"}}
    data = leaf
    for _ in range(depth):
        data = {**leaf, "next": data}
    if class_schema(old).findings(data) == [] and schema_breaks(old, new) == []:
        assert class_schema(new).findings(data) == []


def test_class_from_before_the_budget_refuses_its_data():
    with Work():
        (finding,) = class_schema(doubling(20, "anyOf")).findings({"x": 1})
    assert "define the class anew" in finding["problem"]


def matched_by(pattern: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"code": {"type": "string", "pattern": pattern}, "text": {"type": "string"}},
    }


@pytest.mark.parametrize("pattern", ["(a{1000}){1000}", r"\p{L}{2000}", "(?=a)b"])
@pytest.mark.parametrize("by_key", [False, True])
def test_huge_pattern_is_refused(pattern: str, by_key: bool):
    schema = {"type": "object", "patternProperties": {pattern: True}} if by_key else matched_by(pattern)
    with Work():
        (finding,) = schema_findings(schema)
    assert "pattern" in finding["problem"] or "regex" in finding["problem"]


def test_many_large_patterns_are_refused():
    schema = {
        "type": "object",
        "properties": {f"p{number}": {"pattern": f"(a|b){{{700 + number}}}"} for number in range(400)},
    }
    with Work():
        (finding,) = schema_findings(schema)
    assert "once they are compiled" in finding["problem"]


@pytest.mark.parametrize(
    "schema",
    [
        matched_by("[ab]*a[ab]{800}c"),
        {"type": "object", "additionalProperties": {"$ref": "#/$defs/t"}, "$defs": {"t": {"pattern": "a[ab]{800}c"}}},
        {"type": "object", "properties": {"code": {"allOf": [{"not": {"pattern": "a[ab]{800}c"}}]}}},
    ],
)
def test_long_text_under_a_large_pattern_is_refused(schema: dict[str, Any]):
    with Work():
        findings = class_schema(schema).findings({"code": "ab" * 250_000})
    assert "shorten" in findings[0]["problem"]


@pytest.mark.parametrize("keyword", ["patternProperties", "propertyNames"])
def test_keys_under_a_large_pattern_are_counted(keyword: str):
    said: Any = {"a[ab]{800}c": True} if keyword == "patternProperties" else {"not": {"pattern": "a[ab]{800}c"}}
    data = {f"{'ab' * 200}{number}": 1 for number in range(1_000)}
    with Work():
        findings = class_schema({"type": "object", keyword: said}).findings(data)
    assert "shorten" in findings[0]["problem"]


def test_long_text_beside_a_large_pattern_is_accepted():
    data = {"code": "ab" * 10, "text": "ab" * 250_000}
    with Work():
        assert class_schema(matched_by("^[ab]{1,800}$")).findings(data) == []


def test_long_text_under_a_small_pattern_is_accepted():
    with Work():
        assert class_schema(matched_by("^[a-z]+$")).findings({"code": "ab" * 250_000}) == []


def densely_connected(count: int, **more: Any) -> dict[str, Any]:
    links = {
        f"d{number}": {
            "type": "object",
            "properties": {f"x{other}": {"$ref": f"#/$defs/d{other}"} for other in range(count)},
        }
        for number in range(count)
    }
    links["d0"].update(more)
    return {"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": links}


@pytest.mark.parametrize("count", [8, 60])
def test_densely_connected_definitions_are_compared(count: int):
    open_links, narrow_links = densely_connected(count), densely_connected(count, maxProperties=3)
    with Work():
        breaks = schema_breaks(open_links, narrow_links)
    with Work():
        assert schema_breaks(narrow_links, open_links) == []
    assert [finding["at"] for finding in breaks] == ["/properties/x/maxProperties"]


@pytest.mark.parametrize("keyword", ["dependentRequired", "dependentSchemas"])
def test_many_conditions_are_compared_within_the_budget(keyword: str):
    def schema(least: int) -> dict[str, Any]:
        said: Any = ["b"] if keyword == "dependentRequired" else {"required": ["b"], "minProperties": least}
        cases = [{keyword: {f"a{number}": said}, "minProperties": least} for number in range(60)]
        return {"type": "object", "allOf": cases}

    with Work():
        assert schema_breaks(schema(4), schema(5))


def test_keyword_beside_a_reference_met_before_breaks():
    def schema(**beside: Any) -> dict[str, Any]:
        part = {"type": "object", "properties": {"n": {"$ref": "#"}}}
        members = {"a": {"$ref": "#/$defs/t"}, "b": {"$ref": "#/$defs/t", **beside}}
        return {"type": "object", "properties": members, "$defs": {"t": part}}

    assert [finding["at"] for finding in schema_breaks(schema(), schema(maxProperties=1))] == ["/properties/b"]
    assert schema_breaks(schema(maxProperties=1), schema(title="said")) == []


def test_densely_connected_definitions_are_defined_at_once():
    with Work():
        assert schema_findings(densely_connected(60)) == []


def test_circle_of_references_with_a_type_ends():
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": "#/$defs/a"}},
        "$defs": {"a": {"$ref": "#/$defs/a", "type": "string"}},
    }
    assert schema_findings(schema) == []
    (finding,) = class_schema(schema).findings({"x": 1})
    assert finding["at"] == "/x"


@pytest.mark.parametrize("name", ["const", "enum", "default", "examples", "$id", "$ref", "$anchor"])
def test_members_may_be_named_like_keywords(name: str):
    named = {"type": "object", "properties": {name: {"type": "string"}}}
    assert schema_findings(named) == []
    hidden = {"type": "object", "properties": {name: {"$ref": "https://example.org/other"}}}
    (finding,) = schema_findings(hidden)
    assert finding["at"] == f"/properties/{name}/$ref"


def test_data_that_looks_like_a_reference_is_data():
    schema = {"type": "object", "default": {"$ref": "https://example.org/"}, "properties": {"a": {"const": {"$id": 1}}}}
    assert schema_findings(schema) == []


def test_values_within_enumerated_arrays_are_counted():
    values = [[0] * 1_000 + [number] for number in range(30)]
    judged = class_schema({"type": "object", "properties": {"a": {"type": "array", "items": {"enum": values}}}})
    found = judged.findings({"a": [[0] * 1_001] * 600})
    assert "more than 2000000 steps" in found[0]["problem"]
    assert judged.findings({"a": [values[1]] * 20}) == []


def narrowed(count: int, longest: int) -> dict[str, Any]:
    properties = {f"p{number}": {"type": "string", "maxLength": longest} for number in range(count)}
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize("count", [250, 2_000, 5_000])
def test_narrowed_properties_are_compared_one_by_one(count: int):
    with Work():
        breaks = schema_breaks(narrowed(count, 10), narrowed(count, 9))
    assert breaks[0]["at"] == "/properties/p0/maxLength"
    assert len(breaks) == FINDINGS_MAX


def test_keyword_of_an_older_draft_is_refused():
    (finding,) = schema_findings({"type": "object", "properties": {"a": {"dependencies": {"b": {"$ref": "#"}}}}})
    assert finding["at"] == "/properties/a/dependencies"


def test_large_keywords_are_compiled_once():
    values = [[0] * 100 + [number] for number in range(300)]
    judged = class_schema({"type": "object", "properties": {"a": {"type": "array", "items": {"enum": values}}}})
    with Work():
        assert judged.findings({"a": [1] * 300}).total == 300


@pytest.mark.parametrize("rule", ["required", "dependentRequired"])
def test_required_names_are_counted_for_each_object(rule: str):
    names = [f"a{number}" for number in range(20_000)]
    named = {rule: names if rule == "required" else {"n": names}}
    judged = class_schema({"type": "object", "properties": {"all": {"type": "array", "items": named}}})
    with Work():
        (finding,) = judged.findings({"all": [{"n": 1}] * 50_000})
    assert "too large and too deeply nested" in finding["problem"]
