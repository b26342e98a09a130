"""The graph on Elasticsearch, where no graph database is configured: one index per database, a document per node.

``edges`` is one ``flattened`` field, predicate to targets, so that no number of predicates makes the mapping grow; an
edge is found from its far end by a ``terms`` query on ``edges.{predicate}``.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from elasticsearch import ApiError, NotFoundError, TransportError

from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import GRAPH_ALIAS
from oncelog.errors import InputInvalid, LogDamaged, StoreUnavailable
from oncelog.ports import FoundNode
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.aliases import ensure_alias
from oncelog.stores.elasticsearch.refusals import container_refusal
from oncelog.stores.elasticsearch.scan import hits_behind
from oncelog.stores.elasticsearch.server import FIRST_INDEX, ElasticsearchServer
from oncelog.stores.elasticsearch.versioned import VersionedWrite

MAPPINGS: dict[str, Any] = {
    "dynamic": "strict",
    "properties": {
        "aggregate_id": {"type": "keyword"},
        "class_id": {"type": "keyword"},
        "sequence_number": {"type": "long"},
        "definition_sequence": {"type": "long"},
        "deleted": {"type": "boolean"},
        "edges": {"type": "flattened", "depth_limit": 2},
    },
}


class ElasticsearchGraph:
    """The ``Graph`` on Elasticsearch; the alias is ``graph.{db_name}`` in lower case."""

    def __init__(self, server: ElasticsearchServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings

    async def prepare(self) -> None:
        """Put the index template; raises StoreUnavailable."""
        await self._server.put_template(
            self._settings.named(GRAPH_ALIAS), self._settings.named(f"{GRAPH_ALIAS}.*"), MAPPINGS
        )

    def alias_of(self, db_name: str) -> str:
        """Return the alias that the database's graph is found under."""
        return self._settings.graph_alias(db_name)

    def place_of(self, db_name: str) -> str:
        return f"alias {self.alias_of(db_name)}"

    async def write_nodes(self, nodes: Sequence[GraphNode], *, replaces: bool = False) -> Sequence[Exception | None]:
        return await self._server.write(
            [self._versioned(node, replaces=replaces) for node in nodes], self._create_index
        )

    async def read_nodes(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[GraphNode | None]:
        if not aggregate_ids:
            return []
        wanted = [
            {"_index": self.alias_of(aggregate_id.db_name), "_id": _id(aggregate_id)} for aggregate_id in aggregate_ids
        ]
        self._server.requests["mget"] += 1
        try:
            answer = await self._server.client.mget(docs=wanted)
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"reading {len(wanted)} nodes", error) from error
        pairs = zip(aggregate_ids, answer["docs"], strict=True)
        return [self._found(aggregate_id, item) for aggregate_id, item in pairs]

    async def referring_nodes(
        self, db_name: str, targets: Sequence[AggregateId], predicate: str, *, after: str = "", nodes_max: int
    ) -> Sequence[GraphNode]:
        if not targets:
            return []
        edge = {"terms": {f"edges.{predicate}": [str(target) for target in targets]}}
        try:
            answer = await self._server.search(
                self.alias_of(db_name),
                query={"bool": {"filter": [edge]}},
                sort=[{"aggregate_id": "asc"}],
                search_after=[after] if after else None,
                size=nodes_max,
                track_total_hits=False,
            )
        except NotFoundError:
            return []
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"searching {predicate} in the graph of {db_name}", error) from error
        return [_node(hit["_source"]) for hit in answer["hits"]["hits"]]

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        found: dict[str, int] = {}
        for db_name in {aggregate_id.db_name for aggregate_id in aggregate_ids}:
            wanted = {str(aggregate_id) for aggregate_id in aggregate_ids if aggregate_id.db_name == db_name}
            found |= await self._server.searched_numbers(self.alias_of(db_name), sorted(wanted))
        return [found.get(str(aggregate_id), 0) for aggregate_id in aggregate_ids]

    async def graph_exists(self, db_name: str) -> bool:
        self._server.requests["exists_alias"] += 1
        try:
            return bool(await self._server.client.indices.exists(index=self.alias_of(db_name)))
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"looking for the graph of {db_name}", error) from error

    async def refresh_nodes(self, db_name: str) -> None:
        self._server.requests["refresh"] += 1
        try:
            await self._server.client.indices.refresh(index=self.alias_of(db_name))
        except NotFoundError:
            return
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"refreshing the graph of {db_name}", error) from error

    async def scan_nodes(self, db_name: str) -> AsyncIterator[FoundNode]:
        try:
            async for hit in hits_behind(self._server, self.alias_of(db_name)):
                yield _as_found(db_name, hit)
        except NotFoundError:
            return
        except (ApiError, TransportError) as error:
            raise self._server.unavailable(f"reading the graph of {db_name}", error) from error

    def _versioned(self, node: GraphNode, *, replaces: bool) -> VersionedWrite:
        return VersionedWrite(
            alias=self.alias_of(node.aggregate_id.db_name),
            id=_id(node.aggregate_id),
            version=node.version,
            body={
                "aggregate_id": str(node.aggregate_id),
                "class_id": node.aggregate_id.class_id,
                "sequence_number": node.sequence_number,
                "definition_sequence": node.definition_sequence,
                "deleted": node.deleted,
                "edges": {name: [str(target) for target in targets] for name, targets in node.edges.items()},
            },
            kind="node",
            aggregate_id=node.aggregate_id,
            replaces=replaces,
        )

    def _found(self, aggregate_id: AggregateId, item: Mapping[str, Any]) -> GraphNode | None:
        error = item.get("error")
        if error and error.get("type") != "index_not_found_exception":
            doing, alias = f"reading node {aggregate_id}", self.alias_of(aggregate_id.db_name)
            if refusal := container_refusal(400, error, index=alias):
                raise self._server.unusable(alias, refusal, error.get("reason"), doing=doing)
            raise StoreUnavailable(self._server.name, doing, error.get("reason"))
        if not item.get("found"):
            return None
        node = _node(item["_source"])
        return node if node.aggregate_id == aggregate_id else None  # else of a database with a name in another case

    async def _create_index(self, alias: str) -> StoreUnavailable | None:
        try:
            await ensure_alias(self._server, alias, index=alias + FIRST_INDEX, mappings=MAPPINGS)
        except StoreUnavailable as error:
            return error
        return None


def _id(aggregate_id: AggregateId) -> str:
    return f"{aggregate_id.class_id}/{aggregate_id.instance_key}"


def _as_found(db_name: str, hit: Mapping[str, Any]) -> FoundNode:
    class_id, _, instance_key = hit["_id"].partition("/")
    found_under = AggregateId(db_name, class_id, instance_key)
    try:
        return FoundNode(found_under, hit["_version"], _node(hit["_source"]))
    except (LogDamaged, InputInvalid) as error:
        return FoundNode(found_under, hit["_version"], None, error.message)


def _node(source: Mapping[str, Any]) -> GraphNode:
    try:
        return GraphNode(
            aggregate_id=AggregateId.parse(source["aggregate_id"]),
            sequence_number=source["sequence_number"],
            definition_sequence=source["definition_sequence"],
            deleted=source["deleted"],
            edges={
                name: tuple(AggregateId.parse(target) for target in targets)
                for name, targets in source["edges"].items()
            },
        )
    except (KeyError, TypeError) as error:
        where = f"node {source.get('aggregate_id')}"
        raise LogDamaged(f"{where}: not as we write it: {error!r}; rebuild the graph", where=where) from error
