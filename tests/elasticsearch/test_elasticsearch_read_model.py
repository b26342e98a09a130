"""A read model in an Elasticsearch index of one's own: its definition, and its documents on the real server."""

from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from oncelog import HandlerFailed, InputInvalid, ReadModel
from oncelog.domain.identifiers import AggregateId
from oncelog.elasticsearch import ElasticsearchPositions, ElasticsearchReadModel
from oncelog.elasticsearch.models import ElasticsearchModel
from oncelog.errors import ObjectRefused
from oncelog.settings import Settings
from oncelog.stores.elasticsearch import ElasticsearchServer
from oncelog.testing.contracts import ReadModelContract
from tests.commands import delete, update
from tests.contract.chains import PLACE, chain, event_of, state_at
from tests.elasticsearch.views import product, products

KEYWORD = {"type": "keyword"}


@pytest.mark.parametrize(
    ("name", "properties", "problem"),
    [
        ("documents", {}, "none of Oncelog's own"),
        ("Products", {}, "in lower case"),
        ("a/b", {}, "read model: name: expected a letter"),
        ("products", {"deleted": KEYWORD}, r"expected other names than Oncelog's, found \['deleted'\]"),
    ],
)
def test_definition_that_cannot_work_is_refused(name: str, properties: dict[str, Any], problem: str):
    with pytest.raises(InputInvalid, match=problem):
        ElasticsearchReadModel(name, product, properties=properties)


@pytest.fixture
async def model(settings: Settings) -> AsyncIterator[ElasticsearchModel]:
    async with ElasticsearchModel(products, settings) as opened:
        await opened.prepare()
        yield opened


@pytest.fixture
async def server(settings: Settings) -> AsyncIterator[ElasticsearchServer]:
    opened = ElasticsearchServer(settings)
    yield opened
    await opened.close()


async def stored(server: ElasticsearchServer, model: ElasticsearchModel) -> Mapping[str, Any] | None:
    (found,) = await server.read([(model.alias, str(PLACE))])
    return found.body if found else None


@pytest.mark.integration
class TestOnServer(ReadModelContract):
    @pytest.fixture
    def read_model(self, model: ElasticsearchModel) -> ReadModel:
        return model

    async def test_document_is_that_of_the_function(self, model: ElasticsearchModel, server: ElasticsearchServer):
        assert await model.project_states([state_at(chain(2))]) == [None]
        fields = {"title": "number 1", "n": 1, "unmapped": {"deep": {"er": 1}}}
        own = {"aggregate_id": str(PLACE), "sequence_number": 2, "deleted": False}
        assert await stored(server, model) == {**fields, **own}
        await server.client.indices.refresh(index=model.alias)
        found = await server.client.search(index=model.alias, query={"term": {"title": "number 1"}})
        assert found["hits"]["total"]["value"] == 1

    async def test_deleted_aggregate_leaves_a_tombstone(self, model: ElasticsearchModel, server: ElasticsearchServer):
        events = chain(1)
        gone = state_at([*events, event_of(state_at(events), delete())])
        assert await model.project_states([gone, state_at(events)]) == [None, None]
        assert await stored(server, model) == {"aggregate_id": str(PLACE), "sequence_number": 2, "deleted": True}
        assert await model.projected_versions([PLACE]) == [2]

    async def test_failing_state_leaves_others_projected(self, model: ElasticsearchModel):
        bad, unfit = (
            state_at([*events, event_of(state_at(events), update(name, {"n": number}))])
            for name, number, events in (("p2", "bad", chain(1, "p2")), ("p3", "many", chain(1, "p3")))
        )
        outcomes = await model.project_states([bad, state_at(chain(1)), unfit])
        assert isinstance(outcomes[0], HandlerFailed)
        assert outcomes[1] is None
        assert isinstance(outcomes[2], ObjectRefused)
        places = [AggregateId.parse(f"shop/Product/{name}") for name in ("p2", "p1", "p3")]
        assert await model.projected_versions(places) == [0, 1, 0]

    async def test_lost_index_comes_back_with_its_mapping(self, model: ElasticsearchModel, server: ElasticsearchServer):
        await server.client.indices.delete(index=f"{model.alias}.000001")
        assert await model.projected_versions([PLACE]) == [0]
        assert await model.project_states([state_at(chain(1))]) == [None]
        await model.prepare()
        assert await model.projected_versions([PLACE]) == [1]

    async def test_other_properties_need_another_name(self, model: ElasticsearchModel, settings: Settings):
        assert await model.projected_versions([PLACE]) == [0]
        changed = ElasticsearchReadModel("products", product, properties={"title": KEYWORD})
        async with ElasticsearchModel(changed, settings) as other:
            with pytest.raises(InputInvalid, match="was made with other properties; give the read model another name"):
                await other.prepare()

    async def test_readers_see_positions(self, model: ElasticsearchModel, settings: Settings):
        await model.project_states([state_at(chain(3))])
        async with ElasticsearchPositions(products, settings) as positions:
            assert await positions.projected_versions([PLACE]) == [3]
