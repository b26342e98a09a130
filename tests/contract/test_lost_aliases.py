"""A lost alias leads to the index again that readers saw, and no index is made beside it."""

from collections.abc import AsyncIterator

import pytest
from elasticsearch import AsyncElasticsearch

from oncelog.domain.graph import GraphNode, edge_map
from oncelog.domain.identifiers import AggregateId
from oncelog.ports import IndexSchema, StaleIndex
from oncelog.settings import Settings
from oncelog.stores.elasticsearch import ElasticsearchGraph
from oncelog.stores.opening import Stores
from tests.clients import patient_stores
from tests.contract.conftest import Opened
from tests.contract.test_document_indices import NAME, NEXT, TYPED, document, everything, read

PLACE = AggregateId("shop", "Product", "p1")


async def test_lost_alias_leads_to_its_index_again(opened: Opened):
    made = await opened.ports.indices.create_index(NAME, TYPED, first=True)
    assert await opened.ports.documents.write_documents([document("p1", name="Lamp")]) == [None]
    await opened.drop_alias(PLACE)
    assert await opened.ports.indices.current_index(NAME) is None
    assert await opened.ports.indices.create_index(NAME, NEXT, first=True) == made, "of the form that it has"
    assert await opened.ports.indices.current_index(NAME) == made
    assert await read(opened) == document("p1", name="Lamp")


async def test_lost_alias_of_an_undefined_class_is_put_back(opened: Opened):
    assert await opened.ports.documents.write_documents([document("p1", index_schema=IndexSchema(), n=1)]) == [None]
    await opened.drop_alias(PLACE)
    assert await read(opened) is None  # here it is noticed
    assert await opened.ports.documents.write_documents([document("p2", index_schema=IndexSchema(), n=2)]) == [None]
    assert await read(opened) == document("p1", n=1)
    assert await read(opened, "p2") == document("p2", n=2)


async def test_document_of_a_lost_alias_of_another_form_waits(opened: Opened):
    await opened.ports.indices.create_index(NAME, TYPED, first=True)
    await opened.drop_alias(PLACE)
    assert await read(opened) is None
    (outcome,) = await opened.ports.documents.write_documents([document("p1", index_schema=IndexSchema())])
    assert isinstance(outcome, StaleIndex)
    found = await opened.ports.indices.current_index(NAME)
    assert found is not None
    assert found.definition == TYPED.definition


async def test_alias_lost_during_a_reindex_leads_to_the_old(opened: Opened):
    indices = opened.ports.indices
    contents = opened.ports.index_contents
    old = await indices.create_index(NAME, TYPED, first=True)
    await opened.ports.documents.write_documents([document("p1"), document("p2")])
    new = await indices.create_index(NAME, NEXT, first=False)
    await contents.copy_documents(new, [document("p1")])
    await opened.drop_alias(PLACE)
    assert await indices.create_index(NAME, NEXT, first=True) == old


async def test_alias_lost_after_a_switch_leads_to_the_new(opened: Opened):
    indices = opened.ports.indices
    contents = opened.ports.index_contents
    old = await indices.create_index(NAME, TYPED, first=True)
    await opened.ports.documents.write_documents([document("p1")])
    new = await indices.create_index(NAME, NEXT, first=False)
    await contents.copy_documents(new, [document("p1")])
    await everything(opened, old, close=True)
    assert await indices.switch_alias(NAME, old, new)
    await opened.drop_alias(PLACE)
    assert await indices.create_index(NAME, NEXT, first=True) == new


@pytest.fixture
async def stores(settings: Settings) -> AsyncIterator[Stores]:
    async with patient_stores(settings) as stores:
        yield stores


async def _lose(client: AsyncElasticsearch, alias: str) -> None:
    await client.indices.delete_alias(index=f"{alias}.*", name=alias)


@pytest.mark.integration
async def test_index_that_was_left_is_not_seen_again(stores: Stores):
    """The index that readers saw is gone: the one before it, closed for writing, has not what came since."""
    indices, client = stores.ports.indices, stores.elasticsearch.client
    contents = stores.ports.index_contents
    old = await indices.create_index(NAME, TYPED, first=True)
    new = await indices.create_index(NAME, NEXT, first=False)
    await contents.changed_documents(old, after=-1, close=True)
    assert await indices.switch_alias(NAME, old, new)
    await client.indices.delete(index=new.name)
    assert await indices.current_index(NAME) is None
    assert await indices.create_index(NAME, NEXT, first=True) == new
    assert (await indices.create_index(NAME, TYPED, first=True)).name == new.name


@pytest.mark.integration
async def test_lost_alias_leads_to_the_pinned_index(stores: Stores, settings: Settings):
    indices, client = stores.ports.indices, stores.elasticsearch.client
    contents = stores.ports.index_contents
    old = await indices.create_index(NAME, TYPED, first=True)
    new = await indices.create_index(NAME, NEXT, first=False)
    await stores.ports.documents.write_documents([document("p1")])
    assert await contents.copy_documents(new, [document("p1")]) == [None]
    await client.indices.put_alias(index=old.name, name=settings.named("pinned.shop.product"))
    await _lose(client, settings.named("instances.shop.product"))
    found = await indices.create_index(NAME, NEXT, first=True)
    assert found == old
    assert found.pinned


@pytest.mark.integration
async def test_lost_alias_of_a_graph_is_put_back(stores: Stores, settings: Settings):
    graph = ElasticsearchGraph(stores.elasticsearch, settings)
    vienna = GraphNode(AggregateId.of("geo", "City", "Vienna"), 1, 1, False, edge_map({}))
    graz = GraphNode(AggregateId.of("geo", "City", "Graz"), 1, 1, False, edge_map({}))
    assert await graph.write_nodes([vienna]) == [None]
    await _lose(stores.elasticsearch.client, graph.alias_of("geo"))
    assert not await graph.graph_exists("geo")
    assert await graph.write_nodes([graz]) == [None]
    assert await graph.read_nodes([vienna.aggregate_id, graz.aggregate_id]) == [vienna, graz]
