"""Queries of TerminusDB in WOQL's JSON form, as few of its words as we need.

See https://terminusdb.com/docs/woql-class-reference-guide/. Values are always given as values, never spliced into text.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Query = dict[str, Any]


def literal(value: str | int) -> Query:
    """Return a string or an integer as data."""
    kind = "xsd:integer" if isinstance(value, int) else "xsd:string"
    return {"@type": kind, "@value": value}


def template(value: Any) -> Query:
    """Return a document, or a part of one, as a query can insert it. (Booleans do not survive this: 12.0.6.)"""
    if isinstance(value, Mapping):
        pairs = [{"@type": "FieldValuePair", "field": name, "value": template(part)} for name, part in value.items()]
        return {"@type": "Value", "dictionary": {"@type": "DictionaryTemplate", "data": pairs}}
    if isinstance(value, list):
        return {"@type": "Value", "list": [template(part) for part in value]}
    return {"@type": "Value", "data": literal(value)}


def nodes(identifiers: Sequence[str]) -> Query:
    """Return a list of documents' identifiers."""
    return {"@type": "Value", "list": [{"@type": "Value", "node": identifier} for identifier in identifiers]}


def triple(subject: str, predicate: str, value: Query) -> Query:
    """Say that a subject has a value; a subject that starts with ``$`` is a variable."""
    return {
        "@type": "Triple",
        "subject": _node(subject),
        "predicate": {"@type": "NodeValue", "node": predicate},
        "object": {**value, "@type": "Value"},
    }


def variable(name: str) -> Query:
    return {"@type": "DataValue", "variable": name}


def both(*queries: Query) -> Query:
    return {"@type": "And", "and": list(queries)}


def upsert_if_newer(document: Mapping[str, Any], *, field: str, number: int, replaces: bool = False) -> Query:
    """Write the document unless one of its ``@id`` exists there with a ``field`` as high or higher.

    ``number`` tells the variables of several apart; ``replaces``: write over one with a ``field`` as high, too. A
    write that loses changes nothing and makes no commit.
    """
    old = f"old{number}"
    present = triple(document["@id"], field, {"variable": old})
    new = {"@type": "DataValue", "data": literal(document[field])}
    lower: Query = {"@type": "Less", "left": variable(old), "right": new}
    if replaces:
        lower = {"@type": "Not", "query": {"@type": "Greater", "left": variable(old), "right": new}}
    update = {"@type": "UpdateDocument", "document": template(document)}
    insert = {"@type": "InsertDocument", "document": template(document)}
    either = [both(present, lower, update), both({"@type": "Not", "query": present}, insert)]
    return {"@type": "Optional", "query": {"@type": "Or", "or": either}}


def documents_of(identifiers: Sequence[str]) -> Query:
    """Ask for documents, as ``document``; missing ones are left out."""
    return both(
        {"@type": "Member", "member": {"@type": "Value", "variable": "identifier"}, "list": nodes(identifiers)},
        {
            "@type": "ReadDocument",
            "identifier": {"@type": "NodeValue", "variable": "identifier"},
            "document": {"@type": "Value", "variable": "document"},
        },
    )


def page(query: Query, name: str, *, after: str, count_max: int) -> Query:
    """Ask for the different values of one variable, those above ``after`` in order, ``count_max`` at most."""
    above = {
        "@type": "Greater",
        "left": variable(name),
        "right": {"@type": "DataValue", "data": literal(after)},
    }
    distinct = {"@type": "Distinct", "variables": [name], "query": both(query, above) if after else query}
    ordering = [{"@type": "OrderTemplate", "variable": name, "order": "asc"}]
    ordered = {"@type": "OrderBy", "ordering": ordering, "query": distinct}
    limited = {"@type": "Limit", "limit": count_max, "query": ordered}
    return {"@type": "Select", "variables": [name], "query": limited}


def _node(name: str) -> Query:
    kind = "variable" if name.startswith("$") else "node"
    return {"@type": "NodeValue", kind: name.removeprefix("$")}
