"""The schema of data after a migration: each step applied to the schema that the data had before."""

from collections.abc import Iterable
from functools import partial
from typing import Any

from oncelog.domain.ontology.migration import (
    Convert,
    Default,
    Drop,
    Keep,
    Kind,
    MigrationStep,
    Rename,
    Step,
    located_step,
)
from oncelog.domain.ontology.schema_parts import with_parts
from oncelog.domain.ontology.schemas import Schema, refers_to_root, resolved
from oncelog.errors import InputInvalid

#: The types of a value that ``convert`` leaves as it is.
_LEFT_OVER: dict[Kind, list[str]] = {
    Kind.STRING: ["null", "array", "object"],
    Kind.NUMBER: ["null", "array", "object", "boolean", "string"],
    Kind.INTEGER: ["null", "array", "object", "boolean", "string", "number"],
    Kind.BOOLEAN: ["null", "array", "object", "string", "number"],
}

#: Keywords of an object schema that concern all of its members together. It is left out of a schema whose members are
#: changed: to know less of old data is never wrong.
_KNOWN_OF_MEMBERS = ("type", "properties", "required", "additionalProperties")


def migrated_schema(root: dict[str, Any], steps: Iterable[MigrationStep]) -> dict[str, Any]:
    """Return a schema of all data that is valid under this one, once it was migrated.

    Raises InputInvalid for a step that leads through a value that is no object with known properties.
    """
    steps = list(steps)
    root = _with_named_root(root) if steps else root
    schema: dict[str, Any] = root
    for each in steps:
        step, parents, name = located_step(each)
        schema = _with_object_schema(schema, root, parents, name, step)
    return {**schema, "$defs": root["$defs"]} if "$defs" in root else schema


def _with_named_root(root: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with a definition in place of references to all of it.

    A migration changes an instance's own members, not those of the same form that lie nested within it: the
    schema of these stays as it was.
    """
    if not refers_to_root(root):
        return root
    name = "whole"
    while name in root.get("$defs", {}):
        name += "_"
    whole = _referring_to(f"#/$defs/{name}", {key: value for key, value in root.items() if key != "$defs"})
    class_schemas = {key: _referring_to(f"#/$defs/{name}", value) for key, value in root.get("$defs", {}).items()}
    return {**whole, "$defs": {**class_schemas, name: whole}}


def _referring_to(reference: str, schema: Any) -> Any:
    """Return the schema with this reference in place of each to its root."""
    if not isinstance(schema, dict):
        return schema
    changed = with_parts(schema, partial(_referring_to, reference))
    return {**changed, "$ref": reference} if schema.get("$ref") == "#" else changed


def _with_object_schema(
    schema: Schema, root: dict[str, Any], parents: list[str], name: str, step: Step
) -> dict[str, Any]:
    schema = resolved(schema, root)
    if not isinstance(schema, dict) or schema.get("type") != "object":
        raise InputInvalid(f"{step.at}: expected to lead through objects of the version before; it does not")
    known = {keyword: schema[keyword] for keyword in _KNOWN_OF_MEMBERS if keyword in schema}
    if "patternProperties" in schema:
        known["additionalProperties"] = True
    if not parents:
        return _stepped_schema(known, name, step)
    properties = known.get("properties", {})
    if parents[0] not in properties:
        raise InputInvalid(f"{step.at}: expected {parents[0]!r} among the properties of the version before")
    inner = _with_object_schema(properties[parents[0]], root, parents[1:], name, step)
    return {**known, "properties": {**properties, parents[0]: inner}}


def _stepped_schema(known: dict[str, Any], name: str, step: Step) -> dict[str, Any]:
    properties, required = dict(known.get("properties", {})), set(known.get("required", ()))
    others = known.get("additionalProperties", True)
    before: Schema = properties.get(name, others)
    match step:
        case Keep():
            properties = {member: properties.get(member, others) for member in step.members}
            required &= set(step.members)
            others = False
        case Default():
            value = {"const": step.value}
            properties[name] = value if before is False else {"anyOf": [before, value]}
            required.add(name)
        case Drop():
            properties[name] = False  # it cannot be there any more
            required.discard(name)
        case Rename():
            stays = properties.get(step.to, others)
            properties[step.to] = before if name in required else {"anyOf": [before, stays]}
            properties[name] = False
            required = {step.to if key == name else key for key in required}
        case Convert():
            properties[name] = _converted_schema(before, step)
    if others is False:  # then leaving a member out says that it cannot be there, in a form that compares better
        properties = {key: schema for key, schema in properties.items() if schema is not False}
    rest = {} if others is True else {"additionalProperties": others}
    return {**known, "properties": properties, "required": sorted(required), **rest}


def _converted_schema(before: Schema, step: Convert) -> Schema:
    if step.to is Kind.ARRAY:
        wrapped = {"type": "array", "items": before, "minItems": 1, "maxItems": 1}
        return {"anyOf": [wrapped, {"allOf": [before, {"type": "array"}]}]}
    if step.has_otherwise:
        return {"anyOf": [{"type": step.to.value}, {"const": step.otherwise}]}
    return {"anyOf": [{"type": step.to.value}, {"allOf": [before, {"type": _LEFT_OVER[step.to]}]}]}
