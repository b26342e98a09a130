"""Reads with tokens, and as of a version or a time, on servers in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from oncelog.domain.dead_letters import DeadLetterKind
from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Search
from oncelog.domain.tokens import make_token, merge_tokens
from oncelog.errors import InputInvalid, NotYetVisible, ProjectionParked, StoreUnavailable, TokenInvalid
from oncelog.query.hops import Hop
from oncelog.query.reader import Reader
from oncelog.read_models.parking import Parking
from oncelog.settings import Settings
from oncelog.testing.memory.s3 import MemoryDeadLetters
from tests.classes import define, retire
from tests.commands import create, delete, update
from tests.write.world import World

PLACE = AggregateId.parse("shop/Product/p1")
FAR = AggregateId.parse("shop/Maker/m1")


def _reader(world: World) -> Reader:
    process = world.process()
    return Reader(process.ports, process.pipeline.reader)


LINKED: dict[str, Any] = {
    "version": "1.0.0",
    "schema": {"type": "object"},
    "relationships": {
        "made_by": {"target_class": "Maker", "cardinality": "one", "path": "/maker", "inverse": "products"}
    },
}


async def _linked() -> World:
    """Products that refer to their makers."""
    world = World()
    await world.process().run(define(LINKED))
    return world


def _token_of(aggregate_id: str, number: int) -> str:
    return make_token({aggregate_id: number}, installation=World().settings.installation)


def _token(**numbers: int) -> str:
    return merge_tokens([_token_of(f"shop/Product/{name}", number) for name, number in numbers.items()])


async def test_search_with_a_token_waits_or_says_where_it_is():
    world = World()
    result = await world.process().run(create())
    reader = _reader(world)
    page = await reader.search(Search("shop", "Product"), token=result.consistency_token)
    assert [document.sequence_number for document in page.documents] == [1]
    wanted = _token(p1=2, p9=1, p8=1, p7=1)
    with pytest.raises(NotYetVisible, match=r"search of shop/Product: expected within 0\.05 s .* and 1 more") as raised:
        await reader.search(Search("shop", "Product"), token=wanted, deadline_s=0.05)
    assert raised.value.details["expected"]["shop/Product/p1"] == 2
    assert raised.value.details["found"]["shop/Product/p1"] == 1


async def test_of_a_token_only_what_is_asked_about_counts():
    world = World()
    token = merge_tokens([_token_of("shop/Order/o1", 7), _token_of("shop/Maker/m1", 7)])
    page = await _reader(world).search(Search("shop", "Product"), token=token, deadline_s=0)
    assert page.documents == []


async def test_a_read_goes_on_as_soon_as_it_is_shown():
    world = World()
    process = world.process()
    await process.run(create())
    reader = _reader(world)
    searching = asyncio.create_task(reader.search(Search("shop", "Product", where={"/n": 1}), token=_token(p1=2)))
    await asyncio.sleep(0)
    assert not searching.done()
    await process.run(update())
    assert [document.sequence_number for document in (await searching).documents] == [2]


@pytest.mark.parametrize("hop", [Hop("made_by"), Hop("made_by", inward=True), Hop("products")])
async def test_graph_with_a_token_waits_or_says_where_it_is(hop: Hop):
    world = await _linked()
    start, end = (PLACE, FAR) if hop == Hop("made_by") else (FAR, PLACE)
    process = world.process()
    await process.run(create())
    await process.run(update())
    await world.graph.write_nodes([GraphNode(PLACE, 2, 2, False, {"made_by": (FAR,)}), GraphNode(FAR, 1)])
    reader = _reader(world)
    assert (await reader.walk([start], [hop], token=_token(p1=2))).paths == [(start, end)]
    path = await reader.shortest_path(start, end, names=["made_by"], both_ways=True, token=_token(p1=2))
    assert path.paths == [(start, end)]
    for asking in (
        reader.walk([start], [hop], token=_token(p1=3), deadline_s=0.05),
        reader.shortest_path(start, end, token=_token(p1=3), deadline_s=0.05),
    ):
        with pytest.raises(NotYetVisible, match=r"the graph: expected within .* shop/Product/p1 at version 3, found 2"):
            await asking


async def test_an_answer_of_the_graph_waits_for_its_documents_as_well():
    """Else a filter on data that is behind would leave out what a token names, and nothing would say so."""
    world = await _linked()
    process = world.process()
    for command in (create(payload={"maker": "m1"}), create("p2")):
        await process.run(command)
    await world.graph.write_nodes([GraphNode(PLACE, 2, 2, False, {"made_by": (FAR,)}), GraphNode(FAR, 1)])
    reader = _reader(world)
    for asking in (
        reader.walk([PLACE], [Hop("made_by")], token=_token(p1=2), deadline_s=0.05),
        reader.shortest_path(PLACE, FAR, token=_token(p1=2), deadline_s=0.05),
    ):
        with pytest.raises(NotYetVisible, match=r"the documents: expected .* shop/Product/p1 at version 2, found 1"):
            await asking
    await process.run(update())
    answer = await reader.walk([PLACE], [Hop("made_by")], token=_token(p1=2), deadline_s=0)
    assert answer.paths == [(PLACE, FAR)]


async def test_token_counts_only_instances_of_the_graphs_database():
    world = await _linked()
    await world.graph.write_nodes([GraphNode(PLACE, 1, 1, False, {"made_by": (FAR,)}), GraphNode(FAR, 1)])
    token = merge_tokens([_token_of("shop/_class/Product", 7), _token_of("other/Maker/m1", 7)])
    answer = await _reader(world).walk([PLACE], [Hop("made_by")], token=token, deadline_s=0)
    assert answer.paths == [(PLACE, FAR)]


async def test_names_are_those_of_the_newest_definitions():
    world = World()
    process = world.process()
    reader = _reader(world)
    with pytest.raises(InputInvalid, match="classes defined there: none"):
        await reader.walk([FAR], [Hop("products")])
    unnamed = {"made_by": {"target_class": "Maker", "cardinality": "one", "path": "/maker"}}
    await process.run(define({**LINKED, "relationships": unnamed}))
    await process.run(create(payload={"name": "Lamp", "maker": "m1"}))
    await world.graph.write_nodes([GraphNode(FAR, 1)])
    with pytest.raises(InputInvalid, match=r"expected one of \^made_by:Product, found no such name"):
        await reader.walk([FAR], [Hop("products")])
    await process.run(define({**LINKED, "version": "1.1.0"}))
    await process.run(retire())
    assert (await reader.walk([FAR], [Hop("products")])).paths == [(FAR, PLACE)]


def _parking(world: World, read_model: str) -> Parking:
    return Parking(read_model=read_model, dead_letters=MemoryDeadLetters(world.bucket), failures=world.failures)


def _questions(reader: Reader, token: str) -> dict[str, Callable[[], Awaitable[object]]]:
    """Each of them waits as good as for ever, so that what is raised is raised at once."""
    deadline_s = 3_600.0
    return {
        "get": lambda: reader.get(PLACE, token=token, deadline_s=deadline_s),
        "search": lambda: reader.search(Search("shop", "Product"), token=token, deadline_s=deadline_s),
        "walk": lambda: reader.walk([PLACE], [Hop("made_by")], token=token, deadline_s=deadline_s),
        "walk back": lambda: reader.walk([FAR], [Hop("products")], token=token, deadline_s=deadline_s),
        "path": lambda: reader.shortest_path(PLACE, FAR, token=token, deadline_s=deadline_s),
    }


READ_MODELS = [("documents", ["get", "search", "walk", "walk back", "path"]), ("graph", ["walk", "walk back", "path"])]


@pytest.mark.parametrize(("read_model", "asked"), READ_MODELS)
async def test_parked_aggregate_is_reported_at_once_in_its_read_model(read_model: str, asked: list[str]):
    world = await _linked()
    process = world.process()
    await process.run(create())
    parking = _parking(world, read_model)
    await parking.park(PLACE, sequence_number=2, error=InputInvalid("it can never be taken"))
    token = _token(p1=2)
    for name in asked:
        with pytest.raises(ProjectionParked) as raised:
            async with asyncio.timeout(60):
                await _questions(_reader(world), token)[name]()
        for part in ("aggregate shop/Product/p1", f"to {read_model} is parked at version 2", "it can never be taken"):
            assert part in raised.value.message
        option = " --read-model graph" if read_model == "graph" else ""
        assert f"oncelog dead-letters retry shop/Product/p1{option}" in raised.value.message
        assert raised.value.details["read_model"] == read_model
    await process.run(update())  # the graph is written beside the parked documents, and the other way round
    await parking.write(DeadLetterKind.RETRYING, PLACE, by="ann", reason="mended")
    for question in _questions(_reader(world), token).values():
        async with asyncio.timeout(60):
            await question()


async def test_parked_aggregate_holds_up_only_queries_beyond_it():
    world = await _linked()
    process = world.process()
    await process.run(create())
    for name in ("documents", "graph"):
        await _parking(world, name).park(PLACE, sequence_number=2, error=InputInvalid("never"))
    for question in _questions(_reader(world), _token(p1=1)).values():
        await question()


@pytest.mark.parametrize(("read_model", "asked"), READ_MODELS)
async def test_what_is_paused_or_skipped_is_said_as_that(read_model: str, asked: list[str]):
    world = await _linked()
    process = world.process()
    await process.run(create())
    parking = _parking(world, read_model)
    await parking.write(DeadLetterKind.PAUSED, PLACE, by="ann", reason="an audit")
    option = " --read-model graph" if read_model == "graph" else ""
    for name in asked:
        with pytest.raises(ProjectionParked, match=f"is paused by ann since .*: an audit; .* resume {PLACE}{option}"):
            await _questions(_reader(world), _token(p1=2))[name]()
    await parking.write(DeadLetterKind.RETRYING, PLACE, by="ann", reason="resume")
    await parking.park(PLACE, sequence_number=2, error=InputInvalid("never"))
    await parking.write(DeadLetterKind.SKIPPED, PLACE, by="bob", reason="of no use")
    await parking.write(DeadLetterKind.RESOLVED, PLACE, by="bob", reason="skipped")
    for name in asked:
        with pytest.raises(
            ProjectionParked, match=r"was skipped by bob at version 2 since .*: of no use; read without"
        ):
            await _questions(_reader(world), _token(p1=2))[name]()


async def test_of_many_that_are_not_shown_the_parked_one_is_found():
    world = World()
    names = [f"p{number}" for number in range(40)]
    await _parking(world, "documents").park(
        AggregateId.of("shop", "Product", "p33"), sequence_number=1, error=InputInvalid("never")
    )
    with pytest.raises(ProjectionParked, match="aggregate shop/Product/p33"):
        async with asyncio.timeout(60):
            await _reader(world).search(
                Search("shop", "Product"), token=_token(**dict.fromkeys(names, 1)), deadline_s=3_600
            )


async def test_bulk_command_without_token_is_waited_for():
    world = World()
    await world.process().run(create())
    reader = _reader(world)
    await reader.until_visible({PLACE: 1}, deadline_s=0)
    await reader.until_visible({}, deadline_s=0)
    world.graph.nodes.clear()
    with pytest.raises(NotYetVisible, match=r"the graph: expected .* shop/Product/p1 at version 1, found 0"):
        await reader.until_visible({PLACE: 1}, deadline_s=0)
    await world.graph.write_nodes([GraphNode(PLACE, 2)])
    with pytest.raises(NotYetVisible, match=r"search: expected .* shop/Product/p1 at version 2, found 1"):
        await reader.until_visible({PLACE: 2}, deadline_s=0)


async def test_silent_server_is_waited_for_and_then_named():
    world = await _linked()
    process = world.process()
    await process.run(create())
    world.documents.available = world.graph.available = False
    reader = _reader(world)
    for asking in (
        reader.get(PLACE, token=_token(p1=1), deadline_s=0.05),
        reader.search(Search("shop", "Product"), token=_token(p1=1), deadline_s=0.05),
        reader.walk([PLACE], [Hop("made_by")], token=_token(p1=1), deadline_s=0.05),
    ):
        with pytest.raises(StoreUnavailable):
            await asking
    questions = _questions(reader, _token(p1=1)).values()
    waiting = [asyncio.ensure_future(question()) for question in questions]
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    world.documents.available = world.graph.available = True
    async with asyncio.timeout(60):
        await asyncio.gather(*waiting)


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("", "expected one of ours"),
        (_token(p1=1)[:-1], "altered or cut short"),
        (_token(p1=1).replace("2.", "1.", 1), "of an older release; read without it"),
        (_token(p1=1).replace("2.", "3.", 1), "of a newer release; upgrade"),
        (
            make_token({"shop/Product/p1": 1}, installation=Settings(namespace="other").installation),
            "another namespace",
        ),
        (make_token({"Product": 1}, installation=Settings().installation), "pass it unchanged"),
    ],
)
async def test_a_token_that_is_none_of_this_installation_is_refused(token: str, reason: str):
    reader = _reader(World())
    for asking in (
        reader.get(PLACE, token=token),
        reader.search(Search("shop", "Product"), token=token),
        reader.walk([PLACE], [Hop("made_by")], token=token),
        reader.shortest_path(PLACE, FAR, token=token),
    ):
        with pytest.raises(TokenInvalid, match=reason):
            await asking


NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


async def test_an_instance_is_shown_as_of_a_version_or_a_time():
    world = World()
    process = world.process()
    times = [NOON, NOON + timedelta(hours=2), NOON + timedelta(hours=1), NOON + timedelta(hours=3)]
    for command, time in zip([create(), update(), update(payload={"m": 2}), delete()], times, strict=True):
        await process.commit(command, occurred_at=time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    reader = _reader(world)

    async def version_at(time: datetime) -> int | None:
        document = await reader.as_of(PLACE, time=time)
        return document.sequence_number if document else None

    assert await version_at(NOON - timedelta(microseconds=1)) is None
    assert await version_at(NOON) == 1
    assert await version_at(NOON + timedelta(hours=1)) == 3  # a clock went back: the last one counts that was not later
    assert await version_at(NOON + timedelta(hours=9)) == 4
    second = await reader.as_of(PLACE, version=2)
    assert second is not None
    assert (second.body["data"], second.body["deleted"]) == ({"n": 1}, False)
    last = await reader.as_of(PLACE, version=4)
    assert last is not None
    assert last.body["deleted"]
    assert await reader.as_of(PLACE, version=0) is None
    with pytest.raises(InputInvalid, match="a version up to 4, found 5"):
        await reader.as_of(PLACE, version=5)
    with pytest.raises(InputInvalid, match="offset from UTC"):
        await reader.as_of(PLACE, time=datetime(2026, 1, 1))  # noqa: DTZ001 - that is what is refused
    with pytest.raises(InputInvalid, match="either a version or a time"):
        await reader.as_of(PLACE)


async def test_a_time_is_found_in_a_long_stream():
    world = World()
    process = world.process()
    for number in range(150):
        command = create() if number == 0 else update(payload={"n": number})
        time = NOON + timedelta(minutes=number)
        await process.commit(command, occurred_at=time.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))
    for number in (1, 21, 22, 23, 86, 87, 149, 150):
        document = await _reader(world).as_of(PLACE, time=NOON + timedelta(minutes=number - 1, seconds=30))
        assert document is not None
        assert (document.sequence_number, document.body["data"]) == (number, {"n": number - 1})
