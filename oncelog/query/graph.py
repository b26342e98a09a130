"""Questions that need the graph: neighbours, hops along named predicates, shortest paths, joined with documents.

The graph has the references between instances, the documents have their data. Both follow the log on their own, so that
one may be behind the other or know of an instance that the other does not: an answer names such places, and an error of
either is an error of the answer, never an empty one.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.ontology.relationship_names import DirectedRelationship, RelationshipNames
from oncelog.domain.queries import matches
from oncelog.errors import InputInvalid
from oncelog.ports import Document, Documents, Graph
from oncelog.query.hops import Answer, Hop

NODES_PER_REQUEST = 500
NODES_MAX = 50_000  # looked at for one question: 5 times the ends that one answer may list
LENGTH_MAX = 8  # of a shortest path


class RelationshipNamesOf(Protocol):
    """Gives the relationships that can be walked by name in a database, as its classes are defined now."""

    async def __call__(self, db_name: str) -> RelationshipNames: ...


class GraphReader:
    """Asks graph and documents. ``nodes_max`` bounds the nodes that one query may read."""

    def __init__(
        self, graph: Graph, documents: Documents, ways_of: RelationshipNamesOf, *, nodes_max: int = NODES_MAX
    ) -> None:
        self._graph = graph
        self._documents = documents
        self._relationship_names_of = ways_of
        self._nodes_max = nodes_max

    async def walk(
        self, starts: Sequence[AggregateId], hops: Sequence[Hop], *, ends_max: int = 100, after: str = ""
    ) -> Answer:
        """Follow the hops from the starts, and return one path to each end, those above ``after`` in order of IDs.

        Raises InputInvalid, also for a hop that no definition has a name for; StoreUnavailable, LogDamaged.
        """
        if not starts or not hops:
            raise InputInvalid("a walk: expected at least one start and one hop; for the instance alone, get it")
        walking = _Walking(self, _one_database(starts))
        plan = await self._planned(starts, hops)
        reached = await walking.begin(starts)
        for hop, relationships in plan:
            reached = await walking.step(reached, hop, relationships)
        ends = sorted((end for end in reached if str(end) > after), key=str)
        shown = {end: reached[end] for end in ends[:ends_max]}
        return await walking.answer(list(shown.values()), cut=walking.cut or len(ends) > ends_max)

    async def shortest_path(
        self,
        start: AggregateId,
        end: AggregateId,
        *,
        names: Sequence[str] = (),
        both_ways: bool = False,
        length_max: int = LENGTH_MAX,
    ) -> Answer:
        """Return a path with the fewest edges, or no path if there is none of at most ``length_max`` edges.

        ``names``: only along these, predicates or inverses of any classes, or spelled out as ``^predicate:Class``;
        none: along any predicate.
        ``both_ways``: against their direction, too. Raises as ``walk`` does.
        """
        walking = _Walking(self, _one_database([start, end]))
        relationships = await self.along(start.db_name, names, both_ways=both_ways)
        reached = await walking.begin([start])
        paths = dict(reached)
        for _ in range(length_max):
            if end in paths or not reached or walking.cut:
                break
            step = await walking.spread(reached, relationships)
            reached = {found: path for found, path in step.items() if found not in paths}
            paths |= reached
        return await walking.answer([paths[end]] if end in paths else [], cut=walking.cut)

    async def along(self, db_name: str, names: Sequence[str], *, both_ways: bool) -> list[DirectedRelationship]:
        """Return the directed relationships along these names, or along all predicates; raises as ``walk`` does."""
        known = await self._relationship_names_of(db_name)
        relationships = (
            [relationship for name in names for relationship in known.named(name)] if names else known.outward()
        )
        return (
            [*relationships, *(relationship.reversed for relationship in relationships)] if both_ways else relationships
        )

    async def goes_back(self, starts: Sequence[AggregateId], hops: Sequence[Hop]) -> bool:
        """Return whether any of the hops finds instances by their references; raises as ``walk`` does."""
        return any(
            relationship.inward
            for _, relationships in await self._planned(starts, hops)
            for relationship in relationships
        )

    async def nodes(self, aggregate_ids: Iterable[AggregateId]) -> dict[AggregateId, GraphNode]:
        """Return the nodes that are there, tombstones left out."""
        found: dict[AggregateId, GraphNode] = {}
        for batch in _batches(list(aggregate_ids)):
            read = await self._graph.read_nodes(batch)
            found |= {node.aggregate_id: node for node in read if node is not None and not node.deleted}
        return found

    async def documents(self, aggregate_ids: Iterable[AggregateId]) -> dict[AggregateId, Document]:
        """Return the documents that are there, tombstones left out."""
        found: dict[AggregateId, Document] = {}
        for batch in _batches(list(aggregate_ids)):
            read = await self._documents.read_documents(batch)
            found |= {each.aggregate_id: each for each in read if each is not None and not each.body["deleted"]}
        return found

    async def referring(
        self,
        db_name: str,
        targets: Sequence[AggregateId],
        relationship: DirectedRelationship,
        *,
        known: Collection[AggregateId],
        new_max: int,
    ) -> tuple[list[GraphNode], bool]:
        """Return nodes of the declaring class that refer to the targets, and whether these are all of them.

        Pages until more than ``new_max`` nodes are found that are not ``known``. A known node costs no room, because
        this question has looked at it before.
        """
        found: dict[AggregateId, GraphNode] = {}
        new_count = 0
        for batch in _batches(targets):
            after = f"{db_name}/{relationship.declared_by}/"
            while True:
                page = await self._graph.referring_nodes(
                    db_name, batch, relationship.predicate, after=after, nodes_max=NODES_PER_REQUEST
                )
                of_class = [node for node in page if node.aggregate_id.class_id == relationship.declared_by]
                for node in of_class:
                    new = node.aggregate_id not in found and node.aggregate_id not in known
                    if new and new_count == new_max:
                        return list(found.values()), False
                    new_count += new
                    found[node.aggregate_id] = node
                if len(of_class) < NODES_PER_REQUEST:
                    break
                after = str(page[-1].aggregate_id)
        return list(found.values()), True

    async def _planned(
        self, starts: Sequence[AggregateId], hops: Sequence[Hop]
    ) -> list[tuple[Hop, list[DirectedRelationship]]]:
        """Return each hop's relationships, from the classes that the one before it leads to; raises InputInvalid."""
        known = await self._relationship_names_of(starts[0].db_name)
        plan: list[tuple[Hop, list[DirectedRelationship]]] = []
        class_ids: Collection[str] = {start.class_id for start in starts}
        for hop in hops:
            relationships = known.of_hop(hop.name, class_ids, inward=hop.inward, leads_to=hop.class_id)
            plan.append((hop, relationships))
            class_ids = {relationship.leads_to for relationship in relationships}
        return plan

    @property
    def nodes_max(self) -> int:
        return self._nodes_max


