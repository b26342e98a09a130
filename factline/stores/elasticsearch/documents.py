"""The documents: one index per class behind an alias.

The alias is ``instances.{db_name}.{class_id}`` in lower case and the first index behind it has ``.000001`` added; names
of classes have no dots, so no alias can meet another one's index. A document's ``_id`` is the encoded instance ID and
its version the sequence number.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from elasticsearch import ApiError, NotFoundError, TransportError

from factline.domain.identifiers import AggregateId
from factline.errors import StoreUnavailable
from factline.ports import Document
from factline.settings import Settings
from factline.stores.elasticsearch.mapping import MAPPINGS
from factline.stores.elasticsearch.server import ElasticsearchServer, VersionedWrite


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

    async def read(self, aggregate_id: AggregateId) -> Document | None:
        """Return the document as it stands now, tombstones included, or None; raises StoreUnavailable."""
        self._server.requests["get"] += 1
        try:
            found = await self._server.client.get(index=self.alias_of(aggregate_id), id=aggregate_id.instance_key)
        except NotFoundError:
            return None
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"reading {aggregate_id}", error) from error
        body: Mapping[str, Any] = found["_source"]
        if body["aggregate_id"] != str(aggregate_id):
            return None  # of a class that is spelled in other letters
        return Document(aggregate_id=aggregate_id, sequence_number=found["_version"], body=body)

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
