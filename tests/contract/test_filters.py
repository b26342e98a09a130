"""One meaning of a filter and of an order: the domain, its terms, and searches of every kind of index agree."""

import asyncio
import math
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oncelog.domain.canonical import normalised
from oncelog.domain.events import DefinitionReference
from oncelog.domain.graph import GraphNode, edge_map
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.index_terms import index_terms
from oncelog.domain.json_pointer import pointer_of
from oncelog.domain.ontology.definition import ClassDefinition, Relationship
from oncelog.domain.ontology.relationship_names import RelationshipNames
from oncelog.domain.queries import Range, Scalar, Search, check_filter, exact_term, matches, range_of_terms
from oncelog.domain.results import Outcome
from oncelog.errors import ContainerUnusable, InputInvalid
from oncelog.ports import Document, IndexSchema, Searches
from oncelog.query.graph import GraphReader, RelationshipNamesOf
from oncelog.query.hops import Hop
from oncelog.read_models.document import document_of
from oncelog.read_models.typed_mapping import typed_mapping
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.mapping import EXACT, MAPPINGS, SORTABLE, as_indexed, as_verified
from tests.classes import FIRST, NUMBER, TEXT, define, schema
from tests.clients import patient_stores
from tests.commands import create
from tests.contract.chains import chain, state_at
from tests.contract.conftest import Opened
from tests.write.sweeper import LOOK_ONLY, sweep
from tests.write.world import World

ORDERS_MAX = 3
REFERENCE = DefinitionReference(sequence_number=1, version="1.0.0")
MOMENTS = ["2026-05-01T00:00:00.123456Z", "2026-05-01T00:00:00.1Z", "2026-05-01T02:00:00.1+02:00", "2026-05"]
SCALARS: list[Any] = [
    *(None, True, False, 0, 1, -1, 10, 2**53 - 1, -(2**53) + 1, 12345678.5, 0.0005, 1e21, 1e-7, 5e-324, 0.1),
    *(
        "",
        " ",
        "1",
        "10",
        "true",
        "null",
        "red",
        "Red",
        "a,b",
        "a=b",
        "\u00e9",
        "e\u0301",
        "\0",
        '"',
        "\\",
        "x" * 70,
        "y" * 40_000,
    ),
    *MOMENTS,
]
NAMES = ["v", "w", "a.b", "a=b", "a/b", "a~b", "a", "b", "0", "", " ", "k" * 80]

scalars = st.sampled_from(SCALARS)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(st.sampled_from(NAMES), values, max_size=4)
bounds = st.none() | st.sampled_from([each for each in SCALARS if type(each) in (int, float)])
ranges = st.builds(Range, bounds, bounds, bounds, bounds)
pointers = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(pointer_of)

