"""Whether a definition may follow another: an accepted one never breaks data, a refusal says what breaks."""

from typing import Any

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from oncelog.domain.ontology.compatibility import schema_breaks
from oncelog.domain.ontology.migrated_schema import migrated_schema
from oncelog.domain.ontology.migration import MigrationStep, _Copy, migrated
from oncelog.domain.ontology.schemas import validator_of
from oncelog.errors import InputInvalid
from tests.domain.schema_strategies import changed, object_schemas, objects, schemas, values

OPEN: dict[str, Any] = {"type": "object"}


def closed(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": properties, "additionalProperties": False}
    return {**schema, "required": list(required)} if required else schema


TEXT: dict[str, Any] = {"type": "string"}
WHOLE: dict[str, Any] = {"type": "integer"}
#: More than can be compared in one step.
KINDS = [closed(("kind",), kind={"const": f"k{number}"}, size=WHOLE, name=TEXT) for number in range(25)]
SHORT: dict[str, Any] = {f"p{number}": {**TEXT, "maxLength": 5} for number in range(500)}
MANY: dict[str, Any] = {f"p{number}": {**TEXT, "maxLength": 9} for number in range(500)}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (closed(a=TEXT), closed(a=TEXT, b=WHOLE)),
        (closed(("a",), a=TEXT), closed(a=TEXT)),
        (closed(a=WHOLE), closed(a={"type": "number"})),
        (closed(a=TEXT), closed(a={"type": ["string", "null"]})),
        (closed(a=TEXT), closed(a={"anyOf": [TEXT, WHOLE]})),
        (closed(a={"enum": ["x", "y"]}), closed(a={"enum": ["z", "y", "x"]})),
        (closed(a={"const": "x"}), closed(a=TEXT)),
        (closed(a={**TEXT, "maxLength": 5}), closed(a={**TEXT, "maxLength": 9})),
        (closed(a={**TEXT, "pattern": "^x"}), closed(a=TEXT)),
        (closed(a={**TEXT, "format": "date"}), closed(a=TEXT)),
        (closed(a=TEXT), OPEN),
        (closed(a=TEXT), closed(a={**TEXT, "title": "A", "description": "any", "default": "x"})),
        (closed(a=closed(b=TEXT)), closed(a=closed(b=TEXT, c=WHOLE))),
        (closed(a={"type": "array", "items": WHOLE}), closed(a={"type": "array", "items": {"type": "number"}})),
        (closed(a=TEXT), {**closed(a={"$ref": "#/$defs/t"}), "$defs": {"t": TEXT}}),
        (closed(a={**WHOLE, "minimum": 5}), closed(a={**WHOLE, "exclusiveMinimum": 4})),
        (closed(a={"anyOf": KINDS[:20]}), closed(a={"anyOf": KINDS})),
        (closed((), **SHORT), closed((), **MANY)),
    ],
)
def test_what_only_allows_more_breaks_nothing(old: dict[str, Any], new: dict[str, Any]):
    assert schema_breaks(old, new) == []


@pytest.mark.parametrize(
    ("old", "new", "at"),
    [
        (closed(a=TEXT), closed(("a",), a=TEXT), ["/required"]),
        (closed(a=TEXT, b=TEXT), closed(a=TEXT), ["/properties/b"]),
        (closed(a={"type": "number"}), closed(a=WHOLE), ["/properties/a/type"]),
        (closed(a={"enum": ["x", "y"]}), closed(a={"enum": ["x"]}), ["/properties/a/enum"]),
        (closed(a=TEXT), closed(a={**TEXT, "maxLength": 5}), ["/properties/a/maxLength"]),
        (closed(a={**TEXT, "pattern": "^x"}), closed(a={**TEXT, "pattern": "^xy"}), ["/properties/a/pattern"]),
        (closed(a=TEXT), closed(a={**TEXT, "format": "date"}), ["/properties/a/format"]),
        (OPEN, {"type": "object", "properties": {"a": TEXT}}, ["/properties/a"]),
        (OPEN, {"type": "object", "additionalProperties": False}, ["/additionalProperties"]),
        (closed(a=closed(b=TEXT)), closed(a=closed(b=WHOLE)), ["/properties/a/properties/b/type"]),
        (
            closed(a={"type": "array", "items": TEXT}),
            closed(a={"type": "array", "items": WHOLE}),
            ["/properties/a/items/type"],
        ),
        (
            closed(a=TEXT, b=WHOLE, c=TEXT),
            closed(("b",), a=WHOLE, b={**WHOLE, "minimum": 0}, c=TEXT),
            ["/properties/a/type", "/properties/b/minimum", "/required"],
        ),
        (
            {**closed(a={"$ref": "#/$defs/t"}), "$defs": {"t": TEXT}},
            {**closed(a={"$ref": "#/$defs/t"}), "$defs": {"t": WHOLE}},
            ["/properties/a/type"],
        ),
    ],
)
def test_everything_that_breaks_is_named(old: dict[str, Any], new: dict[str, Any], at: list[str]):
    assert [finding["at"] for finding in schema_breaks(old, new)] == at


