"""An index that is gone is an error that names it; a class or graph that never had anything is empty."""

from datetime import UTC, datetime, timedelta

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Search
from oncelog.errors import StoreUnavailable
from oncelog.query.hops import Hop
from oncelog.query.reader import Reader
from tests.classes import define
from tests.commands import create
from tests.query.test_reader import LINKED
from tests.write.world import World

PLACE = AggregateId.of("shop", "Product", "p1")


@pytest.fixture
async def world() -> World:
    """One product, committed an hour ago."""
    world = World()
    world.bucket.clock = lambda: datetime.now(UTC) - timedelta(hours=1)
    await world.process().run(define(LINKED))
    await world.process().run(create())
    return world


def _reader(world: World) -> Reader:
    process = world.process()
    return Reader(process.ports, process.pipeline.reader)


async def test_missing_document_index_is_named_with_its_remedy(world: World):
    reader = _reader(world)
    world.documents.clear()
    message = (
        r"alias instances\.shop\.product, but the log has shop/Product/p1; run oncelog check --repair --db shop "
        "--class Product"
    )
    with pytest.raises(StoreUnavailable, match=message):
        await reader.get(PLACE)
    with pytest.raises(StoreUnavailable, match=message):
        await reader.search(Search("shop", "Product"))
    with pytest.raises(StoreUnavailable, match=message):
        await reader.shortest_path(PLACE, PLACE)


async def test_missing_graph_is_named_with_its_remedy(world: World):
    reader = _reader(world)
    world.graph.nodes.clear()
    message = r"behind graph\.shop, but the log has shop/Product/p1; run oncelog check --repair --db shop"
    with pytest.raises(StoreUnavailable, match=message):
        await reader.walk([PLACE], [Hop("made_by")])
    with pytest.raises(StoreUnavailable, match=message):
        await reader.shortest_path(PLACE, PLACE)


async def test_class_without_instances_is_empty(world: World):
    reader = _reader(world)
    assert await reader.get(AggregateId.of("shop", "Order", "o1")) is None
    assert await reader.get(AggregateId.of("shop", "Product", "p9")) is None
    assert (await reader.search(Search("shop", "Order"))).total == 0


async def test_index_of_a_class_that_just_began_may_be_missing(world: World):
    world.bucket.clock = lambda: datetime.now(UTC)
    other = AggregateId.of("fresh", "Product", "p1")
    await world.process().run(create(db_name="fresh"))
    world.documents.clear()
    assert await _reader(world).get(other) is None
    assert (await _reader(world).search(Search("fresh", "Product"))).total == 0
