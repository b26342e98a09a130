"""Breaking changes from one schema to the next: data that was valid and would no longer be.

Whether anything breaks is proven by ``Comparison``; where it is not proven, the walk here finds out where, for people.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from oncelog.domain.canonical import canonical_bytes
from oncelog.domain.json_pointer import parse_pointer, pointer_of
from oncelog.domain.limits import FINDINGS_MAX
from oncelog.domain.ontology.budget import JudgingCost
from oncelog.domain.ontology.definition import ClassDefinition, Relationship
from oncelog.domain.ontology.explanation import Finding
from oncelog.domain.ontology.patterns import MatchingCost
from oncelog.domain.ontology.schema_parts import with_parts
from oncelog.domain.ontology.schemas import (
    Comparison,
    Schema,
    comparable_with_references,
    refers_to_root,
    resolved,
    validator_of,
    within,
)
from oncelog.domain.unique.constraint import UniqueConstraint

#: Annotations, which do not affect validity, and keywords that are descended into.
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
_ANNOTATIONS = _SILENT - {"$defs"}
_WALKED = frozenset({"properties", "required", "additionalProperties", "items", "$ref"})


def schema_breaks(old: dict[str, Any], new: dict[str, Any]) -> list[Finding]:
    """Return where the new schema refuses data that the old one admits; empty if it is proven that it never does."""
    if _same(old, new) or _admits_only_value(old, new):
        return []
    return list(islice(_Walk(old, new).breaks(old, new, ()), FINDINGS_MAX))


def relationship_breaks(old: ClassDefinition, new: ClassDefinition) -> list[Finding]:
    """Return the relationships that changed their meaning, or give old data a meaning that it did not have."""
    return [
        {"at": pointer_of(["relationships", name]), "problem": problem}
        for name in sorted({*old.relationships, *new.relationships})
        if (problem := _relationship_break(old, old.relationships.get(name), new.relationships.get(name)))
    ]


def constraint_breaks(old: ClassDefinition, new: ClassDefinition) -> list[Finding]:
    """Return which unique constraints have another meaning than before, also by a migration that renames a member."""
    breaks: list[Finding] = []
    for name, constraint in sorted(new.constraints.items()):
        before = old.constraints.get(name)
        moved = before and before.model_copy(update={"paths": tuple(_renamed(each, new) for each in before.paths)})
        if moved is not None and not constraint.has_meaning_of(moved):
            problem = f"expected the meaning it has, {_meaning(moved)}; found {_meaning(constraint)}"
            breaks.append({"at": pointer_of(["unique", name]), "problem": problem})
    return breaks


def _meaning(constraint: UniqueConstraint) -> str:
    return " and ".join(constraint.paths) + (f" by {constraint.fold}" if constraint.fold else " as they are")


def _renamed(path: str, new: ClassDefinition) -> str:
    """Return where the migration to a definition brings the value at a path, as far as it renames members."""
    parts = parse_pointer(path)
    for step in (each.rename for each in new.migration):
        if step is not None and parts[: len(at := parse_pointer(step.at))] == at:
            parts = (*at[:-1], step.to, *parts[len(at) :])
    return pointer_of(parts)


def _relationship_break(definition: ClassDefinition, old: Relationship | None, new: Relationship | None) -> str | None:
    if new is None:
        return "was removed"
    if old is None:
        known = Comparison().covers(False, _at_path(definition.json_schema, new.path))
        return None if known else f"is new, at {new.path}, where data may stand already that refers to nothing"
    for name in ("target_class", "path", "inverse"):
        before, after = getattr(old, name), getattr(new, name)
        if before != after and not (name == "inverse" and before is None):
            return f"{name}: was {before}, is {after}"
    if old.cardinality is not new.cardinality:
        return f"cardinality: was {old.cardinality}, is {new.cardinality}"
    return None


def _at_path(root: dict[str, Any], path: str) -> Schema:
    """Return the subschema for the values at a path through objects; true where there is none."""
    schema: Schema = root
    for name in parse_pointer(path):
        schema = _property(resolved(schema, root), name)
    return within(schema, root)


def _property(schema: Schema, name: str) -> Schema:
    """Return the subschema of one property, as far as ``properties`` and ``additionalProperties`` have one."""
    if isinstance(schema, bool):
        return schema
    found: Schema = schema.get("properties", {}).get(name, schema.get("additionalProperties", True))
    return found


class _Walk:
    """Two roots; references are followed through their definitions.

    A pair of parts that was met before is taken for compatible: if it is not, its first meeting has found why. So
    schemas that contain themselves are compared, and each pair once.
    """

    def __init__(self, old: dict[str, Any], new: dict[str, Any]) -> None:
        self._old = old
        self._new = new
        self._met: set[tuple[int, int]] = set()
        self._comparison = Comparison()
        self._same_definitions = _same_value("$defs", old, new)
        self._whole = not (refers_to_root(old) or refers_to_root(new))
        self._small = comparable_with_references(old) and comparable_with_references(new)

    def breaks(self, old: Schema, new: Schema, at: tuple[str, ...]) -> Iterator[Finding]:
        if new is True or old is False:
            return
        before, after = resolved(old, self._old), resolved(new, self._new)
        met = (id(before), id(after)) in self._met
        if (met and not _beside_reference(new)) or self._covers(new, old):
            return
        if not isinstance(before, dict) or not isinstance(after, dict):
            if after is not True:
                yield {"at": pointer_of(at), "problem": _said(old, new)}
            return
        if met:  # the target was compared already, but not the keywords beside the reference
            yield {"at": pointer_of(at), "problem": _said(old, new)}
            return
        self._met.add((id(before), id(after)))
        found = False
        for finding in self._within(before, after, at):
            found = True
            yield finding
        if not found and not (_divisible(old, before) and _divisible(new, after)):
            yield {"at": pointer_of(at), "problem": _said(old, new)}

    def _covers(self, new: Schema, old: Schema) -> bool:
        """Return whether it is proven at once; parts of schemas that contain themselves cannot stand alone."""
        if _stands_alone(new) and _stands_alone(old):
            return self._comparison.covers(new, old)
        if not self._small:
            return False
        if not self._whole:
            return new is self._new and old is self._old and self._comparison.covers(new, old)
        return self._comparison.covers(within(new, self._new), within(old, self._old))

    def _within(self, old: dict[str, Any], new: dict[str, Any], at: tuple[str, ...]) -> Iterator[Finding]:
        for name in sorted({*old.get("properties", {}), *new.get("properties", {})}):
            yield from self.breaks(_property(old, name), _property(new, name), (*at, "properties", name))
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield {"at": pointer_of((*at, "required")), "problem": f"{name!r} was optional and is required"}
        for keyword in ("additionalProperties", "items"):
            if keyword in new:
                yield from self.breaks(old.get(keyword, True), new[keyword], (*at, keyword))
        for keyword in sorted(set(new) - _SILENT - _WALKED):
            if not self._keyword_holds(keyword, old, new):
                yield {"at": pointer_of((*at, keyword)), "problem": _said(old.get(keyword, _ABSENT), new[keyword])}

    def _keyword_holds(self, keyword: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
        """Return whether every value that the old part admits is proven to pass this keyword of the new one."""
        company = _COMPANIES.get(keyword, frozenset({keyword}))
        if all(_same_value(name, old, new) for name in company):
            said = canonical_bytes([new.get(name) for name in company]).decode()
            if self._same_definitions or '"$ref"' not in said:
                return True
        if len(company) > 1:
            return False
        if keyword == "anyOf" and self._alternatives_hold(old.get("anyOf", ()), new["anyOf"]):
            return True
        alone = {keyword: new[keyword]}
        before = {keyword: old[keyword]} if keyword in old else {}
        if _stands_alone(alone) and _stands_alone(before) and self._comparison.covers(alone, before):
            return True
        return self._covers(alone, old)

    def _alternatives_hold(self, old: Sequence[Schema], new: Sequence[Schema]) -> bool:
        """Return whether each of the old alternatives is proven to be within one of the new ones."""
        means_same = [part for part in new if self._same_definitions or _stands_alone(part)]
        said = {canonical_bytes([_asserting(part)]) for part in means_same}
        return bool(old) and all(
            canonical_bytes([_asserting(part)]) in said or any(self._covers(wide, part) for wide in new) for part in old
        )


_CONDITION = frozenset({"if", "then", "else"})
_COUNTED = frozenset({"contains", "minContains", "maxContains"})
#: Keywords that mean something only together with others; unevaluated members and items depend on all beside them.
_COMPANIES = {
    **dict.fromkeys(_CONDITION, _CONDITION),
    **dict.fromkeys(_COUNTED, _COUNTED),
    "unevaluatedProperties": frozenset(
        {"unevaluatedProperties", *_WALKED, "allOf", "anyOf", "oneOf", "patternProperties", "dependentSchemas", "not"}
        | _CONDITION
    ),
    "unevaluatedItems": frozenset(
        {"unevaluatedItems", "items", "prefixItems", "contains", "allOf", "anyOf", "oneOf", "dependentSchemas", "not"}
        | {"$ref"}
        | _CONDITION
    ),
}


def _admits_only_value(old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Return whether the old schema admits one value, as after a migration that leaves no other, and the new one it."""
    value = _only_value(old)
    if value is _ABSENT or JudgingCost(new).exceeded_by(value) or MatchingCost(new).exceeded_by(value):
        return False
    return bool(validator_of(new).is_valid(value))


