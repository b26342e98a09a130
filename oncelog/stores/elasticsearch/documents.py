"""The documents: one index per class behind an alias.

The alias is ``instances.{db_name}.{class_id}`` in lower case and the first index behind it has ``.000001`` added; names
of classes have no dots, so no alias can meet another one's index. A document's ``_id`` is the encoded instance ID and
its version the sequence number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import INSTANCES_ALIAS
from oncelog.errors import ContainerUnusable, InputInvalid, StoreUnavailable, UnusableReason
from oncelog.offload import offloaded
from oncelog.ports import Document, DocumentIndex, IndexSchema, StaleIndex
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.indices import ElasticsearchIndices
from oncelog.stores.elasticsearch.kept_indices import ElasticsearchKeptIndices
from oncelog.stores.elasticsearch.mapping import MAPPINGS, as_indexed, as_unfit, as_written
from oncelog.stores.elasticsearch.refusals import write_blocked
from oncelog.stores.elasticsearch.server import FIRST_INDEX, ElasticsearchServer, IndexMissing
from oncelog.stores.elasticsearch.versioned import VersionedRead, VersionedWrite


@dataclass
class _Write:
    """One document on its way into an index. ``is_unfit``: its data does not fit the mapping, and is kept whole.

    ``replaces``: also a document of the same version.
    """

    document: Document
    index: DocumentIndex
    replaces: bool = False
    is_unfit: bool = False
    outcome: Exception | None = None


class ElasticsearchDocuments:
    """The ``Documents`` on Elasticsearch. ``indices``: where they lie; ``kept_indices``: where they lay before."""

    def __init__(self, server: ElasticsearchServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings
        self.indices = ElasticsearchIndices(server, settings, write=self._write_into)
        self.kept_indices = ElasticsearchKeptIndices(server, settings)
        self._known: dict[str, DocumentIndex] = {}
        self._aliases: dict[tuple[str, str], str] = {}

    async def prepare(self) -> None:
        """Put the index template; raises StoreUnavailable."""
        name, pattern = self._settings.named(INSTANCES_ALIAS), self._settings.named(f"{INSTANCES_ALIAS}.*")
        await self._server.put_template(name, pattern, MAPPINGS)

    def alias_of(self, aggregate_id: AggregateId) -> str:
        """Return the alias that the aggregate's class is found under."""
        db_name, class_id, _ = aggregate_id
        if (db_name, class_id) not in self._aliases:
            self._aliases[db_name, class_id] = self._settings.instances_alias(db_name, class_id)
        return self._aliases[db_name, class_id]

    async def write_documents(
        self, documents: Sequence[Document], *, replaces: bool = False
    ) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written.

        Documents go to an index by its name, so that none meant for one ends in that which follows it.
        """
        writes = [await self._write_of(document, replaces=replaces) for document in documents]
        outcomes = iter(await self._write_each([write for write in writes if isinstance(write, _Write)]))
        return [next(outcomes) if isinstance(write, _Write) else write for write in writes]

    async def _write_of(self, document: Document, *, replaces: bool) -> "_Write | StoreUnavailable":
        """Return the write of a document into its class's index, or why there is none now."""
        index = self._known.get(self.alias_of(document.aggregate_id))
        if index is None:
            try:
                index = await self._find_index(document)
            except StoreUnavailable as error:
                return error
        if index.definition != document.document_schema:
            return self._stale_index(document, f"{index.name} has another schema")
        return _Write(document, index, replaces)

    async def read_documents(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Document | None]:
        """Return each one's document as it stands now, tombstones included, or None; raises StoreUnavailable.

        Where no index is behind an alias, the next write looks for its index anew: it knows that by its own name.
        """
        wanted = [(self.alias_of(one), one.instance_key) for one in aggregate_ids]
        found = await self._server.read(wanted, index_missing=lambda alias: self._known.pop(alias, None))
        return [_document(*pair) for pair in zip(aggregate_ids, found, strict=True)]

    async def _find_index(self, document: Document) -> DocumentIndex:
        """Return the class's index, known from now on; that it is gone or closed is noticed when it is written to.

        Where there is none, the first document makes one. Raises StoreUnavailable.
        """
        alias = self.alias_of(document.aggregate_id)
        found = await self.indices.behind(alias)
        if found is None and document.document_schema is None:
            await self.indices.make(alias, IndexSchema(), first=True)
            found = await self.indices.behind(alias)
        if found is None:
            raise self._stale_index(document, "its class has no index")
        if found.closed:
            cause = "it takes no writes, and no other index has followed it yet"
            doing = f"writing document {document.aggregate_id}"
            raise self._server.unusable(found.name, write_blocked(found.name), cause, doing=doing)
        self._known[alias] = found
        return found

    async def _write_into(self, index: DocumentIndex, documents: Sequence[Document]) -> Sequence[Exception | None]:
        return await self._write_each([_Write(document, index) for document in documents])

    async def _write_each(self, writes: Sequence["_Write"]) -> Sequence[Exception | None]:
        """Write each; a document that does not fit the mapping goes again, its data kept whole."""
        await self._send(writes)
        unfit = [write for write in writes if isinstance(write.outcome, InputInvalid) and write.index.mapping_digest]
        for write in unfit:
            write.is_unfit = True
        await self._send(unfit)
        return [write.outcome and self._refusal(write.document, write.outcome) for write in writes]

    async def _send(self, writes: Sequence["_Write"]) -> None:
        requests = [await offloaded(partial(self._versioned, write), of=write.document.body) for write in writes]
        outcomes = await self._server.write(requests, self._create_index)
        for write, outcome in zip(writes, outcomes, strict=True):
            write.outcome = outcome

    def _refusal(self, document: Document, outcome: Exception) -> Exception:
        if isinstance(outcome, ContainerUnusable):  # another index may follow: looked at anew the next time
            self._known.pop(self.alias_of(document.aggregate_id), None)
            if outcome.reason is UnusableReason.WRITE_BLOCKED:
                return self._stale_index(document, outcome.message)
        if isinstance(outcome, IndexMissing):
            return self._stale_index(document, outcome.message)
        return outcome

    def _stale_index(self, document: Document, cause: str) -> StaleIndex:
        self._known.pop(self.alias_of(document.aggregate_id), None)
        return StaleIndex(self._server.name, f"writing document {document.aggregate_id}", cause)

    def _versioned(self, write: "_Write") -> VersionedWrite:
        document, index = write.document, write.index
        body = as_indexed(document.body) if index.exact else document.body
        return VersionedWrite(
            alias=self.alias_of(document.aggregate_id),
            id=document.aggregate_id.instance_key,
            version=document.sequence_number,
            body=as_unfit(body) if write.is_unfit else body,
            kind="document",
            aggregate_id=document.aggregate_id,
            index_name=index.name,
            replaces=write.replaces,
        )

    async def _create_index(self, alias: str) -> StoreUnavailable | None:
        """Create the first index anew that is gone; later ones are created where their schema is known."""
        known = self._known.get(alias)
        if known is None or known.name != alias + FIRST_INDEX:
            return IndexMissing(self._server.name, f"writing behind {alias}", "its index is gone")
        try:
            await self.indices.make(alias, IndexSchema(), first=True)
        except StoreUnavailable as error:
            return error
        return None


def _document(aggregate_id: AggregateId, found: VersionedRead | None) -> Document | None:
    if found is None or found.body["aggregate_id"] != str(aggregate_id):  # of a class with a name in another case
        return None
    return Document(aggregate_id=aggregate_id, sequence_number=found.version, body=as_written(found.body))