#: Everything reached by as many hops, and a path to it.
Reached = dict[AggregateId, tuple[AggregateId, ...]]


class _Walking:
    """One question under way: the nodes that were read, and those that were missing."""

    def __init__(self, reader: GraphReader, db_name: str) -> None:
        self._reader = reader
        self._db_name = db_name
        self._nodes: dict[AggregateId, GraphNode] = {}
        self._documents: dict[AggregateId, Document] = {}
        self._dangling: set[AggregateId] = set()
        self.cut = False

    async def begin(self, starts: Sequence[AggregateId]) -> Reached:
        return await self._known({start: (start,) for start in starts})

    async def step(self, reached: Reached, hop: Hop, relationships: Sequence[DirectedRelationship]) -> Reached:
        """Return the instances that one hop leads to."""
        found = await self.spread(reached, relationships)
        return await self._matching(found, hop.where) if hop.where else found

    async def spread(self, reached: Reached, relationships: Sequence[DirectedRelationship]) -> Reached:
        """Return the instances that these relationships lead to."""
        outward = self._outward(reached, [relationship for relationship in relationships if not relationship.inward])
        inward = await self._inward(reached, [relationship for relationship in relationships if relationship.inward])
        return await self._known(inward | outward)

    async def answer(self, paths: Sequence[tuple[AggregateId, ...]], *, cut: bool) -> Answer:
        """Join the nodes on the paths with their documents, and report where the two differ."""
        wanted = {each for path in paths for each in path}
        documents = self._documents | await self._reader.documents(wanted - self._documents.keys())
        documents = {each: documents[each] for each in wanted if each in documents}
        numbers = {each: self._nodes[each].sequence_number for each in wanted}
        return Answer(
            paths=paths,
            documents=documents,
            dangling=sorted(self._dangling, key=str),
            undocumented=sorted(wanted - documents.keys(), key=str),
            uneven={
                each: (numbers[each], documents[each].sequence_number)
                for each in sorted(documents, key=str)
                if numbers[each] != documents[each].sequence_number
            },
            cut=cut,
        )

    def _outward(self, reached: Reached, relationships: Sequence[DirectedRelationship]) -> Reached:
        found: Reached = {}
        for each, path in reached.items():
            for relationship in relationships:
                if relationship.begins_at == each.class_id:
                    for target in self._nodes[each].edges.get(relationship.predicate, ()):
                        if target.class_id == relationship.target_class:  # else of a definition before the newest one
                            found.setdefault(target, (*path, target))
        return found

    async def _inward(self, reached: Reached, relationships: Sequence[DirectedRelationship]) -> Reached:
        found: Reached = {}
        for relationship in relationships:
            targets = [each for each in reached if each.class_id == relationship.begins_at]
            known = self._nodes.keys() | found.keys()
            room = max(self._reader.nodes_max - len(known), 0)
            nodes, all_of_them = await self._reader.referring(
                self._db_name, targets, relationship, known=known, new_max=room
            )
            self.cut = self.cut or not all_of_them
            for node in nodes:
                target = next((each for each in node.edges.get(relationship.predicate, ()) if each in reached), None)
                if target is not None:  # else the node has changed since it was found
                    found.setdefault(node.aggregate_id, (*reached[target], node.aggregate_id))
        return found

    async def _known(self, found: Reached) -> Reached:
        """Keep the instances in the graph, as far as there is room, and remember those that are absent."""
        wanted = [each for each in found if each not in self._nodes]
        room = self._reader.nodes_max - len(self._nodes)
        if len(wanted) > room:
            self.cut, wanted = True, wanted[:room]
        present = await self._reader.nodes(wanted)
        self._nodes |= present
        self._dangling.update(each for each in wanted if each not in present)
        return {each: path for each, path in found.items() if each in self._nodes}

    async def _matching(self, found: Reached, where: Mapping[str, Any]) -> Reached:
        """Keep instances with matching data; instances without a document stay, to be named in the answer."""
        self._documents |= await self._reader.documents(each for each in found if each not in self._documents)
        return {
            each: path
            for each, path in found.items()
            if each not in self._documents or matches(self._documents[each].body["data"], where)
        }


def _one_database(aggregate_ids: Sequence[AggregateId]) -> str:
    names = {aggregate_id.db_name for aggregate_id in aggregate_ids}
    if len(names) > 1:
        raise InputInvalid(f"a question of the graph: expected instances of one database, found {sorted(names)}")
    return names.pop()


def _batches(aggregate_ids: Sequence[AggregateId]) -> Iterable[Sequence[AggregateId]]:
    for start in range(0, len(aggregate_ids), NODES_PER_REQUEST):
        yield aggregate_ids[start : start + NODES_PER_REQUEST]