def _only_value(schema: Schema) -> Any:
    """Return the only value that a schema admits, or ``_ABSENT`` if it may admit others."""
    if not isinstance(schema, dict):
        return _ABSENT
    if "const" in schema:
        return schema["const"] if set(schema) <= {"const", *_ANNOTATIONS} else _ABSENT
    properties = schema.get("properties", {})
    closed = schema.get("type") == "object" and schema.get("additionalProperties") is False
    if not closed or set(schema) - _WALKED - _SILENT - {"type"} or "$ref" in schema:
        return _ABSENT
    values = {name: _only_value(part) for name, part in properties.items()}
    if set(schema.get("required", ())) != set(values) or any(value is _ABSENT for value in values.values()):
        return _ABSENT
    return values


def _same(old: Any, new: Any) -> bool:
    return canonical_bytes([_asserting(old)]) == canonical_bytes([_asserting(new)])


def _same_value(keyword: str, old: dict[str, Any], new: dict[str, Any]) -> bool:
    """Return whether two schemas say the same by one keyword; two that lack it do."""
    before, after = (with_parts({keyword: side[keyword]} if keyword in side else {}, _asserting) for side in (old, new))
    return canonical_bytes(before) == canonical_bytes(after)


def _asserting(schema: Any) -> Any:
    """Return a schema without its annotations, which say nothing about values."""
    if not isinstance(schema, dict):
        return schema
    return with_parts({name: value for name, value in schema.items() if name not in _ANNOTATIONS}, _asserting)


def _stands_alone(part: Schema) -> bool:
    return '"$ref"' not in canonical_bytes(part).decode()


def _divisible(part: Schema, followed: dict[str, Any]) -> bool:
    """Return whether a part says no more than its keywords say one by one, so that proving each proves all."""
    return not _beside_reference(part) and not {"patternProperties", "prefixItems"} & set(followed)


def _beside_reference(part: Schema) -> bool:
    """Return whether a part says more than that to which it refers."""
    return isinstance(part, dict) and "$ref" in part and bool(set(part) - _SILENT - {"$ref"})


_ABSENT: Any = object()


def _said(old: Any, new: Any) -> str:
    before = "was absent" if old is _ABSENT else f"was {_short(old)}"
    return f"{before}, is {_short(new)}: not every value that was valid still is, as far as can be told"


def _short(value: Any) -> str:
    text = canonical_bytes(value).decode()
    return text if len(text) <= 120 else text[:120] + " …"