CASES: list[tuple[dict[str, Any], str, Any, bool]] = [
    ({"v": 12345678.5}, "/v", 12345678.5, True),
    ({"v": 0.0005}, "/v", 0.0005, True),
    ({"v": 10}, "/v", 10.0, True),
    ({"v": 0}, "/v", -0.0, True),
    ({"v": 1e21}, "/v", 10**21 * 1.0, True),
    ({"v": 2**53 - 1}, "/v", 2**53 - 2, False),
    ({"v": 1}, "/v", True, False),
    ({"v": True}, "/v", 1, False),
    ({"v": True}, "/v", "true", False),
    ({"v": "10"}, "/v", 10, False),
    ({"v": MOMENTS[0]}, "/v", MOMENTS[1], False),
    ({"v": MOMENTS[1]}, "/v", MOMENTS[2], False),
    ({"v": MOMENTS[1]}, "/v", "2026-05", False),
    ({"v": ["red", "new"]}, "/v", "red", True),
    ({"v": [{"w": "red"}]}, "/v/w", "red", True),
    ({"v": {"w": 1}}, "/v", None, False),
    ({"v": {}}, "/v", None, False),
    ({"v": [None, []]}, "/v", None, True),
    ({"v": [None, 1]}, "/v", None, False),
    ({"v": None}, "/v", None, True),
    ({}, "/v", None, True),
    ({"v": ""}, "/v", "", True),
    ({"v": "y" * 40_000}, "/v", "y" * 40_000, True),
    ({"v": "y" * 40_000}, "/v", "y" * 40_001, False),
    ({"a": {"b": 1}}, "/a.b", 1, False),
    ({"v": 5}, "/v", Range(at_least=5, below=6), True),
    ({"v": [1, 9]}, "/v", Range(at_least=4, at_most=6), False),
    ({"v": "5"}, "/v", Range(at_least=5), False),
    ({"v": True}, "/v", Range(at_least=0), False),
    ({"v": -0.0}, "/v", Range(at_least=0), True),
    ({"v": -1e-7}, "/v", Range(at_least=-1e-7, below=0), True),
    ({"v": -2}, "/v", Range(at_least=-1), False),
    ({"v": 2**53 - 1}, "/v", Range(above=2**53 - 2), True),
    ({"v": 2**53 - 1}, "/v", Range(above=2**53 - 1), False),
    ({"v": 5}, "/v", Range(at_least=4, above=5), False),
    ({"v": 5}, "/v", Range(at_least=7, at_most=3), False),
    ({"v": 5}, "/v", Range(), True),
    ({"v<c": 5}, "/v", Range(), False),
    ({"v": {"w": [1, {"w": 3}]}}, "/v/w", Range(at_most=1), True),
]


@pytest.mark.parametrize(("data", "pointer", "value", "expected"), CASES)
def test_filter_means_the_same_for_every_type(data: dict[str, Any], pointer: str, value: Any, expected: bool):
    check_filter(pointer, value)
    assert matches(data, {pointer: value}) is expected
    assert _is_found(index_terms(data).exact, pointer, value) is expected


def _is_found(terms: list[str], pointer: str, value: Scalar | Range) -> bool:
    """Return whether an index in which a document has these terms finds it by a filter."""
    if isinstance(value, Range):
        first, last = range_of_terms(pointer, value)
        return any(first <= term <= last for term in terms)
    return (exact_term(pointer, value) in terms) is (value is not None)


@given(objects, pointers, scalars | ranges)
@settings(max_examples=500)
def test_terms_agree_with_the_filter_function(drawn: dict[str, Any], pointer: str, value: Scalar | Range):
    data = normalised(drawn)
    terms = index_terms(data).exact
    assert _is_found(terms, pointer, value) is matches(data, {pointer: value})
    assert len(terms) == len(set(terms))
    assert all(len(term) <= 131 for term in terms)


@pytest.mark.parametrize(
    ("pointer", "value", "reason"),
    [
        ("/v", {"a": 1}, "compare its members"),
        ("/v", [1], "compare its members"),
        ("/v", math.nan, "a number that data can hold"),
        ("/v", math.inf, "a number that data can hold"),
        ("/v", 2**53, "a number that data can hold"),
        ("/v", "\ud800", "lone surrogate"),
        ("", 1, "found the root"),
        ("v", 1, "begins with '/'"),
    ],
)
def test_filter_without_exact_answer_is_refused(pointer: str, value: Any, reason: str):
    with pytest.raises(InputInvalid, match=reason):
        check_filter(pointer, value)


@pytest.mark.parametrize("bound", [math.nan, math.inf, 2**53, 10**400, True, "5"])
def test_bound_that_data_cannot_hold_is_refused(bound: Any):
    with pytest.raises(InputInvalid, match="numbers that data can hold"):
        Range(at_least=bound)


def test_integer_without_digits_is_refused():
    with pytest.raises(InputInvalid, match="an integer of 16610 bits"):
        check_filter("/v", 10**5000)
    with pytest.raises(InputInvalid, match="an integer of 16610 bits"):
        Range(below=10**5000)


