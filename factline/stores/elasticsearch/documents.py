"""The documents: one index per class behind an alias.

The alias is ``instances.{db_name}.{class_id}`` in lower case and the first index behind it has ``.000001`` added; names
of classes have no dots, so no alias can meet another one's index. A document's ``_id`` is the encoded instance ID and
its version the sequence number.
"""

from collections.abc import Sequence

from factline.domain.identifiers import AggregateId
from factline.errors import StoreUnavailable
from factline.ports import Document
from factline.settings import Settings
from factline.stores.elasticsearch.mapping import MAPPINGS
from factline.stores.elasticsearch.server import ElasticsearchServer, VersionedRead, VersionedWrite


class ElasticsearchDocuments:
    """The ``Documents`` on Elasticsearch."""

    def __init__(self, server: ElasticsearchServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings

    async def prepare(self) -> None:
        """Put the index template; raises StoreUnavailable."""
        name, pattern = self._settings.named("instances"), self._settings.named("instances.*")
        await self._server.put_template(name, pattern, MAPPINGS)

    def alias_of(self, aggregate_id: AggregateId) -> str:
        """Return the alias that the aggregate's class is found under."""
        return self._settings.named(f"instances.{aggregate_id.db_name}.{aggregate_id.class_id}").lower()

    async def write(self, documents: Sequence[Document]) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written."""
        return await self._server.write([self._versioned(document) for document in documents], self._create_index)

    async def read(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Document | None]:
        """Return each one's document as it stands now, tombstones included, or None; raises StoreUnavailable."""
        found = await self._server.read([(self.alias_of(one), one.instance_key) for one in aggregate_ids])
        return [_document(*pair) for pair in zip(aggregate_ids, found, strict=True)]

    def _versioned(self, document: Document) -> VersionedWrite:
        return VersionedWrite(
            alias=self.alias_of(document.aggregate_id),
            id=document.aggregate_id.instance_key,
            version=document.sequence_number,
            body=document.body,
            name=f"document {document.aggregate_id}",
        )

    async def _create_index(self, alias: str) -> StoreUnavailable | None:
        return await self._server.create_index(alias, MAPPINGS)


def _document(aggregate_id: AggregateId, found: VersionedRead | None) -> Document | None:
    if found is None or found.body["aggregate_id"] != str(aggregate_id):  # of a class that is spelled in other letters
        return None
    return Document(aggregate_id=aggregate_id, sequence_number=found.version, body=found.body)
