"""All questions at one place: documents by search, instances as they were, the graph; each with an optional token."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from oncelog.domain.events import rfc3339
from oncelog.domain.identifiers import CLASSES, AggregateId, aggregate_id_of
from oncelog.domain.ontology.relationship_names import RelationshipNames
from oncelog.domain.queries import Search
from oncelog.errors import InputInvalid
from oncelog.ports import Document, Ports, SearchPage
from oncelog.query.classes import DefinedClasses
from oncelog.query.coverage import Coverage
from oncelog.query.graph import NODES_MAX, GraphReader
from oncelog.query.hops import Answer, Hop
from oncelog.query.inventory import Inventory
from oncelog.query.presence import Presence
from oncelog.query.visibility import VersionsOf, View, Visibility, wanted_of
from oncelog.read_models.document import document_of
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.replay.stream_reader import StreamReader

DEADLINE_S = 10.0
EVENTS_PER_READ = 64


class ProjectedModel(Protocol):
    """A read model of one's own as a token's bearer waits for it."""

    @property
    def name(self) -> str:
        """The name in dead letters."""
        ...

    def covers(self, aggregate_id: AggregateId) -> bool:
        """Return whether the read model has to do with the aggregate."""
        ...

    async def projected_versions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number at which each aggregate is projected, 0 where it is not."""
        ...