async def test_search_of_an_undefined_class_answers_as_the_table_says(opened: Opened):
    documents = [document_of(state_at(chain(1, f"p{number}", **case[0]))) for number, case in enumerate(CASES)]
    assert set(await opened.ports.documents.write_documents(documents)) == {None}
    names = [document.aggregate_id for document in documents]
    async with asyncio.timeout(120):
        while set(await opened.ports.searches.searchable(names)) != {1}:
            await asyncio.sleep(0.05)
    for _, pointer, value, _ in CASES:
        page = await opened.ports.searches.find_documents(
            Search("shop", "Product", where={pointer: value}, results_max=100)
        )
        expected = sorted(name for name, case in zip(names, CASES, strict=True) if matches(case[0], {pointer: value}))
        assert [document.aggregate_id for document in page.documents] == expected
        counted = await opened.ports.searches.find_documents(
            Search("shop", "Product", where={pointer: value}, results_max=0)
        )
        assert (counted.documents, counted.total, counted.cursor) == ([], len(expected), "")


@pytest.fixture
def world() -> World:
    return World()


RANGES: list[tuple[str, Any]] = [
    ("/v", Range(at_least=0, below=10)),
    ("/w", Range(above=0.0005)),
    ("/v/w", Range(at_most=-1)),
]
SCHEMAS: list[dict[str, Any] | None] = [
    None,  # undefined: one flattened field
    {"type": "object"},
    {"type": "object", "properties": {"v": {"type": "object", "additionalProperties": TEXT}, "w": NUMBER}},
    schema(v=TEXT, w=NUMBER, a={"type": "string", "format": "date-time"}),  # closed: most data is unfit
    {"type": "object", "properties": {"v": {"type": "integer"}, "a": schema(b=TEXT)}},
]


@pytest.mark.integration
@pytest.mark.usefixtures("environment")
def test_searches_and_hops_agree_with_the_filter_function(request: pytest.FixtureRequest):
    """Searches and hops on drawn data in indices of every kind: flattened, typed, typed with data that does not fit."""
    numbers, asked, ordered = count(1), count(), count()
    chosen: Settings = request.getfixturevalue("settings")

    async def agree(root: dict[str, Any] | None, drawn: list[dict[str, Any]], where: list[tuple[str, Any]]) -> None:
        async with patient_stores(chosen) as stores:
            name = AggregateId.of_class("shop", f"F{next(numbers)}")
            index_schema = IndexSchema(REFERENCE, typed_mapping(root)) if root else IndexSchema()
            index = await stores.ports.indices.create_index(name, index_schema, first=True)
            documents = [_document(name, f"p{number:02}", data, index_schema) for number, data in enumerate(drawn)]
            assert set(await stores.ports.documents.write_documents(documents)) == {None}
            hub = AggregateId.of("shop", "Hub", name.instance_key)
            held = {document.aggregate_id for document in documents}
            nodes = [GraphNode(hub, 1, 1, deleted=False, edges=edge_map({"holds": held}))]
            nodes += [GraphNode(each, 1, 1, deleted=False) for each in sorted(held, key=str)]
            assert set(await stores.ports.graph.write_nodes(nodes)) == {None}
            hops = GraphReader(stores.ports.graph, stores.ports.documents, _ways_to(name.instance_key))
            client = stores.elasticsearch.client
            await client.indices.refresh(index=index.name)
            for pointer, value in [*where, *RANGES]:
                search = Search("shop", name.instance_key, where={pointer: value}, results_max=100)
                page = await stores.ports.searches.find_documents(search)
                found = [document.body["data"] for document in page.documents]
                assert found == [data for data in drawn if matches(data, {pointer: value})], (root, pointer, value)
                next(asked)
            for pointer, value in [*where, *RANGES]:
                answer = await hops.walk([hub], [Hop("holds", where={pointer: value})], ends_max=100)
                found = [answer.documents[path[-1]].body["data"] for path in answer.paths]
                assert found == [data for data in drawn if matches(data, {pointer: value})], (root, pointer, value)
                assert not answer.cut
            for at in dict.fromkeys(pointer for pointer, _ in where[-ORDERS_MAX:]):
                sort = [f"-{at}", "/v"] if next(ordered) % 2 and at != "/v" else [at]
                assert await _sorted(stores.ports.searches, name, sort) == in_order(drawn, sort), (root, sort)
            await client.indices.delete(index=index.name)

    filters = st.lists(st.tuples(pointers, scalars | ranges), min_size=5, max_size=20)

    @given(st.sampled_from(SCHEMAS), st.lists(objects, min_size=5, max_size=20), filters)
    @settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    def hold(root: dict[str, Any] | None, drawn: list[dict[str, Any]], where: list[tuple[str, Any]]) -> None:
        data = [normalised(each) for each in drawn]
        there = [(pointer_of([key]), value) for each in data for key, value in each.items()]
        present = [(pointer, value) for pointer, value in there if not isinstance(value, dict | list)]
        asyncio.run(agree(root, data, where + present))

    hold()
    assert next(asked) > 100
    assert next(ordered) > 20


