"""Questions of the graph, on twins: their answers, the gaps that they report, and where they stop."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.domain.graph import GraphNode, edge_map
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.definition import ClassDefinition, Relationship
from oncelog.domain.ontology.relationship_names import RelationshipNames
from oncelog.domain.queries import Range
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.query.graph import GraphReader
from oncelog.query.hops import Hop
from oncelog.read_models.document import document_of
from oncelog.testing.memory.elasticsearch import MemoryDocuments
from oncelog.testing.memory.graph import MemoryGraph


class Atlas:
    """Airports in subdivisions of countries, as far as a test has put them there."""

    def __init__(self) -> None:
        self.graph, self.documents = MemoryGraph(), MemoryDocuments()
        self.class_schemas: dict[str, ClassDefinition] = {}
        self.define("Subdivision", part_of=("Country", "subdivisions"), within=("Subdivision", "parts"))
        self.define(
            "Airport", located_in=("Subdivision", "airports"), country=("Country", "airports"), near=("Airport",)
        )

    def define(self, class_id: str, **relationships: tuple[str, ...]) -> None:
        """Define a class by its relationships: predicate to target class, and the inverse if it has one."""
        self.class_schemas[class_id] = ClassDefinition(
            version="1.0.0",
            json_schema={"type": "object"},
            relationships={
                name: Relationship(
                    target_class=target, cardinality="many", path=f"/{name}", inverse=inverse[0] if inverse else None
                )
                for name, (target, *inverse) in relationships.items()
            },
        )

    async def ways(self, db_name: str) -> RelationshipNames:
        return RelationshipNames(db_name, self.class_schemas)

    async def put(
        self,
        place: AggregateId,
        *,
        data: Mapping[str, Any] | None = None,
        at: tuple[int, int] = (1, 1),
        deleted: bool = False,
        **edges: set[AggregateId],
    ) -> None:
        """``at``: the sequence numbers of node and document; 0 for none of it."""
        if at[0]:
            await self.graph.write_nodes([GraphNode(place, at[0], 1, deleted, edge_map(edges))])
        if at[1]:
            state = Instance(
                aggregate_id=str(place),
                sequence_number=at[1],
                deleted=deleted,
                data=dict(data or {}),
            )
            await self.documents.write_documents([document_of(state)])

    def reader(self, **limits: int) -> GraphReader:
        return GraphReader(self.graph, self.documents, self.ways, **limits)


def country(name: str) -> AggregateId:
    return AggregateId.of("geo", "Country", name)


def subdivision(name: str) -> AggregateId:
    return AggregateId.of("geo", "Subdivision", name)


def airport(name: str) -> AggregateId:
    return AggregateId.of("geo", "Airport", name)


@pytest.fixture
async def atlas() -> Atlas:
    """Two airports in Vienna and one in Tyrol, one in Geneva."""
    atlas = Atlas()
    for name in ("AT", "CH"):
        await atlas.put(country(name), data={"name": name})
    for name, of in (("AT-9", "AT"), ("AT-7", "AT"), ("CH-GE", "CH")):
        await atlas.put(subdivision(name), data={"code": name}, part_of={country(of)})
    for name, of, metres in (("VIE", "AT-9", 183), ("LOAV", "AT-9", 233), ("INN", "AT-7", 581), ("GVA", "CH-GE", 430)):
        await atlas.put(airport(name), data={"elevation": metres, "tags": [name]}, located_in={subdivision(of)})
    return atlas


IN_COUNTRY = [Hop("located_in"), Hop("part_of")]
OF_COUNTRY = [Hop("part_of", inward=True), Hop("located_in", inward=True)]


async def test_hops_lead_to_the_country_with_all_documents(atlas: Atlas):
    answer = await atlas.reader().walk([airport("VIE")], IN_COUNTRY)
    assert answer.paths == [(airport("VIE"), subdivision("AT-9"), country("AT"))]
    assert {each: found.body["data"] for each, found in answer.documents.items()} == {
        airport("VIE"): {"elevation": 183, "tags": ["VIE"]},
        subdivision("AT-9"): {"code": "AT-9"},
        country("AT"): {"name": "AT"},
    }
    assert (answer.dangling, answer.undocumented, answer.uneven, answer.cut) == ([], [], {}, False)


async def test_hops_lead_back_from_a_country_to_its_airports(atlas: Atlas):
    answer = await atlas.reader().walk([country("AT")], OF_COUNTRY)
    assert [path[-1] for path in answer.paths] == [airport("INN"), airport("LOAV"), airport("VIE")]
    assert answer.paths[0] == (country("AT"), subdivision("AT-7"), airport("INN"))


async def test_a_filter_at_each_hop_keeps_what_its_data_says(atlas: Atlas):
    low = Hop("located_in", inward=True, where={"/elevation": 233})
    assert (await atlas.reader().walk([country("AT")], [OF_COUNTRY[0], low])).paths == [
        (country("AT"), subdivision("AT-9"), airport("LOAV"))
    ]
    tyrol = Hop("part_of", inward=True, where={"/code": "AT-7"})
    by_tag = Hop("located_in", inward=True, where={"/tags": "INN", "/elevation": 581})
    answer = await atlas.reader().walk([country("AT")], [tyrol, by_tag])
    assert [path[-1] for path in answer.paths] == [airport("INN")]
    nothing = Hop("located_in", inward=True, where={"/tags/0": "INN"})
    assert (await atlas.reader().walk([country("AT")], [tyrol, nothing])).paths == []
    with pytest.raises(InputInvalid, match="JSON Pointer"):
        await atlas.reader().walk([country("AT")], [Hop("part_of", inward=True, where={"code": "AT-7"})])


async def test_class_can_be_chosen_where_a_predicate_leads_to_several(atlas: Atlas):
    atlas.define("Heliport", country=("Country", "heliports"))
    pad = AggregateId.of("geo", "Heliport", "pad")
    await atlas.put(airport("X"), country={country("AT")})
    await atlas.put(pad, country={country("AT")})
    every = await atlas.reader().walk([country("AT")], [Hop("country", inward=True)])
    only = await atlas.reader().walk([country("AT")], [Hop("country", inward=True, class_id="Heliport")])
    assert [path[-1] for path in every.paths] == [airport("X"), pad]
    assert [path[-1] for path in only.paths] == [pad]


async def test_a_hop_goes_by_the_inverse_that_another_class_declares(atlas: Atlas):
    by_names = await atlas.reader().walk([country("AT")], [Hop("subdivisions"), Hop("airports")])
    assert by_names.paths == (await atlas.reader().walk([country("AT")], OF_COUNTRY)).paths
    assert [path[-1] for path in by_names.paths] == [airport("INN"), airport("LOAV"), airport("VIE")]
    high = Hop("airports", where={"/elevation": Range(at_least=233, below=581)})
    assert [path[-1] for path in (await atlas.reader().walk([country("AT")], [Hop("subdivisions"), high])).paths] == [
        airport("LOAV")
    ]


async def test_inverse_leads_only_to_instances_of_its_own_class(atlas: Atlas):
    atlas.define("Heliport", located_in=("Subdivision", "heliports"))
    pads = [AggregateId.of("geo", "Heliport", f"{number:02}") for number in range(12)]
    for pad in pads:
        await atlas.put(pad, located_in={subdivision("AT-7")})
    found = {}
    for name in ("airports", "heliports"):
        answer = await atlas.reader(nodes_max=13).walk([subdivision("AT-7")], [Hop(name)])
        assert not answer.cut
        found[name] = [path[-1] for path in answer.paths]
    assert found == {"airports": [airport("INN")], "heliports": pads}


async def test_same_name_means_what_each_class_declares(atlas: Atlas):
    await atlas.put(airport("FIELD"), country={country("AT")})
    answer = await atlas.reader().walk([country("AT"), subdivision("AT-7")], [Hop("airports")])
    assert answer.paths == [(country("AT"), airport("FIELD")), (subdivision("AT-7"), airport("INN"))]


async def test_hop_from_several_classes_follows_those_with_the_name(atlas: Atlas):
    await atlas.put(subdivision("AT-7-1"), within={subdivision("AT-7")})
    answer = await atlas.reader().walk([country("AT"), airport("VIE")], [Hop("subdivisions"), Hop("parts")])
    assert answer.paths == [(country("AT"), subdivision("AT-7"), subdivision("AT-7-1"))]


async def test_unknown_name_is_refused_with_the_known_ones(atlas: Atlas):
    async def refusal(*hops: Hop) -> str:
        with pytest.raises(InputInvalid) as raised:
            await atlas.reader().walk([country("none")], hops)
        return raised.value.message

    assert await refusal(Hop("subdivisions"), Hop("airprots")) == (
        "hop 'airprots' from Subdivision: expected one of part_of (to Country), within (to Subdivision), "
        "airports (^located_in:Airport), parts (^within:Subdivision), found no such name; name one of these, or "
        "define it in a class of geo"
    )
    assert "'^airports' from Country: expected one of" in await refusal(Hop("airports", inward=True))
    assert "a class that it leads to (Subdivision), found Country" in await refusal(
        Hop("subdivisions", class_id="Country")
    )
    with pytest.raises(InputInvalid, match=r"from Cuontry: nothing can be walked .* Airport, Subdivision"):
        await atlas.reader().walk([AggregateId.of("geo", "Cuontry", "AT")], [Hop("airports")])


async def test_ambiguous_name_needs_a_class_or_predicate(atlas: Atlas):
    atlas.define("Heliport", stands_in=("Country", "airports"))
    pad = AggregateId.of("geo", "Heliport", "pad")
    await atlas.put(pad, stands_in={country("AT")})
    with pytest.raises(InputInvalid, match=r"found 2 .* \^country:Airport, \^stands_in:Heliport; write the one"):
        await atlas.reader().walk([country("AT")], [Hop("airports")])
    for hop in (Hop("airports", class_id="Heliport"), Hop("stands_in", inward=True)):
        assert (await atlas.reader().walk([country("AT")], [hop])).paths == [(country("AT"), pad)]
    assert (await atlas.reader().walk([subdivision("AT-7")], [Hop("airports")])).paths  # from there it is one


async def test_own_predicate_keeps_its_meaning(atlas: Atlas):
    atlas.define("Runway", of=("Airport", "located_in"))
    runway = AggregateId.of("geo", "Runway", "11/29")
    await atlas.put(runway, of={airport("VIE")})
    own = await atlas.reader().walk([airport("VIE")], [Hop("located_in")])
    assert own.paths == [(airport("VIE"), subdivision("AT-9"))]
    for hop in (Hop("of", inward=True), Hop("located_in", class_id="Runway")):
        assert (await atlas.reader().walk([airport("VIE")], [hop])).paths == [(airport("VIE"), runway)]


async def test_ends_come_page_by_page(atlas: Atlas):
    first = await atlas.reader().walk([country("AT")], OF_COUNTRY, ends_max=2)
    assert [path[-1] for path in first.paths] == [airport("INN"), airport("LOAV")]
    assert first.cut
    rest = await atlas.reader().walk([country("AT")], OF_COUNTRY, ends_max=2, after=str(first.paths[-1][-1]))
    assert [path[-1] for path in rest.paths] == [airport("VIE")]
    assert not rest.cut


async def test_what_is_missing_or_behind_on_either_side_is_said(atlas: Atlas):
    await atlas.put(airport("A"), located_in={subdivision("nowhere")})
    await atlas.put(airport("B"), at=(3, 0), located_in={subdivision("AT-9")})
    await atlas.put(airport("C"), at=(2, 5), located_in={subdivision("AT-9")})
    dangling = await atlas.reader().walk([airport("A")], [Hop("located_in")])
    assert (dangling.paths, dangling.dangling) == ([], [subdivision("nowhere")])
    back = await atlas.reader().walk([subdivision("AT-9")], [Hop("located_in", inward=True, where={"/none": None})])
    assert [path[-1] for path in back.paths] == [airport("B"), airport("C"), airport("LOAV"), airport("VIE")]
    assert (back.undocumented, back.uneven) == ([airport("B")], {airport("C"): (2, 5)})


async def test_a_start_that_is_not_in_the_graph_is_named(atlas: Atlas):
    answer = await atlas.reader().walk([airport("none")], IN_COUNTRY)
    assert (answer.paths, answer.dangling) == ([], [airport("none")])


async def test_what_was_deleted_is_neither_end_nor_way(atlas: Atlas):
    await atlas.put(subdivision("AT-9"), at=(2, 2), deleted=True)
    answer = await atlas.reader().walk([airport("VIE")], IN_COUNTRY)
    assert (answer.paths, answer.dangling) == ([], [subdivision("AT-9")])


async def test_an_error_is_no_empty_answer(atlas: Atlas):
    atlas.graph.available = False
    with pytest.raises(StoreUnavailable, match="the graph in memory"):
        await atlas.reader().walk([country("AT")], OF_COUNTRY)
    atlas.graph.available, atlas.documents.available = True, False
    with pytest.raises(StoreUnavailable, match="Elasticsearch in memory"):
        await atlas.reader().walk([country("AT")], OF_COUNTRY)


async def test_no_question_looks_at_more_than_it_may_and_says_so(atlas: Atlas):
    for number in range(30):
        await atlas.put(airport(f"n{number:02}"), located_in={subdivision("AT-9")})
    answer = await atlas.reader(nodes_max=11).walk([subdivision("AT-9")], [Hop("located_in", inward=True)])
    assert len(answer.paths) == 10
    assert answer.cut
    assert not (await atlas.reader(nodes_max=33).walk([subdivision("AT-9")], [Hop("located_in", inward=True)])).cut


@given(
    edges=st.sets(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=40),
    hops=st.integers(1, 4),
    nodes_max=st.integers(1, 12),
    ends_max=st.integers(1, 12),
)
async def test_walk_answers_the_truth_or_says_cut(
    edges: set[tuple[int, int]], hops: int, nodes_max: int, ends_max: int
):
    atlas = Atlas()
    for number in range(10):
        await atlas.put(airport(str(number)), near={airport(str(to)) for start, to in edges if start == number})
    reader = atlas.reader(nodes_max=nodes_max)
    for inward in (True, False):
        reached = {0}
        for _ in range(hops):
            reached = {b if not inward else a for a, b in edges if (a if not inward else b) in reached}
        answer = await reader.walk([airport("0")], [Hop("near", inward=inward)] * hops, ends_max=ends_max)
        ends = {int(path[-1].instance_key) for path in answer.paths}
        assert ends <= reached
        assert answer.cut or ends == reached


async def test_hub_with_thousands_of_dependants_is_walked_whole(atlas: Atlas):
    """Dependants of the hub refer to each other, so the second hop finds most of them again."""
    hub = airport("hub")
    await atlas.put(hub)
    names = [airport(f"n{number:04}") for number in range(3_000)]
    for number, name in enumerate(names):
        targets = {names[number // 7], names[number // 2]} | ({hub} if number < 2_000 else set())
        await atlas.put(name, at=(1, 0), near=targets)
    back = Hop("near", inward=True)
    dependants = set(range(2_000))
    expected = {number for number in range(3_000) if {number // 7, number // 2} & dependants}
    answer = await atlas.reader().walk([hub], [back, back], ends_max=10_000)
    assert ({int(path[-1].instance_key[1:]) for path in answer.paths}, answer.cut) == (expected, False)
    assert (await atlas.reader(nodes_max=2_100).walk([hub], [back, back], ends_max=10_000)).cut


async def test_shortest_path_follows_edges_in_the_asked_direction(atlas: Atlas):
    reader = atlas.reader()
    assert (await reader.shortest_path(airport("VIE"), country("AT"))).paths == [
        (airport("VIE"), subdivision("AT-9"), country("AT"))
    ]
    assert (await reader.shortest_path(airport("VIE"), airport("INN"))).paths == []
    both: dict[str, Any] = {"names": ["located_in", "part_of"], "both_ways": True}
    assert (await reader.shortest_path(airport("VIE"), airport("INN"), **both)).paths == [
        (airport("VIE"), subdivision("AT-9"), country("AT"), subdivision("AT-7"), airport("INN"))
    ]
    assert (await reader.shortest_path(airport("VIE"), airport("INN"), **both, length_max=3)).paths == []
    assert (await reader.shortest_path(airport("VIE"), airport("VIE"))).paths == [(airport("VIE"),)]
    assert len((await reader.shortest_path(airport("VIE"), airport("INN"), both_ways=True)).paths[0]) == 5
    down = await reader.shortest_path(country("AT"), airport("INN"), names=["subdivisions", "airports"])
    assert down.paths == [(country("AT"), subdivision("AT-7"), airport("INN"))]
    spelled = ["^part_of:Subdivision", "airports:Airport"]
    assert (await reader.shortest_path(country("AT"), airport("INN"), names=spelled)).paths == down.paths
    atlas.define("Heliport", country=("Country", "airports"))
    with pytest.raises(InputInvalid, match=r"hop 'airports' from Country: .* \^country:Heliport; write the one"):
        await reader.shortest_path(country("AT"), airport("INN"), names=["airports"])
    by_class = ["subdivisions", "^located_in:Airport"]
    assert (await reader.shortest_path(country("AT"), airport("INN"), names=by_class)).paths == down.paths
    with pytest.raises(
        InputInvalid, match="hop 'airprots' from Airport or Country or Heliport or Subdivision: expected one of"
    ):
        await reader.shortest_path(country("AT"), airport("INN"), names=["airprots"])


async def test_questions_that_make_no_sense_are_refused(atlas: Atlas):
    with pytest.raises(InputInvalid, match="at least one start and one hop"):
        await atlas.reader().walk([airport("VIE")], [])
    with pytest.raises(InputInvalid, match="of one database"):
        await atlas.reader().walk([airport("VIE"), AggregateId.of("shop", "Product", "p1")], IN_COUNTRY)


@given(edges=st.sets(st.tuples(st.integers(0, 7), st.integers(0, 7))), both_ways=st.booleans())
async def test_a_shortest_path_is_one_and_none_is_shorter(edges: set[tuple[int, int]], both_ways: bool):
    atlas = Atlas()
    for number in range(8):
        targets = {airport(str(to)) for start, to in edges if start == number}
        await atlas.put(airport(str(number)), near=targets)
    answer = await atlas.reader().shortest_path(
        airport("0"), airport("7"), names=["near"], both_ways=both_ways, length_max=8
    )
    follow = edges | {(to, start) for start, to in edges} if both_ways else edges
    distance = {0: 0}
    for length in range(1, 9):
        distance |= {to: length for start, to in follow if distance.get(start) == length - 1 and to not in distance}
    assert bool(answer.paths) == (7 in distance)
    for path in answer.paths:
        numbers = [int(each.instance_key) for each in path]
        assert (numbers[0], numbers[-1], len(numbers) - 1) == (0, 7, distance[7])
        assert set(pairwise(numbers)) <= follow
