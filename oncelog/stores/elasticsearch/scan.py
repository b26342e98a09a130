"""Everything that lies behind an alias, tombstones included, for a verification."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any

from elasticsearch import ApiError, NotFoundError, TransportError

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import GRAPH_ALIAS, INSTANCES_ALIAS
from oncelog.errors import InputInvalid
from oncelog.ports import Document, IndexFacts
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.indices import index_of
from oncelog.stores.elasticsearch.mapping import as_verified
from oncelog.stores.elasticsearch.server import ElasticsearchServer

HITS_PER_PAGE = 500
KEPT_ALIVE = "2m"  # between two pages
PAGE_TIMEOUT_S = 30.0


class ElasticsearchScan:
    """The documents of all classes, each class as it was when its turn came (a point in time)."""

    def __init__(self, server: ElasticsearchServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings

    async def documents(self, *, db_name: str | None = None, but: Collection[str] = ()) -> AsyncIterator[Document]:
        """Yield every document, refreshed before, of one database or of all; raises StoreUnavailable.

        ``but``: aliases without the namespace that are not read.
        """
        left_out = {self._settings.named(alias) for alias in but}
        try:
            for alias in sorted(set(await self._aliases(db_name)) - left_out):
                async for hit in hits_behind(self._server, alias):
                    yield self._document(alias, hit)
        except (ApiError, TransportError) as error:
            raise self._server.unavailable("reading all documents", error) from error

    async def indices(self, *, db_name: str | None = None) -> Sequence[IndexFacts]:
        """Return the indices of documents and of the graph, of one database or of all; raises StoreUnavailable."""
        client = self._server.client.options(request_timeout=PAGE_TIMEOUT_S)
        database = db_name.lower() if db_name else "*"
        patterns = [self._settings.named(f"{kind}.{database}.*") for kind in (INSTANCES_ALIAS, GRAPH_ALIAS)]
        self._server.requests["get_index"] += 1
        try:
            found = await client.indices.get(index=patterns, expand_wildcards="all")
            health = await client.cat.indices(
                index=patterns, expand_wildcards="all", format="json", h=["index", "status", "health"]
            )
        except (ApiError, TransportError) as error:
            raise self._server.unavailable("looking at the indices", error) from error
        shown: dict[str, Any] = {str(row["index"]): row for row in health.body}  # type: ignore[index]
        return [self._facts(name, about, shown.get(name, {})) for name, about in found.items()]

    def _facts(self, name: str, about: Mapping[str, Any], shown: Mapping[str, Any]) -> IndexFacts:
        prefix = self._settings.named("")
        parts = name.removeprefix(prefix).split(".")
        alias = ".".join(parts[: 2 if parts[0] == GRAPH_ALIAS else 3])
        blocks = about["settings"]["index"].get("blocks", {})
        reference = index_of(name, about["mappings"]).definition
        return IndexFacts(
            name=name,
            alias=alias,
            is_behind=prefix + alias in about["aliases"],
            is_open=shown.get("status") != "close",
            takes_writes="true" not in blocks.values(),
            is_assigned=shown.get("health") != "red",
            definition=reference.sequence_number if reference else None,
        )

    async def _aliases(self, db_name: str | None) -> list[str]:
        """Return the aliases, not the indices: an index replaced by a rebuild is kept for a while."""
        pattern = self._settings.named(f"{INSTANCES_ALIAS}.{db_name.lower() if db_name else '*'}.*")
        self._server.requests["get_alias"] += 1
        try:
            found = await self._server.client.options(request_timeout=PAGE_TIMEOUT_S).indices.get_alias(name=pattern)
        except NotFoundError:
            return []
        return sorted({alias for index in found.values() for alias in index["aliases"]})

    def _document(self, alias: str, hit: Mapping[str, Any]) -> Document:
        """Return the document under the name by which a reader finds it, even if its own ``aggregate_id`` differs."""
        body = as_verified(hit["_source"])
        try:
            claimed = AggregateId.parse(str(body.get("aggregate_id")))
            readers = self._settings.instances_alias(claimed.db_name, claimed.class_id)
            if (readers, claimed.instance_key) == (alias, hit["_id"]):
                return Document(claimed, hit["_version"], body)
        except InputInvalid:
            pass  # it claims nothing that could be right
        db_name, class_id = alias.split(".")[-2:]
        return Document(AggregateId(db_name, class_id, hit["_id"]), hit["_version"], body)


async def hits_behind(server: ElasticsearchServer, alias: str) -> AsyncIterator[Mapping[str, Any]]:
    """Yield every hit with its version, of one point in time after a refresh; raises the client's errors."""
    client = server.client.options(request_timeout=PAGE_TIMEOUT_S)
    server.requests["refresh"] += 1
    await client.indices.refresh(index=alias)
    opened = await client.open_point_in_time(index=alias, keep_alive=KEPT_ALIVE)
    moment, position = opened["id"], None
    try:
        while True:
            server.requests["search"] += 1
            answer = await client.search(
                pit={"id": moment, "keep_alive": KEPT_ALIVE},
                sort=[{"_shard_doc": "asc"}],
                search_after=position,
                size=HITS_PER_PAGE,
                version=True,
                track_total_hits=False,
                allow_partial_search_results=False,
            )
            moment, hits = answer["pit_id"], answer["hits"]["hits"]
            for hit in hits:
                yield hit
            if len(hits) < HITS_PER_PAGE:
                return
            position = hits[-1]["sort"]
    finally:
        await client.close_point_in_time(id=moment)
