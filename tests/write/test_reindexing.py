"""Documents follow their class's definition into another index, while commands and readers go on, in memory."""

import asyncio

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome
from oncelog.errors import StoreUnavailable
from oncelog.replay.trace import Trace
from oncelog.stores.s3 import StoredObject
from tests.classes import FIRST, SECOND, WIDER, define, retire
from tests.commands import create, delete, update
from tests.write.world import Process, World

NAME = AggregateId.of_class("shop", "Product")


@pytest.fixture
def world() -> World:
    return World()


async def run_all(process: Process, *commands) -> None:
    for command in commands:
        assert (await process.run(command)).outcome is Outcome.APPLIED, command


def documents(world: World) -> dict[str, dict[str, object]]:
    return {key: dict(one.body["data"]) for key, one in world.documents.indices["shop.product"].items()}


async def test_documents_follow_the_definition_of_their_index(world: World):
    process = world.process()
    await run_all(process, create("free", {"name": "Chair", "price": "5", "odd": 1}), define(FIRST))
    await run_all(process, create("first", {"name": "Lamp", "price": "12.50"}))
    await run_all(process, create("gone", {"name": "x"}), delete("gone"))
    await process.pipeline.reindexer.run(NAME)
    await run_all(process, define(SECOND))
    said = await process.pipeline.reindexer.run(NAME)
    assert said.startswith("3 documents")
    await run_all(process, create("second", {"name": "Desk", "cost": 80}))
    assert documents(world) == {
        "free": {"name": "Chair", "cost": 5, "odd": 1},
        "first": {"name": "Lamp", "cost": 12.5},
        "gone": {},
        "second": {"name": "Desk", "cost": 80},
    }
    assert not list(world.audit().documents.judge())
    world.check()


async def test_documents_keep_the_old_schema_until_the_index_follows(world: World):
    process = world.process()
    await run_all(process, define(FIRST), create("a", {"name": "Lamp", "price": "1"}))
    await process.pipeline.reindexer.run(NAME)
    await run_all(process, define(SECOND), update("a", {"colour": "red"}), create("b", {"name": "Desk", "cost": 2}))
    current = await process.ports.indices.current_index(NAME)
    assert current is not None
    assert current.definition is not None
    assert current.definition.version == "1.0.0"
    assert documents(world)["b"] == {"name": "Desk", "cost": 2}
    await process.pipeline.reindexer.run(NAME)
    assert documents(world) == {
        "a": {"name": "Lamp", "cost": 1, "colour": "red"},
        "b": {"name": "Desk", "cost": 2},
    }


async def test_a_definition_that_changes_no_document_moves_nothing(world: World):
    process = world.process()
    await run_all(process, define(FIRST), create("a", {"name": "Lamp"}))
    await process.pipeline.reindexer.run(NAME)
    before = await process.ports.indices.current_index(NAME)
    same = {**FIRST, "version": "1.0.1", "schema": {**FIRST["schema"], "title": "A product"}}
    await run_all(process, define(same))
    await process.pipeline.reindexer.run(NAME)
    assert await process.ports.indices.current_index(NAME) == before
    await run_all(process, update("a", {"price": "3"}))
    await run_all(process, define(WIDER))
    await process.pipeline.reindexer.run(NAME)
    assert await process.ports.indices.current_index(NAME) != before
    assert documents(world) == {"a": {"name": "Lamp", "price": "3"}}


async def test_a_class_that_is_not_defined_is_left_alone(world: World):
    process = world.process()
    await run_all(process, create("a", {"any": "thing"}))
    assert await process.pipeline.reindexer.run(NAME) == "documents lie in shop.product.000001"


async def test_first_document_of_a_defined_class_finds_a_typed_index(world: World):
    process = world.process()
    await run_all(process, define(FIRST), create("a", {"name": "Lamp"}))
    found = await process.ports.indices.current_index(NAME)
    assert found is not None
    assert found.mapping_digest is not None


