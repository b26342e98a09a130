"""The in-memory twin of Elasticsearch: a dictionary per class, as strict about a document's fields."""

from collections.abc import AsyncIterator, Sequence

from factline.domain.identifiers import AggregateId
from factline.errors import InputInvalid, StoreUnavailable
from factline.ports import Document
from factline.stores.elasticsearch.mapping import MAPPINGS
from factline.stores.memory.pause import Pause, let_others


class MemoryDocuments:
    """``Documents`` without a server. ``available`` False plays an outage; ``indices`` may be emptied by a test.

    ``pause`` is what lets others go first.
    """

    def __init__(self) -> None:
        self.indices: dict[str, dict[str, Document]] = {}
        self.available = True
        self.pause: Pause = let_others

    async def write(self, documents: Sequence[Document]) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written."""
        await self.pause()
        return [self._write(document) for document in documents]

    async def read(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Document | None]:
        """Return each one's document as it stands now, tombstones included, or None; raises StoreUnavailable."""
        await self.pause()
        if not self.available:
            raise StoreUnavailable("Elasticsearch in memory", f"reading {len(aggregate_ids)}", "made unavailable")
        return [self._read(aggregate_id) for aggregate_id in aggregate_ids]

    def _read(self, aggregate_id: AggregateId) -> Document | None:
        found = self.indices.get(_index_of(aggregate_id), {}).get(aggregate_id.instance_key)
        return found if found is not None and found.aggregate_id == aggregate_id else None

    def _write(self, document: Document) -> Exception | None:
        doing = f"writing {document.aggregate_id} at {document.sequence_number}"
        if not self.available:
            return StoreUnavailable("Elasticsearch in memory", doing, "made unavailable")
        unknown = set(document.body) - set(MAPPINGS["properties"])
        if unknown:
            return InputInvalid(f"document {document.aggregate_id}: fields that no mapping has: {sorted(unknown)}")
        index = self.indices.setdefault(_index_of(document.aggregate_id), {})
        present = index.get(document.aggregate_id.instance_key)
        if present is None or present.sequence_number < document.sequence_number:
            index[document.aggregate_id.instance_key] = document
        return None


def _index_of(aggregate_id: AggregateId) -> str:
    return f"{aggregate_id.db_name}.{aggregate_id.class_id}".lower()


class MemoryScan:
    """The documents of a ``MemoryDocuments``, as a verification reads them."""

    def __init__(self, documents: MemoryDocuments) -> None:
        self._documents = documents

    async def documents(self, *, db_name: str | None = None) -> AsyncIterator[Document]:
        """Yield every document, of one database or of all."""
        for name, index in list(self._documents.indices.items()):
            if db_name is None or name.startswith(f"{db_name.lower()}."):
                for document in list(index.values()):
                    yield document