async def _sorted(searches: Searches, name: AggregateId, sort: list[str]) -> list[Any]:
    """Return the data of all pages in their order."""
    search, found = Search("shop", name.instance_key, sort=sort, results_max=7), list[Any]()
    page = await searches.find_documents(search)
    while True:
        found += [document.body["data"] for document in page.documents]
        if not page.cursor:
            return found
        page = await searches.find_documents(replace(search, cursor=page.cursor))


def in_order(drawn: list[dict[str, Any]], sort: list[str]) -> list[Any]:
    """Return data as the table of ``docs/reading.md`` orders it; ``drawn``: in the order of its IDs."""
    found = list(drawn)
    for key in reversed(sort):
        names = [name.replace("~1", "/").replace("~0", "~") for name in key.removeprefix("-").split("/")[1:]]
        values = [_sortable(data, names) for data in drawn]
        best = min if key[0] == "/" else max
        ranks = {id(data): best(each) for data, each in zip(drawn, values, strict=True) if each}
        with_value = [data for data in found if id(data) in ranks]
        with_value.sort(key=lambda data: ranks[id(data)], reverse=key[0] == "-")
        found = with_value + [data for data in found if id(data) not in ranks]
    return found


def _sortable(value: Any, names: list[str]) -> list[tuple[int, Any]]:
    """Return the values at a path that have an order, each after the rank of its type."""
    if isinstance(value, list):
        return [each for item in value for each in _sortable(item, names)]
    if names:
        return _sortable(value[names[0]], names[1:]) if isinstance(value, dict) and names[0] in value else []
    if value is None or isinstance(value, dict):
        return []
    rank = 0 if isinstance(value, bool) else 2 if isinstance(value, str) else 1
    return [(rank, value[:100] if isinstance(value, str) else value)]


async def _write(opened: Opened, rows: list[dict[str, Any]]) -> None:
    """Write instances with this data, in the order of their IDs, and wait until searches find them."""
    documents = [document_of(state_at(chain(1, f"p{number:02}", **data))) for number, data in enumerate(rows)]
    assert set(await opened.ports.documents.write_documents(documents)) == {None}
    async with asyncio.timeout(120):
        while set(await opened.ports.searches.searchable([each.aggregate_id for each in documents])) != {1}:
            await asyncio.sleep(0.05)


NUMBERS = [-(2**53) + 1, -1.5, -1e-7, 0, 5e-324, 9, 10, 1e21]
ORDERED: list[Any] = [False, True, *NUMBERS, "", "10", "9", "Z", "a", "\uffff", "\U0001f600"]


async def test_order_is_that_of_the_table(opened: Opened):
    rows = [{"v": value} for value in ORDERED] + [{"v": None}, {"v": {"w": 1}}, {"v": []}, {}]
    mixed = list(enumerate(rows))[::-2] + list(enumerate(rows))[-2::-2]
    await _write(opened, [{"at": at, **data} for at, data in mixed])
    last = set(range(len(ORDERED), len(rows)))
    forwards, backwards = await _places(opened, "/v"), await _places(opened, "-/v")
    assert forwards[: len(ORDERED)] == list(range(len(ORDERED)))
    assert backwards[: len(ORDERED)] == forwards[: len(ORDERED)][::-1]
    assert forwards[len(ORDERED) :] == backwards[len(ORDERED) :]
    assert set(forwards[len(ORDERED) :]) == last
    assert await _places(opened, "/nothing", "-/at") == list(range(len(rows)))[::-1]


