"""A rebuild projects every instance of a class from the log, and parks what can never be projected, alone."""

from collections.abc import Sequence

import pytest

from oncelog.composition.read_models import services_of
from oncelog.domain.instance import Instance
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.rebuild import Rebuilding, Rebuilt
from tests.commands import create
from tests.write.world import World


@pytest.fixture
async def world() -> World:
    world = World()
    for number in range(5):
        await world.process().run(create(f"p{number}"))
    world.documents.clear()
    return world


def rebuilding_of(world: World, model: DocumentsModel) -> Rebuilding:
    return services_of(model, world.ports()).rebuilding


class SomeRefused(DocumentsModel):
    """Documents of which one can never be projected; ``error``: why."""

    def __init__(self, world: World, error: Exception) -> None:
        super().__init__(world.documents)
        self._error = error

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        outcomes = await super().project_states([state for state in states if not state.aggregate_id.endswith("/p2")])
        assert not any(outcomes)
        return [self._error if state.aggregate_id.endswith("/p2") else None for state in states]


async def test_rebuild_projects_every_instance(world: World):
    told: list[int] = []
    rebuilding = rebuilding_of(world, DocumentsModel(world.documents))
    rebuilt = await rebuilding.rebuild("shop", "Product", after_batch=lambda done: told.append(done.shown))
    assert rebuilt == Rebuilt(shown=5, parked=0)
    assert told[-1] == 5
    assert sorted(world.documents.indices["shop.product"]) == [f"p{number}" for number in range(5)]
    assert world.failures.announced == []


async def test_rebuild_parks_one_instance_alone(world: World):
    model = SomeRefused(world, InputInvalid("never"))
    rebuilt = await rebuilding_of(world, model).rebuild("shop", "Product")
    assert rebuilt == Rebuilt(shown=4, parked=1)
    assert [key for key, _ in world.failures.announced] == ["shop/Product/p2"]


async def test_rebuild_ends_where_documents_are_out_of_reach(world: World):
    model = SomeRefused(world, StoreUnavailable("Elasticsearch in memory", "writing", "a test"))
    with pytest.raises(StoreUnavailable):
        await rebuilding_of(world, model).rebuild("shop", "Product")
    assert world.failures.announced == []
