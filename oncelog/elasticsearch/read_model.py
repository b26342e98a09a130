"""Read models in Elasticsearch as their authors write them: a pure function of documents, and how fields are mapped."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.identifiers import check_name
from oncelog.errors import InputInvalid
from oncelog.ports import Document
from oncelog.read_models.names import ReadModelName
from oncelog.read_models.scope import EventScope

#: The fields that each document has beside the application's own, with their mapping.
RESERVED: Mapping[str, Any] = {
    "aggregate_id": {"type": "keyword"},
    "sequence_number": {"type": "long"},
    "deleted": {"type": "boolean"},
}


class ElasticsearchReadModel:
    """An index that one projector group keeps up to date: one document per aggregate.

    ``document``: from an aggregate's ``Document`` to the fields of its own one, or None for none: it is a tombstone
    then, with ``deleted``. Has to be pure. A deleted aggregate's ``Document`` says so in ``body["deleted"]``.

    ``properties``: the mapping of each field that is searched, as Elasticsearch has it. Other fields are kept and not
    indexed. ``name``: in the index's name, in consumer groups, dead letters and metrics; a letter, then up to 62 of
    A-Z a-z 0-9 _ -. ``classes``: as for ``oncelog.subscribe``. Raises InputInvalid.
    """

    def __init__(
        self,
        name: str,
        document: Callable[[Document], Mapping[str, Any] | None],
        *,
        properties: Mapping[str, Mapping[str, Any]],
        classes: Iterable[str] = (),
    ) -> None:
        if check_name(name, "read model: name") in list(ReadModelName):
            raise InputInvalid(f"read model: expected a name that is none of Oncelog's own, found {name!r}")
        if name != name.lower():
            raise InputInvalid(f"read model: expected a name in lower case, as names of indices are, found {name!r}")
        if taken := sorted(properties.keys() & RESERVED.keys()):
            raise InputInvalid(f"read model {name}: properties: expected other names than Oncelog's, found {taken}")
        self.name = name
        self.document = document
        self.properties = {**properties, **RESERVED}
        self.scope = EventScope(classes)

    @property
    def properties_digest(self) -> str:
        """SHA-256 of the canonical properties: an index keeps those that it was made with."""
        return sha256_hex(canonical_bytes(self.properties))
