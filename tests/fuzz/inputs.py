"""Definitions and documents as large as they may be: a small shape is drawn, and then repeated up to a size."""

import json
from typing import Any

from hypothesis import strategies as st

from oncelog.domain.limits import DEFINITION_BYTES_MAX, TEXT_BYTES_MAX
from tests.domain.schema_strategies import SCALARS, schemas

#: How often a shape is repeated; an input larger than permitted is cut.
repeats = st.integers(0, 9).flatmap(lambda power: st.integers(2**power, 2 ** (power + 2)))

leaves = schemas(depth=1).filter(lambda schema: schema is not False) | st.sampled_from(
    [
        {"type": "string", "pattern": "^(a|b){1,40}c?$"},
        {"type": "string", "format": "date-time"},
        {"type": "array", "uniqueItems": True},
        {"type": "number", "multipleOf": 0.01},
        {"const": {"a": [1, 2, 3]}},
    ]
)


def _named(schema: Any, count: int) -> dict[str, Any]:
    return {f"p{number}": schema for number in range(count)}


#: Ways to make a large schema of a small one: with the number of repetitions.
SHAPES: dict[str, Any] = {
    "properties": lambda leaf, n: {"type": "object", "properties": _named(leaf, n)},
    "required": lambda leaf, n: {"type": "object", "properties": _named(leaf, n), "required": list(_named(leaf, n))},
    "patterns": lambda leaf, n: {"type": "object", "patternProperties": {f"^p{i}": leaf for i in range(min(n, 300))}},
    "items": lambda leaf, _n: _items(leaf),
    "prefix": lambda leaf, n: {"type": "object", "properties": {"all": {"prefixItems": [leaf] * n}}},
    "enum": lambda _leaf, n: _items({"enum": [{"n": number} for number in range(n)]}),
    "enum_arrays": lambda _leaf, n: _items({"enum": [[0] * 40 + [number] for number in range(n)]}),
    "any": lambda leaf, n: _items({"anyOf": [{"allOf": [leaf, {"const": number}]} for number in range(n)]}),
    "one": lambda leaf, n: _items({"oneOf": [{"allOf": [leaf, {"minimum": number}]} for number in range(n)]}),
    "all": lambda leaf, n: _items({"allOf": [leaf] * n}),
    "not": lambda _leaf, n: _items({"allOf": [{"not": {"const": number}} for number in range(n)]}),
    "if": lambda leaf, n: _items({"allOf": [{"if": leaf, "then": {"title": str(i)}} for i in range(n)]}),
    "dependent": lambda _leaf, n: {
        "type": "object",
        "dependentSchemas": {f"p{number}": {"maxProperties": 9} for number in range(n)},
    },
    "unevaluated": lambda leaf, n: {"type": "object", "properties": _named(leaf, n), "unevaluatedProperties": False},
    "contains": lambda leaf, n: {"type": "object", "properties": {"all": {"contains": leaf, "minContains": n}}},
    "names": lambda _leaf, _n: {"type": "object", "propertyNames": {"maxLength": 9, "pattern": "^[a-z0-9]+$"}},
    "tree": lambda leaf, _n: {"type": "object", "properties": {"all": {"items": {"anyOf": [leaf, {"$ref": "#"}]}}}},
    "definitions": lambda leaf, n: {
        "type": "object",
        "properties": {f"p{i}": {"$ref": f"#/$defs/d{i % 60}"} for i in range(n)},
        "$defs": {f"d{i}": {"properties": {"x": leaf, "y": {"$ref": f"#/$defs/d{(i + 1) % 60}"}}} for i in range(60)},
    },
}


def _items(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"all": {"type": "array", "items": schema}}}


def size(value: Any) -> int:
    return len(json.dumps(value, separators=(",", ":")))


@st.composite
def large_schemas(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a schema of up to the largest permitted size; a fifth of it is replaced by a neighbour at times."""
    shape, leaf, count = SHAPES[draw(st.sampled_from(sorted(SHAPES)))], draw(leaves), draw(repeats)
    schema = shape(leaf, count)
    while size(schema) > DEFINITION_BYTES_MAX - 100:
        count //= 2
        schema = shape(leaf, count)
    return dict(schema)


_members = st.sampled_from(
    [
        lambda leaf, n: {"all": [leaf] * n},
        lambda _leaf, n: {"all": [{"n": number} for number in range(n)]},
        lambda _leaf, n: {"all": [[0] * 40 + [number] for number in range(n)]},
        lambda leaf, n: {f"p{number}": leaf for number in range(n)},
        lambda leaf, n: {f"p{number}": {"x": leaf, "y": {"x": leaf, "y": {}}} for number in range(n)},
        lambda _leaf, n: {"text": "a" * n * 16, "p0": "ab" * n},
        lambda _leaf, n: {"all": [1.5e-9 * number for number in range(n)]},
        lambda leaf, n: {"k" * 400: {"k" * 400: [leaf] * n}},
        lambda leaf, n: _nested(leaf, min(n, 15), n),
    ]
)


def _nested(leaf: Any, depth: int, width: int) -> dict[str, Any]:
    data: dict[str, Any] = {"all": [leaf] * width}
    for _ in range(depth):
        data = {"all": [data, leaf]}
    return data


@st.composite
def large_documents(draw: st.DrawFn) -> dict[str, Any]:
    """Draw an instance's data of up to the largest permitted size."""
    make = draw(_members)
    leaf: Any = draw(st.sampled_from([*SCALARS, {}, [], {"x": 1}]))
    count = draw(repeats) * draw(st.sampled_from([1, 1, 8, 64]))
    data = make(leaf, count)
    while size(data) > TEXT_BYTES_MAX - 100:
        count //= 2
        data = make(leaf, count)
    return dict(data)
