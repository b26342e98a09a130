"""The parts of a JSON Schema, by the keywords that hold them.

A part is applied *in place*, to the same value (``$ref``, ``allOf``, ``if`` …), or *below*, to the value's members or
items (``properties``, ``items`` …).
"""

from collections.abc import Callable, Iterator
from typing import Any

from oncelog.domain.json_pointer import parse_fragment, pointer_of, value_at
from oncelog.domain.limits import SCHEMA_PARTS_MAX

_PLACE_LISTS = ("allOf", "anyOf", "oneOf")
_PLACE_PARTS = ("not", "if", "then", "else")
_PLACE_MAPS = ("dependentSchemas",)
BELOW_MAPS = ("properties", "patternProperties")
BELOW_LISTS = ("prefixItems",)
BELOW_PARTS = (
    "additionalProperties",
    "items",
    "contains",
    "propertyNames",
    "unevaluatedItems",
    "unevaluatedProperties",
)
#: Keywords that hold a list of schemas, schemas by name, or one schema.
SCHEMA_LISTS = (*_PLACE_LISTS, *BELOW_LISTS)
SCHEMA_MAPS = (*_PLACE_MAPS, *BELOW_MAPS, "$defs")
SCHEMA_PARTS = (*_PLACE_PARTS, *BELOW_PARTS)

Node = dict[str, Any]


def subschemas(schema: Node) -> Iterator[tuple[str, Any]]:
    """Yield each value where a schema is expected, a schema or not, with its JSON Pointer below this one."""
    for keyword in SCHEMA_PARTS:
        if keyword in schema:
            yield f"/{keyword}", schema[keyword]
    for keyword in SCHEMA_LISTS:
        if isinstance(parts := schema.get(keyword), list):
            yield from ((f"/{keyword}/{index}", part) for index, part in enumerate(parts))
    for keyword in SCHEMA_MAPS:
        if isinstance(parts := schema.get(keyword), dict):
            yield from ((pointer_of([keyword, name]), part) for name, part in parts.items())


def with_parts(schema: Node, change: Callable[[Any], Any]) -> Node:
    """Return the schema with each schema directly within it changed."""
    changed = dict(schema)
    for keyword, value in schema.items():
        if keyword in SCHEMA_PARTS:
            changed[keyword] = change(value)
        elif keyword in SCHEMA_LISTS:
            changed[keyword] = [change(part) for part in value]
        elif keyword in SCHEMA_MAPS:
            changed[keyword] = {name: change(part) for name, part in value.items()}
    return changed


def structure_problem(root: Node) -> tuple[str, str] | None:
    """Return the first place that makes a schema too large to look at, or no schema, and its problem."""
    pending: list[tuple[str, Node]] = [("", root)]
    parts = 0
    while pending:
        at, node = pending.pop()
        parts += 1
        if parts > SCHEMA_PARTS_MAX:
            return "", f"expected at most {SCHEMA_PARTS_MAX} parts, found more; divide the class"
        for below, part in subschemas(node):
            if isinstance(part, dict):
                pending.append((at + below, part))
            elif not isinstance(part, bool):
                return at + below, f"expected a schema (an object, true or false), found {type(part).__name__}"
    return None


def _target(node: Node, root: Node) -> Any:
    """Return the target of a node's ``$ref``, or None."""
    reference = node.get("$ref")
    if not isinstance(reference, str):
        return None
    return value_at(root, parse_fragment(reference))


def parts_in_place(node: Node, root: Node) -> Iterator[Node]:
    """Yield the parts applied to the same value as a node, one step on, the target of its ``$ref`` first."""
    candidates = [_target(node, root), *(node.get(keyword) for keyword in _PLACE_PARTS)]
    candidates += [part for keyword in _PLACE_LISTS for part in node.get(keyword, ())]
    # The validator applies ``dependencies``, too, which new definitions cannot have.
    candidates += [part for keyword in (*_PLACE_MAPS, "dependencies") for part in node.get(keyword, {}).values()]
    return (part for part in candidates if isinstance(part, dict))


def parts_below(node: Node, *, named: bool = True) -> Iterator[Node]:
    """Yield the schemas of members and items; ``named``: of ``properties`` as well."""
    candidates = [node.get(keyword) for keyword in BELOW_PARTS]
    candidates += [part for keyword in BELOW_LISTS for part in node.get(keyword, ())]
    maps = BELOW_MAPS if named else ("patternProperties",)
    candidates += [part for keyword in maps for part in node.get(keyword, {}).values()]
    return (part for part in candidates if isinstance(part, dict))
