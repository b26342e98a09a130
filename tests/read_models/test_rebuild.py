"""A read model is projected again from the log; aggregates that never can be are parked, alone."""

from collections.abc import Sequence

import pytest

from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader
from oncelog.composition.read_models import parking_of
from oncelog.domain.instance import Instance
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.rebuild import Projected, StateProjection
from oncelog.replay.fold import Fold, folded
from tests.commands import create, update
from tests.write.world import World


@pytest.fixture
async def world() -> World:
    world = World()
    for number in range(5):
        await world.process().run(create(f"p{number}"))
    world.documents.clear()
    return world


async def projected(world: World, model: DocumentsModel) -> Projected:
    ports = world.ports()
    projection = StateProjection(model, parking_of(model, ports))
    done = Projected()
    async for batch in folded(LogReader(ports).batches(LogPart(db_name="shop", class_id="Product")), Fold()):
        done += await projection.project(batch)
    return done


class SomeRefused(DocumentsModel):
    """Documents of which one can never be projected; ``error``: why."""

    def __init__(self, world: World, error: Exception) -> None:
        super().__init__(world.documents)
        self._error = error

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        outcomes = await super().project_states([state for state in states if not state.aggregate_id.endswith("/p2")])
        assert not any(outcomes)
        return [self._error if state.aggregate_id.endswith("/p2") else None for state in states]


async def test_every_instance_is_projected_again(world: World):
    assert await projected(world, DocumentsModel(world.documents)) == Projected(5, 0)
    assert sorted(world.documents.indices["shop.product"]) == [f"p{number}" for number in range(5)]
    assert world.failures.announced == []


async def test_one_instance_is_parked_alone(world: World):
    assert await projected(world, SomeRefused(world, InputInvalid("never"))) == Projected(4, 1)
    assert [key for key, _ in world.failures.announced] == ["shop/Product/p2"]


async def test_damaged_stream_is_parked_alone(world: World):
    await world.process().run(update("p3"))
    world.documents.clear()
    del world.bucket.objects[min(key for key in world.bucket.objects if key.startswith("events/shop/Product/p3/"))]
    assert await projected(world, DocumentsModel(world.documents)) == Projected(4, 1)
    assert [key for key, _ in world.failures.announced] == ["shop/Product/p3"]


async def test_projection_ends_where_documents_are_out_of_reach(world: World):
    model = SomeRefused(world, StoreUnavailable("Elasticsearch in memory", "writing", "a test"))
    with pytest.raises(StoreUnavailable):
        await projected(world, model)
    assert world.failures.announced == []
