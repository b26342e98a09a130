"""The documents as a read model: the first one, and the example for others."""

from collections.abc import Iterator, Sequence

from pydantic_core import to_json

from factline.domain.identifiers import AggregateId
from factline.domain.instance import Instance
from factline.ports import Document, Documents, Standing
from factline.projections.documents import document_of

DOCUMENTS_MAX = 500
BYTES_MAX = 5_000_000


class DocumentsModel:
    """The ``ReadModel`` of documents. ``documents_max`` and ``bytes_max`` (of JSON, about) bound one request."""

    name = "documents"

    def __init__(self, documents: Documents, *, documents_max: int = DOCUMENTS_MAX, bytes_max: int = BYTES_MAX) -> None:
        self._documents = documents
        self._documents_max = documents_max
        self._bytes_max = bytes_max

    async def apply(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Write each state's document unless a newer one is there, one bounded request after the other."""
        outcomes: list[Exception | None] = []
        for batch in self._bounded([document_of(state) for state in states]):
            outcomes += await self._documents.write(batch)
        return outcomes

    async def positions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number of each one's document, 0 where there is none; raises StoreUnavailable."""
        found = await self._documents.read(aggregate_ids)
        return [document.sequence_number if document else 0 for document in found]

    async def standings(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Standing]:
        """Return the same; whose form is that of an earlier definition is a matter of the whole index."""
        return [Standing(sequence_number) for sequence_number in await self.positions(aggregate_ids)]

    def _bounded(self, documents: Sequence[Document]) -> Iterator[list[Document]]:
        batch: list[Document] = []
        size_bytes = 0
        for document in documents:
            document_bytes = len(to_json(document.body))
            if batch and (len(batch) == self._documents_max or size_bytes + document_bytes > self._bytes_max):
                yield batch
                batch, size_bytes = [], 0
            batch.append(document)
            size_bytes += document_bytes
        if batch:
            yield batch
