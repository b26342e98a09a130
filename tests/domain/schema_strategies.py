"""Schemas, schemas a little different from them, and values that are often near to what either admits."""

import copy
from typing import Any

from hypothesis import strategies as st

NAMES = ["a", "b", "c"]
SCALARS = [None, True, False, -3, 0, 1, 2, 7, 1.5, 2**53 - 1, "", "a", "ab", "cba", "12", "1.0", "true"]

small = st.integers(0, 3)
bounds = st.integers(-3, 6) | st.sampled_from([-0.5, 1.5])


def _optional(draw: st.DrawFn, **keywords: st.SearchStrategy[Any]) -> dict[str, Any]:
    return {name: draw(values) for name, values in keywords.items() if draw(st.integers(0, 2)) == 0}


@st.composite
def schemas(draw: st.DrawFn, depth: int = 2) -> Any:
    """Draw a schema of any kind."""
    kinds = ["string", "number", "integer", "boolean", "null", "enum", "types", "any"]
    kind = draw(st.sampled_from([*kinds, "object", "array", "anyOf", "oneOf", "allOf", "not"] if depth else kinds))
    match kind:
        case "string":
            patterns = st.sampled_from(["^a", "b$", "^[a-c]*$"])
            return {"type": kind, **_optional(draw, minLength=small, maxLength=small, pattern=patterns)}
        case "number" | "integer":
            steps = st.sampled_from([1, 2, 0.5])
            limits = _optional(draw, minimum=bounds, exclusiveMaximum=bounds, maximum=bounds, multipleOf=steps)
            return {"type": kind, **limits}
        case "enum":
            return {"enum": draw(st.lists(st.sampled_from(SCALARS), min_size=1, max_size=3))}
        case "types":
            types = st.sampled_from(["string", "integer", "number", "null", "object", "array", "boolean"])
            return {"type": draw(st.lists(types, min_size=1, max_size=3, unique=True))}
        case "any":
            return draw(st.booleans())
        case "object":
            return draw(object_schemas(depth=depth))
        case "array":
            inner = schemas(depth=depth - 1)
            return {"type": kind, **_optional(draw, items=inner, minItems=small, maxItems=small, contains=inner)}
        case "not":
            return {"not": draw(schemas(depth=0))}
        case "anyOf" | "oneOf" | "allOf":
            return {kind: draw(st.lists(schemas(depth=depth - 1), min_size=1, max_size=2))}
    return {"type": kind}


@st.composite
def object_schemas(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    """Draw a schema of objects, as a definition wants one."""
    inner = schemas(depth=depth - 1)
    more = _optional(
        draw,
        required=st.lists(st.sampled_from(NAMES), unique=True),
        minProperties=small,
        maxProperties=small,
        dependentRequired=st.just({"a": ["b"]}),
        patternProperties=st.fixed_dictionaries({"^[ab]$": inner}),
    )
    others: st.SearchStrategy[Any] = st.sampled_from([False, False, True]) | inner
    properties = draw(st.dictionaries(st.sampled_from(NAMES), inner, max_size=3))
    return {"type": "object", "properties": properties, "additionalProperties": draw(others), **more}


@st.composite
def changed(draw: st.DrawFn, schema: Any, depth: int = 3) -> Any:
    """Draw a schema that differs from this one in a place or two."""
    if not isinstance(schema, dict) or not schema or not depth or draw(st.integers(0, 9)) == 0:
        return draw(schemas(depth=1))
    new = copy.deepcopy(schema)
    keyword = draw(st.sampled_from(sorted(new)))
    value = new[keyword]
    if keyword == "properties":
        _change_properties(draw, value, depth)
    elif keyword in ("items", "additionalProperties", "contains", "not"):
        new[keyword] = draw(changed(value, depth=depth - 1))
    elif keyword in ("anyOf", "oneOf", "allOf"):
        value[0] = draw(changed(value[0], depth=depth - 1))
    elif keyword == "required":
        name = draw(st.sampled_from(NAMES))
        new[keyword] = [one for one in value if one != name] if name in value else [*value, name]
    elif isinstance(value, int | float) and not isinstance(value, bool):
        new[keyword] = max(value + draw(st.sampled_from([-1, 1])), 0.5 if keyword == "multipleOf" else 0)
        if keyword == "minimum" and draw(st.booleans()):
            new[keyword] = value - 1
    elif keyword != "type" or draw(st.integers(0, 3)) == 0:
        del new[keyword]
    return new


def _change_properties(draw: st.DrawFn, properties: dict[str, Any], depth: int) -> None:
    """Change, drop or add a property."""
    name = draw(st.sampled_from([*NAMES, "d"]))
    if name in properties and draw(st.booleans()):
        properties[name] = draw(changed(properties[name], depth=depth - 1))
    elif name in properties:
        del properties[name]
    else:
        properties[name] = draw(schemas(depth=1))


values = st.recursive(
    st.sampled_from(SCALARS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*NAMES, "d"]), inner, max_size=4),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from([*NAMES, "d"]), values, max_size=4)
