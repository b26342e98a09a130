"""``Graph``: the newest node wins, and edges are found from both ends."""

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from itertools import permutations

import pytest

from oncelog.domain.graph import GraphNode, edge_map
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import EDGES_MAX
from oncelog.errors import InputInvalid
from oncelog.ports import FoundNode, WholeGraph
from oncelog.settings import Settings, TerminusdbSettings
from oncelog.stores.elasticsearch import ElasticsearchGraph, ElasticsearchServer, scan
from oncelog.stores.terminusdb import TerminusGraph, TerminusServer
from oncelog.stores.terminusdb import graph as terminus_graph
from oncelog.testing.memory.graph import MemoryGraph

TERMINUSDB_VARIABLE = "ONCELOG_TERMINUSDB_URL"

COUNTRIES = [AggregateId.of("geo", "Country", name) for name in ("AT", "BO", "CH")]


@pytest.fixture(
    params=[
        "in memory",
        pytest.param("Elasticsearch", marks=pytest.mark.integration),
        pytest.param("TerminusDB", marks=pytest.mark.integration),
    ]
)
async def graph(request: pytest.FixtureRequest) -> AsyncIterator[WholeGraph]:
    """Each store in turn, under names of this test's own."""
    if request.param == "in memory":
        yield MemoryGraph()
        return
    if request.param == "TerminusDB" and TERMINUSDB_VARIABLE not in os.environ:
        pytest.skip(f"no TerminusDB: no registry has one to start here; set {TERMINUSDB_VARIABLE} to run on yours")
    settings: Settings = request.getfixturevalue("settings")
    if request.param == "Elasticsearch":
        elasticsearch = ElasticsearchServer(settings)
        on_elasticsearch = ElasticsearchGraph(elasticsearch, settings)
        await on_elasticsearch.prepare()
        yield on_elasticsearch
        await elasticsearch.close()
        return
    terminusdb = TerminusServer(TerminusdbSettings(url=os.environ[TERMINUSDB_VARIABLE]))
    on_terminusdb = TerminusGraph(terminusdb, settings)
    await on_terminusdb.prepare()
    yield on_terminusdb
    await terminusdb.drop(on_terminusdb.database_of("geo"))
    await terminusdb.close()


def _node(
    name: str,
    sequence_number: int = 1,
    *,
    definition_sequence: int = 1,
    deleted: bool = False,
    **edges: set[AggregateId],
) -> GraphNode:
    aggregate_id = AggregateId.of("geo", "City", name)
    return GraphNode(aggregate_id, sequence_number, definition_sequence, deleted, edge_map(edges))


async def _written(graph: WholeGraph, *nodes: GraphNode) -> None:
    assert await graph.write_nodes(nodes) == [None] * len(nodes)


async def _referring(
    graph: WholeGraph, targets: Sequence[AggregateId], *, count: int, **more: int | str
) -> list[GraphNode]:
    """Search until as many are found as were written: a store may find them a moment later."""
    async with asyncio.timeout(120):
        while True:
            found = await graph.referring_nodes("geo", targets, "part_of", **{"nodes_max": 100, **more})  # type: ignore[arg-type]
            if len(found) == count:
                return list(found)
            await asyncio.sleep(0.05)


async def test_the_newest_wins_in_whatever_order_they_come(graph: WholeGraph):
    for number, order in enumerate(permutations(range(3))):
        nodes = [_node(f"c{number}", sequence, part_of={COUNTRIES[sequence - 1]}) for sequence in (1, 2, 3)]
        for index in order:
            await _written(graph, nodes[index])
        assert await graph.read_nodes([nodes[0].aggregate_id]) == [nodes[2]]