@given(st.data())
@settings(max_examples=120)
def test_what_is_let_through_never_refuses_what_was_valid(data: st.DataObject):
    old = data.draw(object_schemas())
    new = data.draw(changed(old))
    breaks = schema_breaks(old, new) if isinstance(new, dict) else [{"at": ""}]
    before, after = Draft202012Validator(old), Draft202012Validator(new)
    for value in data.draw(st.lists(objects, min_size=3, max_size=12)):
        if before.is_valid(value) and not after.is_valid(value):
            assert breaks, f"{value} was valid and is not, yet nothing breaks from {old} to {new}"


@given(object_schemas())
def test_a_schema_breaks_nothing_of_itself(schema: dict[str, Any]):
    assert schema_breaks(schema, schema) == []


@given(schemas(), st.lists(values, min_size=1, max_size=20))
@settings(max_examples=100)
def test_what_is_valid_is_what_another_validator_says(schema: Any, drawn: list[Any]):
    ours, theirs = validator_of(schema), Draft202012Validator(schema)
    for value in drawn:
        assert ours.is_valid(value) == theirs.is_valid(value), (schema, value)


# --- migrations

_members = st.sampled_from(["/a", "/b", "/c", "/d", "/a/b", "/b/a"])
steps = st.one_of(
    st.builds(lambda at, to: {"rename": {"at": at, "to": to}}, _members, st.sampled_from(["a", "b", "e"])).filter(
        lambda step: not step["rename"]["at"].endswith(step["rename"]["to"])
    ),
    st.builds(lambda at, value: {"default": {"at": at, "value": value}}, _members, values),
    st.builds(lambda at: {"drop": {"at": at}}, _members),
    st.builds(
        lambda at, members: {"keep": {"at": at, "members": members}},
        _members | st.just(""),
        st.lists(st.sampled_from(["a", "b", "e"]), unique=True),
    ),
    st.builds(
        lambda at, to, more: {"convert": {"at": at, "to": to, **more}},
        _members,
        st.sampled_from(["string", "number", "integer", "boolean", "array"]),
        st.just({}) | st.fixed_dictionaries({"otherwise": values}),
    ),
)


@given(st.data())
@settings(max_examples=120)
def test_migrated_data_is_valid_under_the_migrated_schema(data: st.DataObject):
    old = data.draw(object_schemas())
    drawn = [MigrationStep.model_validate(step) for step in data.draw(st.lists(steps, min_size=1, max_size=3))]
    try:
        reached = Draft202012Validator(migrated_schema(old, drawn))
    except InputInvalid:
        reached = None  # a step that leads nowhere in the old version is refused
    before = Draft202012Validator(old)
    for value in data.draw(st.lists(objects, min_size=3, max_size=10)):
        after = migrated(value, drawn)
        if reached is not None and before.is_valid(value):
            assert reached.is_valid(after), (old, drawn, value, after, reached.schema)


@given(objects, st.lists(steps, max_size=4))
@example({"a": "12"}, [{"convert": {"at": "/a", "to": "integer"}}])
def test_a_migration_takes_any_data_and_leaves_what_it_was_given(data: dict[str, Any], drawn: list[dict[str, Any]]):
    before = repr(data)
    migrated(data, [MigrationStep.model_validate(step) for step in drawn])
    assert repr(data) == before


