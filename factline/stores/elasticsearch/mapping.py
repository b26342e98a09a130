"""How a class's documents are indexed: strictly, with ``data`` as one flattened field unless the class is defined.

``flattened`` makes every leaf searchable without giving each a field of its own, so that no payload, however many
different keys it has, can make the mapping grow (https://www.elastic.co/docs/reference/elasticsearch/mapping-reference/flattened).
"""

from collections.abc import Mapping
from typing import Any

from factline.domain.limits import DEPTH_MAX
from factline.ports import Form

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

MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        **{name: {"type": "keyword"} for name in _KEYWORDS},
        "sequence_number": {"type": "long"},
        "deleted": {"type": "boolean"},
        "created_at": _DATE,
        "updated_at": _DATE,
        "data": _FLATTENED,
    },
}

#: Where data lies that the typed field does not take: what was stored before its class was defined, for one. So
#: nothing is lost, all of it is found, and it can be counted.
UNFIT = "unfit"


def mappings_of(form: Form) -> dict[str, Any]:
    """Return the mappings of an index of this form; they say themselves which that is."""
    properties = MAPPINGS["properties"]
    if form.mapping is not None:
        properties = {**properties, "data": form.mapping, UNFIT: _FLATTENED}
    definition = form.definition.model_dump(mode="json") if form.definition else None
    meta = {"definition": definition, "mapping_digest": form.digest}
    return {**MAPPINGS, "properties": properties, "_meta": meta}


def as_unfit(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document's body as an index keeps it whose typed field does not take its data."""
    return {UNFIT if name == "data" else name: value for name, value in body.items()}


def as_written(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the body as it was before ``as_unfit``."""
    return {"data" if name == UNFIT else name: value for name, value in body.items()} if UNFIT in body else body
