"""Versioned documents as they are written and read, and the bulk requests that carry them."""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pydantic_core import to_json

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.json_size import indexed_size
from oncelog.domain.limits import INDEXED_BYTES_MAX
from oncelog.errors import StoreUnavailable

BULK_WRITES_MAX = 500  # in one request, as Elasticsearch's own helper has it
BULK_BYTES_MAX = 5_000_000  # of one request, unless one document has more


class VersionedWrite(NamedTuple):
    """One document for the index behind ``alias``, or for the very index that is named.

    ``kind``: such as `document` or `node`, for messages. ``replaces``: also one of the same version.
    """

    alias: str
    id: str
    version: int
    body: Mapping[str, Any]
    kind: str
    aggregate_id: AggregateId
    index_name: str | None = None
    replaces: bool = False

    @property
    def name(self) -> str:
        return f"{self.kind} {self.aggregate_id}"


def bulk_requests(
    writes: Sequence[VersionedWrite], *, writes_max: int = BULK_WRITES_MAX, bytes_max: int = BULK_BYTES_MAX
) -> Iterator[tuple[list[VersionedWrite], bytes]]:
    """Yield the writes of each request, and its body: two lines of JSON for each write.

    The memory that the server needs for a request is bounded, too: few long keys above many values come to far more
    than their bytes.
    """
    some: list[VersionedWrite] = []
    lines: list[bytes] = []
    size_bytes = indexed = 0
    for write in writes:
        cost, _ = indexed_size(write.body)
        line = b"%b\n%b\n" % (to_json(_action(write)), to_json(write.body))
        full = len(some) == writes_max or size_bytes + len(line) > bytes_max or indexed + cost > INDEXED_BYTES_MAX
        if some and full:
            yield some, b"".join(lines)
            some, lines, size_bytes, indexed = [], [], 0, 0
        some.append(write)
        lines.append(line)
        size_bytes += len(line)
        indexed += cost
    if some:
        yield some, b"".join(lines)


def target_of(write: VersionedWrite) -> str:
    return write.index_name or write.alias


def _action(write: VersionedWrite) -> Mapping[str, Any]:
    return {
        "index": {
            "_index": target_of(write),
            "_id": write.id,
            "version": write.version,
            "version_type": "external_gte" if write.replaces else "external",
            "require_alias": write.index_name is None,
        },
    }


@dataclass(frozen=True)
class VersionedRead:
    """A document behind an alias under one ``_id``."""

    version: int
    body: Mapping[str, Any]


#: Makes the missing index behind an alias; returns why that did not succeed, or None.
CreateIndex = Callable[[str], Awaitable[StoreUnavailable | None]]