async def test_replacing_write_wins_over_its_own_version_only(graph: WholeGraph):
    first, second = (_node("c", number, part_of={COUNTRIES[number]}) for number in (1, 2))
    forged = _node("c", 2, part_of={COUNTRIES[0]})
    await _written(graph, forged)
    await _written(graph, second)
    assert await graph.read_nodes([second.aggregate_id]) == [forged]
    assert await graph.write_nodes([second], replaces=True) == [None]
    assert await graph.write_nodes([first], replaces=True) == [None]
    assert await graph.read_nodes([second.aggregate_id]) == [second]


async def test_new_definition_changes_edges_and_an_old_one_does_not(graph: WholeGraph):
    before, after = (
        _node("Vienna", 3, definition_sequence=1),
        _node("Vienna", 3, definition_sequence=2, part_of={COUNTRIES[0]}),
    )
    await _written(graph, before)
    await _written(graph, after)
    await _written(graph, before)
    assert await graph.read_nodes([after.aggregate_id]) == [after]
    later = _node("Vienna", 4, definition_sequence=1)
    await _written(graph, later)
    assert await graph.read_nodes([after.aggregate_id]) == [later]


async def test_nodes_are_read_in_order_and_missing_ones_are_none(graph: WholeGraph):
    vienna, graz = _node("Vienna", part_of={COUNTRIES[0]}), _node("Graz")
    await _written(graph, vienna, graz)
    missing = AggregateId.of("geo", "City", "Atlantis")
    elsewhere = AggregateId.of("nowhere", "City", "Vienna")
    assert await graph.read_nodes([graz.aggregate_id, missing, vienna.aggregate_id, elsewhere]) == [
        graz,
        None,
        vienna,
        None,
    ]
    assert await graph.read_nodes([]) == []


async def test_nodes_of_a_class_come_together_across_pages(graph: WholeGraph):
    edges = edge_map({"part_of": {COUNTRIES[0]}})
    names = [("Cit", "z"), ("City", "a"), ("City", "é"), ("City-Hall", "a"), ("CityHall", "a"), ("City_Hall", "~")]
    nodes = [GraphNode(AggregateId.of("geo", class_id, name), 1, 1, False, edges) for class_id, name in names]
    await _written(graph, *nodes)
    everything = await _referring(graph, COUNTRIES, count=6)
    assert [each.aggregate_id for each in everything] == sorted((each.aggregate_id for each in nodes), key=str)
    cities = await _referring(graph, COUNTRIES, count=2, after="geo/City/", nodes_max=2)
    assert [each.aggregate_id.instance_id for each in cities] == ["é", "a"]  # in encoded form


async def test_edge_may_be_dangling_or_circular(graph: WholeGraph):
    one, two = AggregateId.of("geo", "City", "one"), AggregateId.of("geo", "City", "two")
    first, second = GraphNode(one, 1, 1, False, {"near": (two,)}), GraphNode(two, 1, 1, False, {"near": (one, two)})
    await _written(graph, first)
    assert await graph.read_nodes([one, two]) == [first, None]
    await _written(graph, second)
    assert await graph.read_nodes([one, two]) == [first, second]


async def test_who_refers_to_something_is_found_page_by_page_in_order(graph: WholeGraph):
    nodes = [_node(f"c{number}", part_of={COUNTRIES[number % 2]}, near={COUNTRIES[2]}) for number in range(7)]
    await _written(graph, *nodes)
    both = await _referring(graph, COUNTRIES[:2], count=7)
    assert both == nodes
    assert await _referring(graph, COUNTRIES[:1], count=4) == nodes[::2]
    assert await _referring(graph, COUNTRIES[:2], count=3, nodes_max=3) == nodes[:3]
    assert await _referring(graph, COUNTRIES[:2], count=3, nodes_max=3, after=str(nodes[2].aggregate_id)) == nodes[3:6]
    assert await graph.referring_nodes("geo", COUNTRIES[2:], "part_of", nodes_max=10) == []
    assert await graph.referring_nodes("geo", [], "part_of", nodes_max=10) == []
    assert await graph.referring_nodes("nowhere", COUNTRIES, "part_of", nodes_max=10) == []


