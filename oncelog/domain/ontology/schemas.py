"""JSON Schema 2020-12 as definitions may use it, compiled and compared by ``jsonschema-rs``.

Formats are asserted, not only noted: a typed index needs dates to be dates. Patterns are regular expressions without
look-around and back-references, so that matching takes time in proportion to its input. Nothing is ever fetched.
"""

from collections.abc import Iterator
from itertools import islice
from typing import Any

import jsonschema_rs

from oncelog.domain.canonical import canonical_bytes, shortened
from oncelog.domain.json_pointer import parse_fragment, pointer_of, value_at
from oncelog.domain.json_size import weighs_more
from oncelog.domain.limits import (
    ALTERNATIVES_MAX,
    COMPARED_VALUES_MAX,
    COMPARING_STEPS_MAX,
    FINDINGS_MAX,
    POINTER_CHARACTERS_MAX,
    UNFOLDED_PARTS_MAX,
)
from oncelog.domain.ontology.budget import JudgingCost
from oncelog.domain.ontology.explanation import Finding
from oncelog.domain.ontology.patterns import MatchingCost
from oncelog.domain.ontology.schema_parts import SCHEMA_LISTS, SCHEMA_MAPS, SCHEMA_PARTS, structure_problem, subschemas
from oncelog.domain.ontology.wording import WORDED_BYTES_MAX, short
from oncelog.errors import InputInvalid

DIALECT = "https://json-schema.org/draft/2020-12/schema"

#: A JSON Schema, or part of one: true, false or an object.
Schema = bool | dict[str, Any]

#: Keywords that make a reference mean something else elsewhere.
_MOVING = frozenset({"$id", "$anchor", "$dynamicRef", "$dynamicAnchor", "$vocabulary"})

_META = jsonschema_rs.Draft202012Validator({"$ref": DIALECT}, validate_formats=True)


def validator_of(
    schema: Schema, *, registry: jsonschema_rs.Registry | None = None
) -> jsonschema_rs.Draft202012Validator:
    """Compile a schema; ``registry``: the schemas that it may refer to. Raises ValueError for an invalid one."""
    return jsonschema_rs.Draft202012Validator(
        schema, validate_formats=True, pattern_options=jsonschema_rs.RegexOptions(), registry=registry, offline=True
    )


def schema_findings(schema: dict[str, Any]) -> list[Finding]:
    """Return everything that keeps the schema from being a definition's, each with where it stands in the schema.

    Plain linear looks come first, so that no schema without an end reaches the compiler.
    """
    if schema.get("$schema", DIALECT) != DIALECT:
        return [{"at": "/$schema", "problem": f"expected {DIALECT} or none, found {_cut(repr(schema['$schema']))}"}]
    if problem := structure_problem(schema):
        return [{"at": shortened(problem[0], POINTER_CHARACTERS_MAX), "problem": problem[1]}]
    findings = list(islice(_meta_findings(schema), FINDINGS_MAX)) or list(islice(_foreign(schema), FINDINGS_MAX))
    if not findings and schema.get("type") != "object":
        findings = [{"at": "/type", "problem": "expected 'object', for an instance's data is one"}]
    if not findings:
        try:
            JudgingCost(schema)
            MatchingCost(schema)
            validator_of(schema)
        except InputInvalid as error:
            findings = [{"at": "", "problem": error.message}]
        except ValueError as error:
            findings = [{"at": "", "problem": _cut(str(error))}]
    return findings


def _meta_findings(schema: dict[str, Any]) -> Iterator[Finding]:
    """Yield the findings of the meta-schema, part by part and keyword by keyword: all at once takes hundreds of MiB."""
    pending: list[tuple[str, Any]] = [] if _META.is_valid(schema) else [("", schema)]
    while pending:
        at, node = pending.pop()
        if not isinstance(node, dict):
            continue
        for keyword, said in _without_parts(node).items():
            alone = {keyword: said}
            if _META.is_valid(alone):
                continue
            if weighs_more(alone, than_bytes=WORDED_BYTES_MAX):
                problem = f"is not what JSON Schema 2020-12 allows for {_cut(repr(keyword))}: {short(said)}"
                yield {"at": shortened(at + pointer_of([keyword]), POINTER_CHARACTERS_MAX), "problem": problem}
                continue
            for error in _META.iter_errors(alone):
                where = shortened(at + pointer_of(error.instance_path), POINTER_CHARACTERS_MAX)
                yield {"at": where, "problem": _cut(error.message)}
        pending += reversed([(at + below, part) for below, part in subschemas(node)])