async def test_long_texts_sort_by_their_first_100_characters(opened: Opened):
    long = "\U0001f600" * 99
    texts = [f"{long}bb", f"{long}ba", f"{long}a" + "z" * 5_000, long]
    await _write(opened, [{"at": at, "v": text} for at, text in enumerate(texts)])
    assert await _places(opened, "/v") == [3, 2, 0, 1]
    assert await _places(opened, "-/v") == [0, 1, 2, 3]


async def test_paths_beyond_the_bound_sort_as_absent(opened: Opened):
    many = {f"m{number:03}": -1 for number in range(997)}  # besides "at" and "n", before "y" and "z"
    await _write(opened, [{"at": 0, **many, "y": 1, "z": 0}, {"at": 1, "y": 2, "z": 1}, {"at": 2, "y": 0, "z": 2}])
    assert await _places(opened, "/y") == [2, 0, 1]
    assert await _places(opened, "/z") == [1, 2, 0]


async def _places(opened: Opened, *sort: str) -> list[int]:
    """Return the member ``at`` of all instances in their order."""
    found = await _sorted(opened.ports.searches, AggregateId.of_class("shop", "Product"), [*sort])
    return [data["at"] for data in found]


@pytest.mark.parametrize(
    ("sort", "reason"),
    [
        ([""], "found the root"),
        (["price"], "^sort 'price': .*begins with '/'.*; write /name, or -/name for descending order$"),
        (["-/a~2"], "expected ~0 or ~1 after '~'"),
        (["/\ud800"], "lone surrogate"),
        ([1], "expected JSON Pointers as texts, found int"),
        (["/a", "-/a"], "each pointer once"),
        (["/a", "/b", "/c", "/d", "/e"], "at most 4 pointers, found 5"),
        ("/a", "put it in a list"),
    ],
)
def test_order_that_makes_no_sense_is_refused(sort: Any, reason: str):
    with pytest.raises(InputInvalid, match=reason):
        Search("shop", "Product", sort=sort)


def test_cursor_of_another_order_is_of_another_search():
    digests = {Search("shop", "Product", sort=sort).digest for sort in ([], ["/a"], ["-/a"], ["/a", "/b"])}
    assert len(digests) == 4


@pytest.mark.integration
@pytest.mark.parametrize(("suffix", "asked"), [("", {"where": {"/v": 10}}), (".ordered", {"sort": ["/v"]})])
async def test_index_of_an_earlier_release_is_refused_until_reindexed(
    settings: Settings, suffix: str, asked: dict[str, Any]
):
    """An index of this kind has no terms: an answer by them would leave all of its documents out."""
    name, question = AggregateId.of_class("shop", "Product"), Search("shop", "Product", **asked)
    async with patient_stores(settings, prepared=False) as stores:
        (document,) = [_document(name, "p1", {"v": 10}, IndexSchema())]
        alias = stores.documents.alias_of(document.aggregate_id)
        properties = {
            key: kind for key, kind in MAPPINGS["properties"].items() if not key.startswith((EXACT, SORTABLE))
        }
        await stores.elasticsearch.client.indices.create(
            index=f"{alias}.000001{suffix}",
            aliases={alias: {"is_write_index": True}},
            mappings={**MAPPINGS, "properties": properties},
        )
        await stores.documents.prepare()
        assert await stores.ports.documents.write_documents([document]) == [None]
        await stores.elasticsearch.client.indices.refresh(index=alias)
        with pytest.raises(ContainerUnusable, match=r"earlier release.*; run oncelog class reindex shop/Product$"):
            await stores.ports.searches.find_documents(question)
        assert (await stores.ports.searches.find_documents(Search("shop", "Product"))).total == 1
        old = await stores.ports.indices.current_index(name)
        assert old is not None
        assert not old.exact
        new = await stores.ports.indices.create_index(name, IndexSchema(), first=False)
        assert new.name == f"{alias}.000001.sortable"
        assert await stores.ports.index_contents.copy_documents(new, [document]) == [None]
        await stores.ports.index_contents.changed_documents(old, after=-1, close=True)
        assert await stores.ports.indices.switch_alias(name, old, new)
        assert (await stores.ports.searches.find_documents(question)).documents == [document]


