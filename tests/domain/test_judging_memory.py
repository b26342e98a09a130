"""Finding out what is wrong takes memory in proportion to the input, whatever the library would take."""

import os
from typing import Any

import pytest

from oncelog.domain.canonical import normalised
from oncelog.domain.limits import FINDINGS_MAX, VALUES_MAX
from oncelog.domain.ontology.schemas import schema_findings
from oncelog.errors import InputInvalid
from tests.domain.test_judging_budget import class_schema
from tests.fuzz.clock import MEMORY_BYTES_MAX, Memory


def limited(call: Any) -> Any:
    """Return what the call returns; fails if it took more memory of any kind than any input may."""
    with Memory(os.getpid()) as memory:
        found = call()
    assert memory.peak_bytes < MEMORY_BYTES_MAX
    return found


@pytest.mark.parametrize("keyword", ["required", "dependentRequired"])
def test_many_missing_members_take_no_copies(keyword: str):
    names = [f"p{number}" for number in range(5_000)]
    schema = {"type": "object", keyword: names if keyword == "required" else {"all": names}}
    findings = limited(lambda: class_schema(schema).findings({"all": ["text"] * 50_000}))
    assert findings.total == 5_000
    assert findings[0]["problem"] == '"p0" is a required property'


@pytest.mark.parametrize("keyword", ["type", "enum", "const", "maxProperties", "additionalProperties"])
def test_large_value_is_described_and_not_copied(keyword: str):
    said = {"type": "string", "enum": [1], "const": 1, "maxProperties": 1, "additionalProperties": False}[keyword]
    cases = {f"c{number}": {keyword: said, "title": str(number)} for number in range(10)}
    schema = {"type": "object", "properties": {"a": {"allOf": list(cases.values())}}}
    value = {f"n{number}": "text" for number in range(20_000)}
    findings = limited(lambda: class_schema(schema).findings({"a": value}))
    assert findings.total == 10
    assert "20000" in findings[0]["problem"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"required": [1] * 100_000},
        {"properties": {"a": {"type": [1] * 100_000}}},
        {"dependentRequired": {"a": [1] * 100_000}},
        {"properties": {str(number): {"type": "x"} for number in range(10_000)}},
    ],
)
def test_wrong_definition_takes_no_copies(wrong: dict[str, Any]):
    findings = limited(lambda: schema_findings({"type": "object", **wrong}))
    assert 1 <= len(findings) <= FINDINGS_MAX


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ({"required": [f"p{number}" for number in range(9_000)]}, "name each definition in one alternative only"),
        ({"properties": {"a": True}}, "flatten it"),
    ],
)
def test_shared_parts_that_look_at_members_are_counted(said: dict[str, Any], remedy: str):
    schema = {"type": "object", "allOf": [{"$ref": "#/$defs/d"}] * 2_000, "$defs": {"d": said}}
    findings = limited(lambda: class_schema(schema).findings({f"p{number}": 1 for number in range(9_000)}))
    assert remedy in findings[0]["problem"]


def test_shared_parts_that_want_unique_items_are_counted():
    listed = {"allOf": [{"$ref": "#/$defs/d"}] * 2_000}
    schema = {"type": "object", "properties": {"a": listed}, "$defs": {"d": {"uniqueItems": True}}}
    findings = limited(lambda: class_schema(schema).findings({"a": [[[number]] for number in range(9_000)]}))
    assert "flatten it" in findings[0]["problem"]


def connected(count: int) -> dict[str, Any]:
    """Return a schema each of whose definitions reaches all others, so that compiling a part compiles everything."""
    links = {
        f"d{number}": {
            "properties": {f"x{other}": {"$ref": f"#/$defs/d{other}"} for other in range(count)},
            "maxProperties": count,
        }
        for number in range(count)
    }
    return {"type": "object", "$ref": "#/$defs/d0", "$defs": links}


def test_compiling_parts_is_counted():
    leaf: Any = {f"y{number}": 1 for number in range(60)}
    data = {f"x{other}": {f"x{number}": leaf for number in range(50)} for other in range(50)}
    findings = limited(lambda: class_schema(connected(50)).findings(data))
    assert findings
    assert not findings.complete


@pytest.mark.parametrize("value", [[[]] * (VALUES_MAX + 1), [{"a": {}}] * 70_000, [{"a": {"a": 1}}] * 45_000])
def test_values_are_counted_whatever_they_are(value: Any):
    with pytest.raises(InputInvalid, match=r"store the values elsewhere"):
        normalised({"all": value})
