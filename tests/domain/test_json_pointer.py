"""JSON Pointers: RFC 6901's own examples, a round trip held to a library, and every door that reports one."""

from collections.abc import Callable
from typing import Any

import jsonpointer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.canonical import check_json
from oncelog.domain.commands import parse_command
from oncelog.domain.events import DefinitionReference
from oncelog.domain.json_pointer import fragment_of, parse_fragment, parse_pointer, pointer_of, value_at
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.ontology.compatibility import schema_breaks
from oncelog.domain.ontology.definition import ClassDefinition, parse_definition
from oncelog.domain.ontology.schemas import schema_findings
from oncelog.errors import InputInvalid
from oncelog.read_models.typed_mapping import typed_mapping

#: RFC 6901, sections 5 and 6: member, pointer, fragment.
EXAMPLES = [
    ((), "", "#"),
    (("foo", "0"), "/foo/0", "#/foo/0"),
    (("",), "/", "#/"),
    (("a/b",), "/a~1b", "#/a~1b"),
    (("c%d",), "/c%d", "#/c%25d"),
    (("e^f",), "/e^f", "#/e%5Ef"),
    (("g|h",), "/g|h", "#/g%7Ch"),
    (("i\\j",), "/i\\j", "#/i%5Cj"),
    (('k"l',), '/k"l', "#/k%22l"),
    ((" ",), "/ ", "#/%20"),
    (("m~n",), "/m~0n", "#/m~0n"),
]
NAMES = st.text(st.sampled_from("a/~01% é"), max_size=6) | st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
STRANGE = ["a/b", "m~n", "~1", "c%d", "a b", "é", ""]


@pytest.mark.parametrize(("names", "pointer", "fragment"), EXAMPLES)
def test_examples_of_rfc_6901(names: tuple[str, ...], pointer: str, fragment: str):
    assert pointer_of(names) == pointer
    assert parse_pointer(pointer) == names
    assert fragment_of(names) == fragment
    assert parse_fragment(fragment) == names


@given(st.lists(NAMES, max_size=5).map(tuple))
def test_pointers_and_fragments_round_trip(names: tuple[str, ...]):
    assert parse_pointer(pointer_of(names)) == names
    assert parse_fragment(fragment_of(names)) == names
    assert fragment_of(names).isascii()


@given(st.lists(NAMES, max_size=5))
def test_pointers_agree_with_the_library(names: list[str]):
    known = jsonpointer.JsonPointer.from_parts(names)
    assert pointer_of(names) == known.path
    assert parse_pointer(known.path) == tuple(known.parts)
    document: Any = 1
    for name in reversed(names):
        document = {name: document}
    assert value_at(document, names) == known.resolve(document) == 1


@given(st.text(st.sampled_from("/~01a"), max_size=8))
def test_invalid_pointers_are_those_of_the_library(text: str):
    try:
        expected = tuple(jsonpointer.JsonPointer(text).parts)
    except jsonpointer.JsonPointerException:
        with pytest.raises(InputInvalid, match="JSON Pointer: expected"):
            parse_pointer(text)
    else:
        assert parse_pointer(text) == expected


@pytest.mark.parametrize("text", ["", "/a", "http://x/#/a", "#a", "#/~2", "#/%FF"])
def test_invalid_fragments_are_refused(text: str):
    with pytest.raises(InputInvalid, match="JSON Pointer: expected"):
        parse_fragment(text)


def _schema(name: str, part: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"outer": {"type": "object", "properties": {name: part}}}}


def _class_schema(schema: dict[str, Any]) -> ClassSchema:
    definition = ClassDefinition.model_validate({"version": "1.0.0", "schema": schema})
    return ClassSchema(DefinitionReference(sequence_number=1, version="1.0.0"), definition, ((1, ()),))


def _refused(call: Callable[[], Any]) -> InputInvalid:
    with pytest.raises(InputInvalid) as refused:
        call()
    return refused.value


@pytest.mark.parametrize("name", STRANGE)
def test_every_finding_names_its_place_by_pointer(name: str):
    schema = _schema(name, {"type": "string"})
    (finding,) = _class_schema(schema).findings({"outer": {name: 1}})
    assert parse_pointer(finding["at"]) == ("outer", name)
    (finding,) = schema_breaks(schema, _schema(name, {"type": "boolean"}))
    assert parse_pointer(finding["at"])[:-1] == ("properties", "outer", "properties", name)
    (finding,) = schema_findings(_schema(name, {"$anchor": "a"}))
    assert parse_pointer(finding["at"]) == ("properties", "outer", "properties", name, "$anchor")
    if name:  # jsonschema-rs leaves empty names out of its places
        finding = schema_findings(_schema(name, {"type": "nothing"}))[0]
        assert parse_pointer(finding["at"]) == ("properties", "outer", "properties", name, "type")
    relationships = {"of": {"target_class": "Country", "cardinality": "one", "path": pointer_of(["outer", name])}}
    payload = {"version": "1.0.0", "schema": schema, "relationships": {name: relationships["of"]}}
    error = _refused(lambda: parse_definition(payload, class_id="City"))
    assert parse_pointer(error.details["errors"][0]["at"])[:2] == ("relationships", name)
    assert f"value{pointer_of(['outer', name])}: " in str(_refused(lambda: check_json({"outer": {name: float("nan")}})))


def test_finding_in_a_command_names_its_place():
    error = _refused(lambda: parse_command({"a/b~": 1}))
    assert "/a~1b~0" in [finding["at"] for finding in error.details["errors"]]


@pytest.mark.parametrize("name", [*STRANGE, "a%20b"])
def test_a_reference_is_a_percent_encoded_pointer(name: str):
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": fragment_of(["$defs", name])}},
        "$defs": {name: {"type": "object", "properties": {"k": {"type": "string"}}, "additionalProperties": False}},
    }
    parse_definition({"version": "1.0.0", "schema": schema}, class_id="City")
    assert [finding["at"] for finding in _class_schema(schema).findings({"x": {"k": 1}})] == ["/x/k"]
    assert schema_breaks(schema, {**schema, "properties": {"x": {"type": "string"}}})
    mapping = typed_mapping(schema)
    assert mapping is not None
    assert "k" in str(mapping)


@pytest.mark.parametrize("encoded", [False, True])
def test_budget_follows_percent_encoded_references(encoded: bool):
    def reference(number: int) -> str:
        return f"#/$defs/{'%64' if encoded else 'd'}{number}"

    twice = {
        f"d{number}": {"allOf": [{"$ref": reference(number + 1)}, {"$ref": reference(number + 1)}]}
        for number in range(20)
    }
    schema = {
        "type": "object",
        "properties": {"x": {"$ref": reference(0)}},
        "$defs": {**twice, "d20": {"type": "string"}},
    }
    assert "alternatives multiply" in schema_findings(schema)[0]["problem"]


@pytest.mark.parametrize("reference", ["#/$defs/a%2Fb", "#/$defs", "#/properties/x", "#/$defs/%FF", "other#/$defs/a"])
def test_reference_to_anything_else_is_refused(reference: str):
    schema = {"type": "object", "properties": {"x": {"$ref": reference}}, "$defs": {"a": {}, "a/b": {}}}
    assert [finding["at"] for finding in schema_findings(schema)] == ["/properties/x/$ref"]
