"""Reads with tokens, and as of a version or a time, on servers in memory."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from factline.domain.graph import GraphNode
from factline.domain.identifiers import AggregateId
from factline.domain.queries import Search
from factline.domain.tokens import make_token, merge_tokens
from factline.errors import InputInvalid, NotYetVisible, TokenInvalid
from factline.reading.graph import Hop
from factline.reading.reader import Reader
from tests.commands import create, delete, update
from tests.pipeline.world import World

PLACE = AggregateId.parse("shop/Product/p1")
FAR = AggregateId.parse("shop/Maker/m1")


def _reader(world: World) -> Reader:
    process = world.process()
    return Reader(process.ports, process.pipeline.reader)


def _token(**numbers: int) -> str:
    return merge_tokens([make_token({f"shop/Product/{name}": number}) for name, number in numbers.items()])


async def test_a_search_shows_what_its_token_names_or_says_where_it_stands():
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
    token = merge_tokens([make_token({"shop/Order/o1": 7}), make_token({"shop/Maker/m1": 7})])
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


@pytest.mark.parametrize("hop", [Hop("made_by"), Hop("made_by", inward=True)])
async def test_the_graph_shows_what_a_token_names_or_says_where_it_stands(hop: Hop):
    world = World()
    start, end = (FAR, PLACE) if hop.inward else (PLACE, FAR)
    await world.graph.write([GraphNode(PLACE, 2, 1, False, {"made_by": (FAR,)}), GraphNode(FAR, 1)])
    reader = _reader(world)
    assert (await reader.walk([start], [hop], token=_token(p1=2))).paths == [(start, end)]
    path = await reader.shortest_path(start, end, predicates=["made_by"], both_ways=True, token=_token(p1=2))
    assert path.paths == [(start, end)]
    for asking in (
        reader.walk([start], [hop], token=_token(p1=3), deadline_s=0.05),
        reader.shortest_path(start, end, token=_token(p1=3), deadline_s=0.05),
    ):
        with pytest.raises(NotYetVisible, match=r"the graph: expected within .* shop/Product/p1 at version 3, found 2"):
            await asking


@pytest.mark.parametrize("token", ["1.x.y", "", "2.e30.0"])
async def test_a_forged_token_is_refused(token: str):
    reader = _reader(World())
    with pytest.raises(TokenInvalid):
        await reader.search(Search("shop", "Product"), token=token)
    with pytest.raises(TokenInvalid):
        await reader.walk([PLACE], [Hop("made_by")], token=token)


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
