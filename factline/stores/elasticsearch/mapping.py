"""How a class's documents are indexed: strictly, with ``data`` as one flattened field.

``flattened`` makes every leaf searchable without giving each a field of its own, so that no payload, however many
different keys it has, can make the mapping grow (https://www.elastic.co/docs/reference/elasticsearch/mapping-reference/flattened).
"""

from typing import Any

from factline.domain.canonical import DEPTH_MAX

#: Lucene takes no term above 32,766 bytes, and flattened's terms are "key path, NUL, value" in UTF-8. A path holds at
#: most 32 keys of 512 bytes and the dots between them, 16,415 bytes; a character as Java counts them at most 3. So
#: values up to this length always fit, and longer ones are kept, but not found by a search.
SEARCHABLE_CHARACTERS_MAX = 4096

_KEYWORDS = ("aggregate_id", "db_name", "class_id", "instance_id", "event_id", "schema_version")
_DATE = {"type": "date", "format": "strict_date_optional_time"}

MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        **{name: {"type": "keyword"} for name in _KEYWORDS},
        "sequence_number": {"type": "long"},
        "deleted": {"type": "boolean"},
        "created_at": _DATE,
        "updated_at": _DATE,
        "data": {
            "type": "flattened",
            "depth_limit": DEPTH_MAX + 8,
            "ignore_above": SEARCHABLE_CHARACTERS_MAX,
        },
    },
}
