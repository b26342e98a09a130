"""The graph in TerminusDB: one database per database of ours, a document per node, real links for edges.

A link's target must be there, so a target that has no event of its own yet is put there as ``awaited``, with
version 0, in the same commit. Nothing is ever deleted: a deletion in TerminusDB would strip the links that point to it.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote

from oncelog.domain.graph import GraphNode, edge_map
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import InputInvalid, LogDamaged, ObjectRefused, OncelogError
from oncelog.ports import FoundNode
from oncelog.settings import Settings
from oncelog.stores.terminusdb.server import TerminusServer
from oncelog.stores.terminusdb.woql import both, documents_of, literal, nodes, page, triple, upsert_if_newer

NODES_PER_COMMIT = 100
NODES_PER_READ = 200
NODES_PER_PAGE = 1_000  # the server sorts them all for each page

SCHEMA: Sequence[Mapping[str, Any]] = (
    {"@type": "@context", "@schema": "terminusdb:///schema#", "@base": "terminusdb:///data/"},
    {"@type": "Enum", "@id": "ProjectionStatus", "@value": ["present", "deleted", "awaited"]},
    {
        "@type": "Class",
        "@id": "Node",
        "@key": {"@type": "Lexical", "@fields": ["aggregate_id"]},
        "aggregate_id": "xsd:string",
        "class_id": "xsd:string",
        "version": "xsd:integer",
        "sequence_number": "xsd:integer",
        "definition_sequence": "xsd:integer",
        "standing": "ProjectionStatus",
        "edges": {"@type": "Set", "@class": "Edge"},
    },
    {
        "@type": "Class",
        "@id": "Edge",
        "@subdocument": [],
        "@key": {"@type": "Lexical", "@fields": ["predicate", "target"]},
        "predicate": "xsd:string",
        "target": "Node",
    },
)


class TerminusGraph:
    """The ``Graph`` in TerminusDB. One writer per database in this process, since concurrent commits collapse."""

    def __init__(self, server: TerminusServer, settings: Settings) -> None:
        self._server = server
        self._settings = settings
        self._writing: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def prepare(self) -> None:
        """See that it answers; databases are made when they are first written to. Raises StoreUnavailable."""
        await self._server.ping()

    def database_of(self, db_name: str) -> str:
        """Return the name that TerminusDB knows the database by."""
        return self._settings.named(db_name, "-")

    async def write_nodes(self, nodes: Sequence[GraphNode], *, replaces: bool = False) -> Sequence[Exception | None]:
        newest: dict[AggregateId, GraphNode] = {}
        for node in nodes:
            known = newest.get(node.aggregate_id)
            if known is None or known.version < node.version:
                newest[node.aggregate_id] = node
        by_database: defaultdict[str, list[GraphNode]] = defaultdict(list)
        for node in newest.values():
            by_database[node.aggregate_id.db_name].append(node)
        failures: dict[AggregateId, OncelogError] = {}
        for db_name, wanted in by_database.items():
            for start in range(0, len(wanted), NODES_PER_COMMIT):
                failures |= await self._commit(db_name, wanted[start : start + NODES_PER_COMMIT], replaces=replaces)
        return [failures.get(node.aggregate_id) for node in nodes]

    async def read_nodes(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[GraphNode | None]:
        by_database: defaultdict[str, list[AggregateId]] = defaultdict(list)
        for aggregate_id in dict.fromkeys(aggregate_ids):
            by_database[aggregate_id.db_name].append(aggregate_id)
        found: dict[AggregateId, GraphNode] = {}
        for db_name, wanted in by_database.items():
            for start in range(0, len(wanted), NODES_PER_READ):
                for node in await self._read(db_name, wanted[start : start + NODES_PER_READ]):
                    found[node.aggregate_id] = node
        return [found.get(aggregate_id) for aggregate_id in aggregate_ids]

    async def referring_nodes(
        self, db_name: str, targets: Sequence[AggregateId], predicate: str, *, after: str = "", nodes_max: int
    ) -> Sequence[GraphNode]:
        if not targets:
            return []
        query = both(
            {
                "@type": "Member",
                "member": {"@type": "Value", "variable": "target"},
                "list": nodes([_iri(target) for target in targets]),
            },
            triple("$edge", "target", {"variable": "target"}),
            triple("$edge", "predicate", {"data": literal(predicate)}),
            triple("$source", "edges", {"variable": "edge"}),
            triple("$source", "aggregate_id", {"variable": "source_id"}),
        )
        doing = f"searching {predicate} in the graph of {db_name}"
        paged = page(query, "source_id", after=after, count_max=nodes_max)
        bindings = await self._server.ask(self.database_of(db_name), paged, doing=doing)
        sources = [AggregateId.parse(binding["source_id"]["@value"]) for binding in bindings or ()]
        return [node for node in await self.read_nodes(sources) if node is not None]

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """A commit is seen by every query after it."""
        return [node.sequence_number if node else 0 for node in await self.read_nodes(aggregate_ids)]

    def place_of(self, db_name: str) -> str:
        return f"database {self.database_of(db_name)}"

    async def graph_exists(self, db_name: str) -> bool:
        query = page(triple("$node", "aggregate_id", {"variable": "node_id"}), "node_id", after="", count_max=1)
        database = self.database_of(db_name)
        return await self._server.ask(database, query, doing=f"looking for the graph of {db_name}") is not None

    async def refresh_nodes(self, db_name: str) -> None:
        """A commit is seen by every query after it."""

    async def scan_nodes(self, db_name: str) -> AsyncIterator[FoundNode]:
        after, doing = "", f"reading the graph of {db_name}"
        while True:
            query = page(
                triple("$node", "aggregate_id", {"variable": "node_id"}),
                "node_id",
                after=after,
                count_max=NODES_PER_PAGE,
            )
            bindings = await self._server.ask(self.database_of(db_name), query, doing=doing)
            names = [binding["node_id"]["@value"] for binding in bindings or ()]
            for start in range(0, len(names), NODES_PER_READ):
                wanted = [AggregateId.parse(name) for name in names[start : start + NODES_PER_READ]]
                for document in await self._documents(db_name, wanted):
                    yield _as_found(document)
            if len(names) < NODES_PER_PAGE:
                return
            after = names[-1]

    async def _commit(
        self, db_name: str, batch: Sequence[GraphNode], *, replaces: bool
    ) -> dict[AggregateId, OncelogError]:
        """Write up to ``NODES_PER_COMMIT`` nodes in one commit; all of them, or none.

        A commit that holds a node which is refused for good is made in halves, down to that node.
        """
        present = {node.aggregate_id for node in batch}
        awaited = {target for node in batch for target in node.targets} - present
        upserts = [(_awaited(target), False) for target in sorted(awaited, key=str)]
        upserts += [(_document(node), replaces) for node in batch]
        query = both(
            *(
                upsert_if_newer(document, field="version", number=number, replaces=over)
                for number, (document, over) in enumerate(upserts)
            )
        )
        doing = f"writing {len(batch)} nodes of {db_name}, the first {batch[0].aggregate_id} at {batch[0].version}"
        try:
            async with self._writing[db_name]:
                await self._server.change(self.database_of(db_name), query, schema=SCHEMA, doing=doing)
        except ObjectRefused as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                halves = batch[:middle], batch[middle:]
                first, second = [await self._commit(db_name, half, replaces=replaces) for half in halves]
                return first | second
            (node,) = batch
            name, reason = f"node {node.aggregate_id} at {node.version}", error.details["reason"]
            return {node.aggregate_id: ObjectRefused(self._server.name, name, reason, version=node.version)}
        except OncelogError as error:
            return dict.fromkeys(present, error)
        return {}

    async def _read(self, db_name: str, aggregate_ids: Sequence[AggregateId]) -> Sequence[GraphNode]:
        return [_node(document) for document in await self._documents(db_name, aggregate_ids)]

    async def _documents(self, db_name: str, aggregate_ids: Sequence[AggregateId]) -> Sequence[Mapping[str, Any]]:
        """Return the documents of nodes that are there, not of those that are merely awaited."""
        query = documents_of([_iri(aggregate_id) for aggregate_id in aggregate_ids])
        doing = f"reading {len(aggregate_ids)} nodes of {db_name}"
        bindings = await self._server.ask(self.database_of(db_name), query, doing=doing)
        documents = [binding["document"] for binding in bindings or ()]
        return [document for document in documents if document.get("standing") != "awaited"]


def _iri(aggregate_id: AggregateId) -> str:
    """Return the document's identifier, as a Lexical key makes it of the aggregate ID."""
    return f"Node/{quote(str(aggregate_id), safe='')}"


