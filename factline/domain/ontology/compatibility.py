"""What breaks from one schema to the next: data that was valid and would no longer be.

Whether anything breaks is proven by ``covers``; where it is not proven, the walk here finds out where, for people.
"""

from collections.abc import Iterator
from typing import Any

from factline.domain.canonical import canonical_bytes
from factline.domain.json_pointer import parse_pointer, pointer_of
from factline.domain.ontology.definition import ClassDefinition, Relationship
from factline.domain.ontology.schemas import Finding, Schema, covers, resolved, within

#: What says nothing about which values are valid, and what is walked through.
_SILENT = frozenset(
    {
        "title",
        "description",
        "examples",
        "default",
        "deprecated",
        "readOnly",
        "writeOnly",
        "$comment",
        "$schema",
        "$defs",
    }
)
_WALKED = frozenset({"properties", "required", "additionalProperties", "items", "$ref"})


def schema_breaks(old: dict[str, Any], new: dict[str, Any]) -> list[Finding]:
    """Return where the new schema refuses what the old one admits; nothing, if it is proven that it never does."""
    return list(_Walk(old, new).breaks(old, new, ()))


def relationship_breaks(old: ClassDefinition, new: ClassDefinition) -> list[Finding]:
    """Return which relationships no longer mean what they meant, or mean something where old data did not."""
    return [
        {"at": pointer_of(["relationships", name]), "problem": problem}
        for name in sorted({*old.relationships, *new.relationships})
        if (problem := _relationship_break(old, old.relationships.get(name), new.relationships.get(name)))
    ]


def _relationship_break(definition: ClassDefinition, old: Relationship | None, new: Relationship | None) -> str | None:
    if new is None:
        return "was removed"
    if old is None:
        known = covers(False, _at_path(definition.json_schema, new.path))
        return None if known else f"is new, at {new.path}, where data may stand already that refers to nothing"
    for name in ("target_class", "path", "inverse"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after and not (name == "inverse" and before is None):
            return f"{name}: was {before}, is {after}"
    if old.cardinality is not new.cardinality:
        return f"cardinality: was {old.cardinality}, is {new.cardinality}"
    return None


def _at_path(root: dict[str, Any], path: str) -> Schema:
    """Return what the schema says of the values at a path through objects; true where it says nothing there."""
    schema: Schema = root
    for name in parse_pointer(path):
        schema = _property(resolved(schema, root), name)
    return within(schema, root)


def _property(schema: Schema, name: str) -> Schema:
    """Return what an object schema says of one property, as far as properties and additionalProperties tell."""
    if isinstance(schema, bool):
        return schema
    found: Schema = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
    return found


class _Walk:
    """Two roots, through whose definitions references are followed."""

    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        self._old = old
        self._new = new

    def breaks(self, old: Schema, new: Schema, at: tuple[str, ...]) -> Iterator[Finding]:
        if covers(within(new, self._new), within(old, self._old)):
            return
        found = False
        before, after = resolved(old, self._old), resolved(new, self._new)
        if isinstance(before, dict) and isinstance(after, dict) and len(at) < 64:
            for finding in self._within(before, after, at):
                found = True
                yield finding
        if not found:
            yield {"at": pointer_of(at), "problem": _said(old, new)}

    def _within(self, old: dict[str, Any], new: dict[str, Any], at: tuple[str, ...]) -> Iterator[Finding]:
        for name in sorted({*old.get("properties", {}), *new.get("properties", {})}):
            yield from self.breaks(_property(old, name), _property(new, name), (*at, "properties", name))
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield {"at": pointer_of((*at, "required")), "problem": f"{name!r} was optional and is required"}
        for keyword in ("additionalProperties", "items"):
            if keyword in new:
                yield from self.breaks(old.get(keyword, True), new[keyword], (*at, keyword))
        for keyword in sorted(set(new) - _SILENT - _WALKED):
            alone = within({keyword: new[keyword]}, self._new)
            if not covers(alone, within(old, self._old)):
                yield {"at": pointer_of((*at, keyword)), "problem": _said(old.get(keyword, _ABSENT), new[keyword])}


_ABSENT: Any = object()


def _said(old: Any, new: Any) -> str:
    before = "was absent" if old is _ABSENT else f"was {_short(old)}"
    return f"{before}, is {_short(new)}: not every value that was valid still is, as far as can be told"


def _short(value: Any) -> str:
    text = canonical_bytes(value).decode()
    return text if len(text) <= 120 else text[:120] + " …"