async def test_commands_and_readers_proceed_while_indices_change(world: World):
    """Four processes write, two of them reindex for two definitions at once, and readers never see a step back."""
    processes = [world.process() for _ in range(4)]
    names = [f"n{number}" for number in range(12)]
    await run_all(processes[0], define(FIRST), *(create(name, {"name": name, "price": "0"}) for name in names))
    done = False
    seen = dict.fromkeys(names, 0)

    async def write(process: Process, name: str) -> None:
        for turn in range(12):
            command = update(name, {"maker": f"m{turn}"})
            committed = await process.commit(command)
            assert committed.outcome is Outcome.APPLIED
            while True:  # as the workflow does: the projection is tried again until it succeeds
                try:
                    assert committed.sequence_number is not None
                    await process.pipeline.deliverer.publish(command.aggregate_id, committed.sequence_number, Trace())
                    place = command.aggregate_id, committed.sequence_number
                    assert await process.pipeline.deliverer.project_or_park(*place, Trace())
                    break
                except StoreUnavailable:
                    await asyncio.sleep(0)

    async def read() -> None:
        while not done:
            wanted = [AggregateId("shop", "Product", name) for name in names]
            for name, found in zip(names, await world.documents.read_documents(wanted), strict=True):
                assert found is not None, "a gap in reading"
                assert found.sequence_number >= seen[name], "a step back"
                seen[name] = found.sequence_number

    async def evolve_class() -> None:
        await run_all(processes[1], define(WIDER))
        await asyncio.gather(*(one.pipeline.reindexer.run(NAME) for one in processes[1:3]))
        await run_all(processes[2], define(SECOND))
        await asyncio.gather(*(one.pipeline.reindexer.run(NAME) for one in processes))

    reading = asyncio.create_task(read())
    await asyncio.gather(evolve_class(), *(write(processes[number % 4], name) for number, name in enumerate(names)))
    done = True
    await reading
    current = await world.process().ports.indices.current_index(NAME)
    assert current is not None
    assert current.definition is not None
    assert current.definition.version == "2.0.0"
    assert not list(world.audit().documents.judge())
    world.check()
    assert all(body["cost"] == 0 for body in documents(world).values())


@pytest.mark.parametrize("interrupted_at", range(8))
async def test_an_attempt_that_dies_anywhere_is_gone_on_with(world: World, interrupted_at: int):
    process = world.process()
    await run_all(process, define(FIRST), *(create(f"n{number}", {"name": "x"}) for number in range(7)), define(SECOND))
    steps = 0

    async def die() -> None:
        nonlocal steps
        steps += 1
        if steps > interrupted_at:
            raise ConnectionResetError

    pause, world.documents.pause = world.documents.pause, die
    with pytest.raises(ConnectionResetError):
        await process.pipeline.reindexer.run(NAME)
    world.documents.pause = pause
    await world.process().pipeline.reindexer.run(NAME)
    assert documents(world) == {f"n{number}": {"name": "x", "cost": 0} for number in range(7)}
    await run_all(world.process(), update("n1", {"cost": 1}))


async def test_a_retired_class_keeps_its_form(world: World):
    process = world.process()
    await run_all(process, define(FIRST), create("a", {"name": "x"}), retire(), delete("a"))
    await process.pipeline.reindexer.run(NAME)
    assert documents(world) == {"a": {}}
    world.check()


async def test_one_log_that_cannot_be_folded_holds_up_no_class(world: World):
    process = world.process()
    await run_all(process, define(FIRST), *(create(name, {"name": name, "price": "1"}) for name in ("a", "b")))
    await process.pipeline.reindexer.run(NAME)
    key = f"events/shop/Product/a/{1:020d}.json"
    world.bucket.objects[key] = StoredObject(world.bucket.objects[key].body.replace(b'"1"', b'"2"'), {})
    await run_all(process, define(SECOND))
    await world.process().pipeline.reindexer.run(NAME)
    assert documents(world) == {"a": {"name": "a", "price": "1"}, "b": {"name": "b", "cost": 1}}