def _without_parts(node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without its parts: each schema within it is one that admits all."""
    said = dict(node)
    for keyword in node:
        if keyword in SCHEMA_PARTS:
            said[keyword] = True
        elif keyword in SCHEMA_LISTS and isinstance(node[keyword], list):
            said[keyword] = [True] * min(1, len(node[keyword]))
        elif keyword in SCHEMA_MAPS and isinstance(node[keyword], dict):
            said[keyword] = dict.fromkeys(node[keyword], True)
    return said


class Comparison:
    """Proves that schemas contain each other, within a budget for all of them.

    The library looks for a counterexample in time that grows with the third power of their sizes. So large parts are
    compared piece by piece by the caller, and their sizes to the third power are summed up.
    """

    def __init__(self) -> None:
        self._left = COMPARING_STEPS_MAX

    def covers(self, wide: Schema, narrow: Schema) -> bool:
        """Return whether it is proven that every value the narrow schema admits is admitted by the wide one.

        False where that is not so, and where it cannot be told, or not within the budget.
        """
        if wide is True or narrow is False:
            return True
        if wide == narrow and canonical_bytes(wide) == canonical_bytes(narrow):  # 1 == True in Python, not in JSON
            return True
        if _alternatives(wide) * _alternatives(narrow) > ALTERNATIVES_MAX:  # canonical forms grow with their product
            return False
        size = _size(wide) + _size(narrow)
        if size > COMPARED_VALUES_MAX or size**3 > self._left:
            return False
        self._left -= size**3
        try:
            contained = _canonical(wide).covers(_canonical(narrow))
        except ValueError:  # a keyword that its set operations do not support
            return False
        return bool(contained == jsonschema_rs.canonical.Containment.YES)


def _size(schema: Schema) -> int:
    """Return how many JSON values a schema is made of, or a number above ``COMPARED_VALUES_MAX``."""
    count, pending = 0, [schema]
    while pending and count <= COMPARED_VALUES_MAX:
        value = pending.pop()
        count += 1
        children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        pending += children
    return count


def _alternatives(schema: Schema) -> int:
    """Return how many combinations of alternatives a schema has at most, or a number above ``ALTERNATIVES_MAX``."""
    combinations, pending = 1, [schema]
    while pending and combinations <= ALTERNATIVES_MAX:
        node = pending.pop()
        if isinstance(node, dict):
            combinations *= max(1, len(node.get("anyOf", ()))) * max(1, len(node.get("oneOf", ())))
            combinations *= 2 if "if" in node or "not" in node else 1
            conditions = len(node.get("dependentRequired", ())) + len(node.get("dependentSchemas", ()))
            combinations *= 2 ** min(conditions, ALTERNATIVES_MAX)
            pending += [part for _, part in subschemas(node)]
    return combinations


def comparable_with_references(root: dict[str, Any]) -> bool:
    """Return whether a schema's definitions are few enough to be compared as one: each reference may unfold all."""
    references, parts, pending = 0, 0, [root]
    while pending and references * parts <= UNFOLDED_PARTS_MAX:
        node = pending.pop()
        if isinstance(node, dict):
            parts += 1
            references += "$ref" in node
            pending += [part for _, part in subschemas(node)]
    return references * parts <= UNFOLDED_PARTS_MAX


def _canonical(schema: Schema) -> jsonschema_rs.CanonicalSchema:
    return jsonschema_rs.canonicalize(
        schema,
        draft=jsonschema_rs.Draft202012,
        validate_formats=True,
        pattern_options=jsonschema_rs.RegexOptions(),
        offline=True,
    )


def refers_to_root(root: dict[str, Any]) -> bool:
    """Return whether the schema contains itself whole (``"$ref": "#"``), so that no part of it can stand alone."""
    pending: list[Any] = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("$ref") == "#":
                return True
            pending += [part for _, part in subschemas(node)]
    return False


def within(schema: Schema, root: dict[str, Any]) -> Schema:
    """Return a part of a schema that can stand alone, with the definitions that it may refer to."""
    if isinstance(schema, bool) or "$defs" not in root:
        return schema
    return {**schema, "$defs": root["$defs"]}


def resolved(schema: Schema, root: dict[str, Any]) -> Schema:
    """Follow ``$ref`` to its target; keywords beside it are left out."""
    seen: set[str] = set()
    while isinstance(schema, dict) and isinstance(reference := schema.get("$ref"), str):
        if reference in seen:
            return True  # it goes round in a circle and says nothing
        seen.add(reference)
        schema = value_at(root, parse_fragment(reference))
    return schema


def _foreign(schema: dict[str, Any]) -> Iterator[Finding]:
    """Yield every reference that is not to a definition of this very schema, or to all of it."""
    pending: list[tuple[str, Any]] = [("", schema)]
    while pending:
        at, node = pending.pop()
        if not isinstance(node, dict):
            continue
        for name in sorted(_MOVING & set(node)):
            yield {"at": f"{at}/{name}", "problem": "expected references by $ref only; write it without this keyword"}
        if "dependencies" in node:
            yield {"at": f"{at}/dependencies", "problem": "expected dependentRequired or dependentSchemas in its place"}
        reference = node.get("$ref")
        if isinstance(reference, str) and not _is_own_reference(reference):
            problem = f"expected '#' or '#/$defs/NAME', found {_cut(repr(reference))}; copy it in"
            yield {"at": f"{at}/$ref", "problem": problem}
        pending += [(at + below, part) for below, part in subschemas(node)]


def _is_own_reference(reference: str) -> bool:
    """Return whether a reference leads to the schema itself or to one of its definitions."""
    try:
        names = parse_fragment(reference)
    except InputInvalid:
        return False
    return not names or (len(names) == 2 and names[0] == "$defs")


_cut = shortened