def _awaited(aggregate_id: AggregateId) -> dict[str, Any]:
    return _fields(aggregate_id, version=0, sequence_number=0, definition_sequence=0, standing="awaited")


def _document(node: GraphNode) -> dict[str, Any]:
    edges = [
        {"@type": "Edge", "predicate": predicate, "target": _iri(target)}
        for predicate, targets in node.edges.items()
        for target in targets
    ]
    return {
        **_fields(
            node.aggregate_id,
            version=node.version,
            sequence_number=node.sequence_number,
            definition_sequence=node.definition_sequence,
            standing="deleted" if node.deleted else "present",
        ),
        "edges": edges,
    }


def _fields(aggregate_id: AggregateId, **fields: str | int) -> dict[str, Any]:
    return {
        "@type": "Node",
        "@id": _iri(aggregate_id),
        "aggregate_id": str(aggregate_id),
        "class_id": aggregate_id.class_id,
        **fields,
    }


def _as_found(document: Mapping[str, Any]) -> FoundNode:
    found_under = AggregateId.parse(unquote(document["@id"].removeprefix("Node/")))
    try:
        return FoundNode(found_under, document["version"], _node(document))
    except (LogDamaged, InputInvalid) as error:
        return FoundNode(found_under, document["version"], None, error.message)


def _node(document: Mapping[str, Any]) -> GraphNode:
    try:
        edges: defaultdict[str, set[AggregateId]] = defaultdict(set)
        for edge in document.get("edges", ()):
            edges[edge["predicate"]].add(AggregateId.parse(unquote(edge["target"].removeprefix("Node/"))))
        return GraphNode(
            aggregate_id=AggregateId.parse(document["aggregate_id"]),
            sequence_number=document["sequence_number"],
            definition_sequence=document["definition_sequence"],
            deleted=document["standing"] == "deleted",
            edges=edge_map(edges),
        )
    except (KeyError, TypeError) as error:
        where = f"node {document.get('aggregate_id')}"
        raise LogDamaged(f"{where}: not as we write it: {error!r}; rebuild the graph", where=where) from error
