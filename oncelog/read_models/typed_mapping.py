"""How the documents of a defined class are indexed: one typed field per member of ``data``, from its JSON Schema.

A field's type is never narrower than the schema, so that valid data can always be indexed; where no
field type is wide enough (a member that may be an object or a text), the member is kept but not searched. A schema
with more members than an index should have fields is kept whole in one ``flattened`` field, as undefined classes are.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from oncelog.domain.json_pointer import parse_fragment, value_at
from oncelog.domain.ontology.schemas import Schema, resolved

#: Elasticsearch's own limits are 1,000 fields and 20 levels of an index. It counts objects and sub-fields as well, and
#: the document has 14 fields beside those of the data; the rest is left to the function that adds some to an index.
FIELDS_MAX = 950
DEPTH_MAX = 16
#: Lucene takes no term above 32,766 bytes; a character has at most 4.
KEYWORD_CHARACTERS_MAX = 8_191

Mapping = dict[str, Any]

_ALL_TYPES = frozenset({"null", "boolean", "object", "array", "number", "integer", "string"})
_UNSEARCHED: Mapping = {"type": "object", "enabled": False}
_KEYWORD: Mapping = {
    "type": "keyword",
    "ignore_above": KEYWORD_CHARACTERS_MAX,
    "fields": {"text": {"type": "text"}},
}
_DATE: Mapping = {"type": "date", "format": "strict_date_optional_time", "ignore_malformed": True}
_SCALARS: dict[frozenset[str], Mapping] = {
    frozenset({"boolean"}): {"type": "boolean"},
    frozenset({"integer"}): {"type": "long", "ignore_malformed": True},  # 1e21 is an integer, too
    frozenset({"number"}): {"type": "double", "ignore_malformed": True},
    frozenset({"number", "integer"}): {"type": "double", "ignore_malformed": True},
}
_OF_VALUES = {bool: "boolean", dict: "object", list: "array", int: "integer", float: "number", str: "string"}


def typed_mapping(schema: dict[str, Any]) -> Mapping | None:
    """Return the mapping of ``data`` for a definition's schema, or None where one flattened field serves better."""
    typing = _Typing(schema)
    mapping = typing.of([schema], depth=0, path=frozenset({"#"}))
    if typing.fields > FIELDS_MAX or typing.deepest > DEPTH_MAX or "properties" not in mapping:
        return None
    return mapping


class _Typing:
    def __init__(self, root: dict[str, Any]) -> None:
        self._root = root
        self.fields = 0
        self.deepest = 0

    def of(self, schemas: Iterable[Schema], *, depth: int, path: frozenset[str]) -> Mapping:
        """Return the mapping of a member with values valid under one of the schemas.

        ``path``: the references that led here; data of a schema that contains itself is not searched within itself.
        """
        self.deepest = max(self.deepest, depth)
        self.fields += 1
        if depth > DEPTH_MAX or self.fields > FIELDS_MAX:
            return _UNSEARCHED
        schemas = list(schemas)
        references: set[str] = set()
        nodes = [node for schema in schemas for node in self._nodes(schema, references)]
        if references & path:
            return _UNSEARCHED
        path |= references
        types = frozenset[str]().union(*(self._types(schema, 0) for schema in schemas)) - {"null"}
        if types == {"object"}:
            return self._of_object(nodes, depth=depth, path=path)
        if "array" in types:
            return self._of_array(nodes, types - {"array"}, depth=depth, path=path)
        return self._of_scalar(nodes, types)

    def _of_scalar(self, nodes: list[dict[str, Any]], types: frozenset[str]) -> Mapping:
        if "object" in types:
            return _UNSEARCHED
        if types == {"string"}:
            said = [node for node in nodes if "string" in self._said(node)]
            dates = bool(said) and all(node.get("format") in ("date", "date-time") for node in said)
            mapping = _DATE if dates else _KEYWORD
        else:
            mapping = _SCALARS.get(types, _KEYWORD)
        self.fields += len(mapping.get("fields", ()))
        return mapping

    def _of_array(
        self, nodes: list[dict[str, Any]], others: frozenset[str], *, depth: int, path: frozenset[str]
    ) -> Mapping:
        """An array is indexed as its items are: a field takes one value or many."""
        arrays = [node for node in nodes if "array" in self._said(node)]
        if others or any("prefixItems" in node for node in arrays):
            return _UNSEARCHED
        self.fields -= 1  # it has no field beside that of its items
        return self.of([node.get("items", True) for node in arrays], depth=depth, path=path)

    def _of_object(self, nodes: list[dict[str, Any]], *, depth: int, path: frozenset[str]) -> Mapping:
        names = {name for node in nodes for name in node.get("properties", {})}
        if any("." in name or not name.strip() for name in names):
            return _UNSEARCHED  # a dot would be taken for a member of a member
        properties = {
            name: self.of(
                [node["properties"][name] for node in nodes if name in node.get("properties", {})],
                depth=depth + 1,
                path=path,
            )
            for name in sorted(names)
        }
        closed = any(node.get("additionalProperties") is False and not node.get("patternProperties") for node in nodes)
        return {"dynamic": "strict" if closed and len(nodes) == 1 else "false", "properties": properties}

    def _nodes(self, schema: Schema, references: set[str]) -> Iterator[dict[str, Any]]:
        """Yield the schema and all subschemas for the same place; adds its references to ``references``."""
        if isinstance(schema, bool):
            if schema:
                yield {}
            return
        reference = schema.get("$ref")
        if isinstance(reference, str) and reference not in references:
            references.add(reference)
            yield from self._nodes(value_at(self._root, parse_fragment(reference)), references)
        parts = [part for keyword in ("allOf", "anyOf", "oneOf") for part in schema.get(keyword, ())]
        parts += [schema[keyword] for keyword in ("then", "else") if keyword in schema]
        if reference is None or set(schema) - {"$ref"}:
            yield schema
        for part in parts:
            yield from self._nodes(part, references)

    def _said(self, node: dict[str, Any]) -> frozenset[str]:
        """Return the types that a schema admits as far as it says itself."""
        said = node.get("type", _ALL_TYPES)
        types = frozenset([said] if isinstance(said, str) else said)
        if "number" in types:
            types |= {"integer"}
        values = [node["const"]] if "const" in node else node.get("enum")
        if values is not None:
            types &= frozenset("null" if value is None else _OF_VALUES[type(value)] for value in values)
        return types

    def _types(self, schema: Schema, depth: int) -> frozenset[str]:
        """Return the types that a schema admits at most."""
        if isinstance(schema, bool):
            return _ALL_TYPES if schema else frozenset()
        types = self._said(schema)
        if depth > DEPTH_MAX:
            return types
        if "$ref" in schema:
            types &= self._types(resolved({"$ref": schema["$ref"]}, self._root), depth + 1)
        for part in schema.get("allOf", ()):
            types &= self._types(part, depth + 1)
        for keyword in ("anyOf", "oneOf"):
            if keyword in schema:
                types &= frozenset[str]().union(*(self._types(part, depth + 1) for part in schema[keyword]))
        return types