@pytest.mark.parametrize(
    ("step", "data", "result"),
    [
        ({"rename": {"at": "/a", "to": "b"}}, {"a": 1, "b": 2, "c": 3}, {"b": 1, "c": 3}),
        ({"rename": {"at": "/x~1y/a", "to": "b"}}, {"x/y": {"a": None}}, {"x/y": {"b": None}}),
        ({"rename": {"at": "/a/b", "to": "c"}}, {"a": [1]}, {"a": [1]}),
        ({"default": {"at": "/a", "value": None}}, {}, {"a": None}),
        ({"default": {"at": "/a", "value": 1}}, {"a": 2}, {"a": 2}),
        ({"default": {"at": "/a/b", "value": 1}}, {}, {}),
        ({"drop": {"at": "/a"}}, {"a": 1, "b": 2}, {"b": 2}),
        ({"keep": {"at": "", "members": ["b", "d"]}}, {"a": 1, "b": 2, "c": 3}, {"b": 2}),
        ({"keep": {"at": "/a", "members": []}}, {"a": {"b": 2}, "c": 3}, {"a": {}, "c": 3}),
        ({"keep": {"at": "/a", "members": []}}, {"a": [1]}, {"a": [1]}),
        ({"convert": {"at": "/a", "to": "string"}}, {"a": 12.50}, {"a": "12.5"}),
        ({"convert": {"at": "/a", "to": "string"}}, {"a": True}, {"a": "true"}),
        ({"convert": {"at": "/a", "to": "string"}}, {"a": None}, {"a": None}),
        ({"convert": {"at": "/a", "to": "number"}}, {"a": "1.0"}, {"a": 1}),
        ({"convert": {"at": "/a", "to": "number"}}, {"a": "1e999"}, {"a": "1e999"}),
        ({"convert": {"at": "/a", "to": "number", "otherwise": 0}}, {"a": "many"}, {"a": 0}),
        ({"convert": {"at": "/a", "to": "integer"}}, {"a": 1.5}, {"a": 1.5}),
        ({"convert": {"at": "/a", "to": "integer"}}, {"a": "9007199254740993"}, {"a": "9007199254740993"}),
        ({"convert": {"at": "/a", "to": "boolean"}}, {"a": "false"}, {"a": False}),
        ({"convert": {"at": "/a", "to": "array"}}, {"a": None}, {"a": [None]}),
        ({"convert": {"at": "/a", "to": "array"}}, {"a": [1]}, {"a": [1]}),
    ],
)
def test_steps_do_what_they_say(step: dict[str, Any], data: dict[str, Any], result: dict[str, Any]):
    found = migrated(data, [MigrationStep.model_validate(step)])
    assert repr(sorted(found.items())) == repr(sorted(result.items()))


def test_migration_copies_an_object_once():
    data = {"a": {"b": {"c": 1, "d": 2}}}
    copy = _Copy(data)
    first = copy.members(["a", "b"])
    assert first is not data["a"]["b"]
    assert copy.members(["a", "b"]) is first
    assert copy.members(["a"]) is copy.root["a"]


def test_migration_leaves_what_it_is_given():
    data = {"a": {f"k{number}": number for number in range(200)}}
    drops = [MigrationStep.model_validate({"drop": {"at": f"/a/k{number}"}}) for number in range(100)]
    assert len(migrated(data, drops)["a"]) == 100
    assert len(data["a"]) == 200


@given(object_schemas(), object_schemas(), objects)
@settings(max_examples=60)
def test_every_definition_can_be_changed(old: dict[str, Any], new: dict[str, Any], start: dict[str, Any]):
    assume(validator_of(new).is_valid(start))
    steps = [{"keep": {"at": "", "members": []}}]
    steps += [{"default": {"at": f"/{name}", "value": value}} for name, value in start.items()]
    reached = migrated_schema(old, [MigrationStep.model_validate(step) for step in steps])
    assert schema_breaks(reached, new) == []


def test_open_class_can_be_closed():
    keep = [MigrationStep.model_validate({"keep": {"at": "", "members": ["a"]}})]
    before = {"type": "object", "properties": {"a": TEXT}}
    assert schema_breaks(before, closed(a=TEXT))
    assert schema_breaks(migrated_schema(before, keep), closed(a=TEXT)) == []