class Reader:
    """Reads for an application. A token makes an answer at or beyond the versions it names, or raises NotYetVisible.

    Where one of them is parked, ProjectionParked says so at once, with the reason and the remedy.
    """

    def __init__(self, ports: Ports, log_reader: StreamReader, *, nodes_max: int = NODES_MAX) -> None:
        self._ports = ports
        self._log_reader = log_reader
        self._classes = DefinedClasses(ports.catalogue, log_reader)
        self._graph = GraphReader(ports.graph, ports.documents, self._classes.relationship_names, nodes_max=nodes_max)
        self._visibility = Visibility(ports.dead_letters)
        self._presence = Presence(ports)
        self.coverage = Coverage(ports, log_reader)
        self.inventory = Inventory(ports.catalogue, self._classes, self.search)

    async def get(
        self, aggregate_id: AggregateId | str, *, token: str | None = None, deadline_s: float = DEADLINE_S
    ) -> Document | None:
        """Return an instance's document, tombstones included, or None if there is none.

        Of a token only this aggregate counts. Raises NotYetVisible, TokenInvalid, StoreUnavailable.
        """
        aggregate_id = aggregate_id_of(aggregate_id)
        wanted = {each: number for each, number in self._wanted_of(token).items() if each == aggregate_id}
        if not wanted:
            (document,) = await self._ports.documents.read_documents([aggregate_id])
            if document is None:
                await self._presence.check_documents([(aggregate_id.db_name, aggregate_id.class_id)])
            return document
        seen: list[Document | None] = []

        async def projected_versions(aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
            seen[:] = await self._ports.documents.read_documents(aggregate_ids)
            return [document.sequence_number if document else 0 for document in seen]

        await self._visibility.until_visible(wanted, [_of_documents(projected_versions)], deadline_s=deadline_s)
        return seen[0]

    async def search(self, search: Search, *, token: str | None = None, deadline_s: float = DEADLINE_S) -> SearchPage:
        """Return a page of the matching documents.

        Of a token only instances of the class that is searched count. No index is refreshed for it:
        a new document is found within about a second. Raises InputInvalid, NotYetVisible, TokenInvalid,
        StoreUnavailable.
        """
        asked = (search.db_name, search.class_id)
        wanted = {
            each: number for each, number in self._wanted_of(token).items() if (each.db_name, each.class_id) == asked
        }
        where = f"search of {search.db_name}/{search.class_id}"
        found = View(where, DocumentsModel.name, self._ports.searches.searchable)
        await self._visibility.until_visible(wanted, [found], deadline_s=deadline_s)
        page = await self._ports.searches.find_documents(search)
        if not page.total:
            await self._presence.check_documents([asked])
        return page

    async def walk(
        self,
        starts: Sequence[AggregateId | str],
        hops: Sequence[Hop],
        *,
        ends_max: int = 100,
        after: str = "",
        token: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Answer:
        """Follow hops through the graph, see ``GraphReader.walk``; raises NotYetVisible and TokenInvalid besides.

        A token counts for graph and documents: both show each aggregate that it names, at or beyond its number.
        """
        begun = [aggregate_id_of(start) for start in starts]
        wanted = self._wanted_of_graph(token, begun)
        searched = bool(wanted) and await self._graph.goes_back(begun, hops)
        await self._until_graph_visible(wanted, deadline_s, searched=searched)
        return await self._whole(await self._graph.walk(begun, hops, ends_max=ends_max, after=after))

    async def shortest_path(
        self,
        start: AggregateId | str,
        end: AggregateId | str,
        *,
        names: Sequence[str] = (),
        both_ways: bool = False,
        token: str | None = None,
        deadline_s: float = DEADLINE_S,
    ) -> Answer:
        """Find a shortest path, see ``GraphReader.shortest_path``; a token counts as for ``walk``."""
        start, end = aggregate_id_of(start), aggregate_id_of(end)
        wanted = self._wanted_of_graph(token, [start, end])
        relationships = await self._graph.along(start.db_name, names, both_ways=both_ways) if wanted else []
        await self._until_graph_visible(
            wanted, deadline_s, searched=any(relationship.inward for relationship in relationships)
        )
        return await self._whole(await self._graph.shortest_path(start, end, names=names, both_ways=both_ways))

    async def until_projected(
        self,
        token: str | None,
        read_model: ProjectedModel,
        *,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Return once a read model of one's own has the token's versions; raises NotYetVisible, ProjectionParked.

        Of a token, aggregates that the read model does not cover do not count. Raises TokenInvalid, StoreUnavailable.
        """
        wanted = {each: number for each, number in self._wanted_of(token).items() if read_model.covers(each)}
        view = View(f"read model {read_model.name}", read_model.name, read_model.projected_versions)
        await self._visibility.until_visible(wanted, [view], deadline_s=deadline_s)

    async def until_visible(self, wanted: Mapping[AggregateId, int], *, deadline_s: float = DEADLINE_S) -> None:
        """Return once every question there is sees each instance at its sequence number or beyond.

        For versions that a token cannot name, such as all that a bulk command applied; some hundred at a time. Raises
        NotYetVisible, StoreUnavailable.
        """
        views = [
            View("search", DocumentsModel.name, self._ports.searches.searchable),  # later than a read by ID sees it
            View("the graph", GraphModel.name, self._ports.graph.searchable),
        ]
        await self._visibility.until_visible(wanted, views, deadline_s=deadline_s)

    async def defined_classes(self, db_name: str) -> list[str]:
        """Return the names of a database's defined classes, retired or not, sorted; raises StoreUnavailable."""
        return await self._classes.names(db_name)

    async def relationship_names(self, db_name: str) -> RelationshipNames:
        """Return the relationships of a database by name, as its classes are defined now; raises as ``walk`` does."""
        return await self._classes.relationship_names(db_name)

    async def as_of(
        self, aggregate_id: AggregateId | str, *, version: int | None = None, time: datetime | None = None
    ) -> Document | None:
        """Return the document as it was, from the log: after the event ``version``, or the last one of ``time``.

        ``time``: aware; the last event counts that did not occur later. None if there was nothing yet. Raises
        InputInvalid for a version that is not there yet, LogDamaged, StoreUnavailable.
        """
        if (version is None) == (time is None):
            raise InputInvalid("as of: expected either a version or a time")
        aggregate_id = aggregate_id_of(aggregate_id)
        head = await self._ports.event_log.last_sequence_number(aggregate_id)
        number = await self._last_at(aggregate_id, time, head) if time is not None else version or 0
        if number > head:
            raise InputInvalid(f"aggregate {aggregate_id}: expected a version up to {head}, found {number}")
        return document_of(await self._log_reader.at(aggregate_id, number)) if number else None

    async def _last_at(self, aggregate_id: AggregateId, time: datetime, head: int) -> int:
        """Return the number of the last event that did not occur after the time, 0 for none.

        From the newest on back, since clocks of different workers need not agree.
        """
        if time.tzinfo is None:
            raise InputInvalid(f"as of: expected a time with its offset from UTC, such as 2026-01-31T12:00:00Z: {time}")
        limit = rfc3339(time)
        for stop in range(head + 1, 1, -EVENTS_PER_READ):
            events = await self._log_reader.events(aggregate_id, range(max(1, stop - EVENTS_PER_READ), stop))
            for event in reversed(events):
                if event.occurred_at <= limit:
                    return event.sequence_number
        return 0

    def _wanted_of_graph(self, token: str | None, asked: Iterable[AggregateId]) -> dict[AggregateId, int]:
        """Return the versions of a token that count: of instances of the database asked; the graph shows no classes."""
        databases = {aggregate_id.db_name for aggregate_id in asked}
        wanted = self._wanted_of(token).items()
        return {each: number for each, number in wanted if each.db_name in databases and each.class_id != CLASSES}

    async def _whole(self, answer: Answer) -> Answer:
        """Return the answer unless something is missing in it because an index is gone; raises StoreUnavailable."""
        await self._presence.check_graph(answer.dangling)
        await self._presence.check_documents((each.db_name, each.class_id) for each in answer.undocumented)
        return answer

    async def _until_graph_visible(
        self, wanted: Mapping[AggregateId, int], deadline_s: float, *, searched: bool
    ) -> None:
        """Wait for graph and documents, as answers join the two.

        Nodes are read in real time, but found from the far end of an edge only a moment later.
        """
        nodes = View("the graph", GraphModel.name, self._ports.graph.searchable if searched else self._nodes)
        await self._visibility.until_visible(wanted, [nodes, _of_documents(self._documents)], deadline_s=deadline_s)

    def _wanted_of(self, token: str | None) -> dict[AggregateId, int]:
        return wanted_of(token, self._ports.installation)

    async def _nodes(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        return [node.sequence_number if node else 0 for node in await self._ports.graph.read_nodes(aggregate_ids)]

    async def _documents(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        return [
            each.sequence_number if each else 0 for each in await self._ports.documents.read_documents(aggregate_ids)
        ]


def _of_documents(projected_versions: VersionsOf) -> View:
    return View("the documents", DocumentsModel.name, projected_versions)
