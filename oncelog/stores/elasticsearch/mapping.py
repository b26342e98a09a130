"""How a class's documents are indexed: strictly, with ``data`` as one flattened field unless the class is defined.

``flattened`` makes every leaf searchable without giving each a field of its own, so that no payload, however many
different keys it has, can make the mapping grow (https://www.elastic.co/docs/reference/elasticsearch/mapping-reference/flattened).
"""

from collections.abc import Mapping
from typing import Any

from oncelog.domain.index_terms import index_terms
from oncelog.domain.limits import DEPTH_MAX
from oncelog.ports import IndexSchema

#: Lucene takes no term above 32,766 bytes, and flattened's terms are "key path, NUL, value" in UTF-8. A path holds at
#: most 32 keys of 512 bytes and the dots between them, 16,415 bytes; a character as Java counts them at most 3. So
#: values up to this length always fit, and longer ones are kept, but not found by a search.
SEARCHABLE_CHARACTERS_MAX = 4096

_KEYWORDS = ("aggregate_id", "db_name", "class_id", "instance_id", "event_id", "schema_version")
_DATE = {"type": "date", "format": "strict_date_optional_time"}

_FLATTENED = {
    "type": "flattened",
    "depth_limit": DEPTH_MAX + 8,
    "ignore_above": SEARCHABLE_CHARACTERS_MAX,
}

#: The terms of ``index_terms``, by which filters are answered for any definition of the class: no document values,
#: since nothing sorts or groups by them.
EXACT = "exact"
#: The texts of ``index_terms`` by path, on which Elasticsearch sorts: document values only, and no field for each path.
SORTABLE = "sortable"
#: Only an index of which every document has both knows this name; a query that sorts by it is refused by any other
#: index, instead of finding nothing there.
EXACT_READY = "exact_sortable"
#: Ends the name of an index that follows one of an earlier release, of the same definition.
FOLLOWS = ".sortable"

MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        **{name: {"type": "keyword"} for name in _KEYWORDS},
        "sequence_number": {"type": "long"},
        "deleted": {"type": "boolean"},
        "created_at": _DATE,
        "updated_at": _DATE,
        "data": _FLATTENED,
        EXACT: {"type": "keyword", "doc_values": False},
        SORTABLE: {"type": "flattened", "index": False},
        EXACT_READY: {"type": "alias", "path": "sequence_number"},
    },
}

#: Where data lies that the typed field does not take: data stored before its class was defined, for one. So
#: nothing is lost, all of it is found, and it can be counted.
UNFIT = "unfit"


def mappings_of(index_schema: IndexSchema) -> dict[str, Any]:
    """Return the mappings of an index of this schema; their ``_meta`` names it."""
    properties = MAPPINGS["properties"]
    if index_schema.mapping is not None:
        properties = {**properties, "data": index_schema.mapping, UNFIT: _FLATTENED}
    definition = index_schema.definition.model_dump(mode="json") if index_schema.definition else None
    meta = {"definition": definition, "mapping_digest": index_schema.digest}
    return {**MAPPINGS, "properties": properties, "_meta": meta}


def as_unfit(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's body as an index keeps it if one of its typed fields does not take the data."""
    return {UNFIT if name == "data" else name: value for name, value in body.items()}


def as_indexed(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's body with the terms by which filters find it and the texts by which searches sort it."""
    exact, sortable = index_terms(body["data"])
    return {**body, EXACT: exact, SORTABLE: sortable}


def as_written(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body as it was before ``as_unfit`` and ``as_indexed``."""
    return {"data" if name == UNFIT else name: value for name, value in body.items() if name not in (EXACT, SORTABLE)}


def as_verified(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body as it was written; with its terms and texts, which no writer writes, if they are not of its data.

    Documents in an index of an earlier release may lack either.
    """
    written = as_written(body)
    data = written.get("data")
    derived = {name: body[name] for name in (EXACT, SORTABLE) if name in body}
    wanted = dict(zip((EXACT, SORTABLE), index_terms(data), strict=True)) if isinstance(data, dict) else {}
    known = all(name in wanted and _in_order(value) == _in_order(wanted[name]) for name, value in derived.items())
    return written if known else {**written, **derived}


def _in_order(derived: Any) -> Any:
    """Return terms in one order, texts as they are."""
    return sorted(derived, key=str) if isinstance(derived, list) else derived


def has_exact_terms(mappings: Mapping[str, Any]) -> bool:
    """Return whether documents of an index with these mappings have all that filters and orders need."""
    return EXACT_READY in mappings.get("properties", {})