async def test_tombstone_has_no_edges_and_late_writes_lose(graph: WholeGraph):
    alive, deleted = _node("Vienna", 2, part_of={COUNTRIES[0]}), _node("Vienna", 3, deleted=True)
    await _written(graph, alive)
    assert await _referring(graph, COUNTRIES, count=1) == [alive]
    await _written(graph, deleted)
    await _written(graph, alive)
    assert await graph.read_nodes([alive.aggregate_id]) == [deleted]
    async with asyncio.timeout(120):
        while list(await graph.searchable([alive.aggregate_id])) != [3]:
            await asyncio.sleep(0.05)
    nowhere = AggregateId.of("nowhere", "City", "x")
    assert list(await graph.searchable([nowhere, alive.aggregate_id])) == [0, 3]
    assert await _referring(graph, COUNTRIES, count=0) == []


async def test_names_that_look_like_syntax_are_names(graph: WholeGraph):
    hostile = AggregateId.of("geo", "City", "a/b:c*\"'{x}$ <é 日>")
    node = _node("or(true)", part_of={hostile})
    await _written(graph, node)
    assert await graph.read_nodes([node.aggregate_id]) == [node]
    assert await _referring(graph, [hostile], count=1) == [node]


async def test_one_batch_may_hold_several_versions_of_a_node(graph: WholeGraph):
    nodes = [_node("Vienna", sequence, part_of={COUNTRIES[sequence - 1]}) for sequence in (2, 3, 1)]
    assert await graph.write_nodes([*nodes, _node("Graz")]) == [None] * 4
    assert await graph.write_nodes([]) == []
    assert await graph.read_nodes([nodes[0].aggregate_id]) == [nodes[1]]


async def test_concurrent_writers_leave_the_newest(graph: WholeGraph):
    nodes = [_node("Vienna", sequence, part_of={COUNTRIES[sequence % 3]}) for sequence in range(1, 9)]
    outcomes = await asyncio.gather(
        *(graph.write_nodes([node, _node(f"other{node.sequence_number}")]) for node in nodes)
    )
    assert outcomes == [[None, None]] * 8
    assert await graph.read_nodes([nodes[0].aggregate_id]) == [nodes[-1]]


async def test_scan_yields_every_node_once(graph: WholeGraph, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scan, "HITS_PER_PAGE", 3)
    monkeypatch.setattr(terminus_graph, "NODES_PER_PAGE", 3)
    nodes = [_node(f"c{number}", number + 1, part_of={COUNTRIES[0]}) for number in range(7)]
    nodes.append(_node("or(true)/é 日", 2, deleted=True))
    await _written(graph, *nodes)
    found = [found async for found in graph.scan_nodes("geo")]
    expected = [FoundNode(node.aggregate_id, node.version, node) for node in nodes]
    assert sorted(found, key=lambda one: str(one.aggregate_id)) == sorted(
        expected, key=lambda one: str(one.aggregate_id)
    )
    assert [found async for found in graph.scan_nodes("nowhere")] == []


def test_a_node_with_too_many_references_is_refused():
    targets = tuple(AggregateId.of("geo", "City", f"c{number}") for number in range(EDGES_MAX + 1))
    with pytest.raises(InputInvalid, match="at most 10000 references, found 10001"):
        GraphNode(AggregateId.of("geo", "Country", "AT"), 1, 1, False, {"has": targets})


async def test_graph_exists_once_a_node_was_written(graph: WholeGraph):
    assert not await graph.graph_exists("geo")
    await _written(graph, _node("x"))
    assert await graph.graph_exists("geo")
    assert not await graph.graph_exists("other")


async def test_graph_of_tombstones_exists(graph: WholeGraph):
    await _written(graph, _node("x", deleted=True))
    assert await graph.graph_exists("geo")


async def test_graph_place_is_named_for_operators(graph: WholeGraph):
    assert "geo" in graph.place_of("geo")
    assert graph.place_of("geo") != graph.place_of("other")