async def test_reindexing_gives_an_undefined_class_exact_terms(world: World):
    process, name = world.process(), AggregateId.of_class("shop", "Product")
    assert (await process.run(create("p1", {"v": 10}))).outcome is Outcome.APPLIED
    before = world.documents.generations["shop.product"]
    before.index = replace(before.index, exact=False)
    assert "earlier release" in str(await process.pipeline.reindexer.stale_reason(name))
    assert (await process.pipeline.reindexer.run(name)).startswith(
        "1 documents copied into shop.product.000001.sortable"
    )
    assert await process.pipeline.reindexer.stale_reason(name) is None
    assert world.documents.generations["shop.product"].documents["p1"].body["data"] == {"v": 10}
    assert (await process.run(create("p2", {"v": 10}))).outcome is Outcome.APPLIED
    world.check()


@pytest.mark.parametrize("definition", [None, FIRST])
async def test_check_renews_indices_of_an_earlier_release(world: World, definition: dict[str, Any] | None):
    process = world.process()
    if definition:
        assert (await process.run(define(definition))).outcome is Outcome.APPLIED
        await process.pipeline.reindexer.run(AggregateId.of_class("shop", "Product"))
    assert (await process.run(create("p1", {"name": "10"}))).outcome is Outcome.APPLIED
    before = world.documents.generations["shop.product"]
    before.index = replace(before.index, exact=False)
    looked = await sweep(world, LOOK_ONLY)
    assert any("earlier release" in finding.what or "definition" in finding.what for finding in looked.findings)
    assert not world.documents.generations["shop.product"].index.exact
    assert (await sweep(world)).reindexed == 1
    assert world.documents.generations["shop.product"].index.exact
    assert (await sweep(world)).reindexed == 0
    world.check_shown()


@pytest.mark.parametrize("terms", [[], ["/v", "/v=11"]])
def test_verification_finds_terms_that_do_not_fit_the_data(terms: list[str]):
    document = _document(AggregateId.of_class("shop", "Product"), "p1", {"v": 10}, IndexSchema())
    stored = as_indexed(document.body)
    assert as_verified(stored) == document.body
    assert as_verified({**stored, EXACT: terms}) != document.body


@pytest.mark.parametrize("texts", [{}, {"/v": ["n0"]}, None, ["/v"]])
def test_verification_finds_sort_texts_that_do_not_fit(texts: Any):
    document = _document(AggregateId.of_class("shop", "Product"), "p1", {"v": 10}, IndexSchema())
    assert as_verified({**as_indexed(document.body), SORTABLE: texts}) != document.body


def _ways_to(class_id: str) -> RelationshipNamesOf:
    """Return what is walked by name where a hub holds instances of the class."""
    holds = Relationship(target_class=class_id, cardinality="many", path="/holds")
    hub = ClassDefinition(version="1.0.0", json_schema={"type": "object"}, relationships={"holds": holds})

    async def ways(db_name: str) -> RelationshipNames:
        return RelationshipNames(db_name, {"Hub": hub})

    return ways


def _document(name: AggregateId, key: str, data: dict[str, Any], index_schema: IndexSchema) -> Document:
    document = document_of(state_at(chain(1, key, x=1)))
    aggregate_id = AggregateId(name.db_name, name.instance_key, key)
    body = {**document.body, "aggregate_id": str(aggregate_id), "class_id": name.instance_key, "data": data}
    return replace(document, aggregate_id=aggregate_id, body=body, document_schema=index_schema.definition)
