"""A check lets readers see the index again that they saw before an alias was lost, and fills one that is gone."""

import pytest

from tests.classes import FIRST, SECOND, define
from tests.commands import create, update
from tests.write.sweeper import LOOK_ONLY, sweep
from tests.write.test_reindexing import NAME
from tests.write.world import Process, World


@pytest.fixture
def world() -> World:
    return World()


async def _defined(process: Process) -> None:
    """A defined class with two instances, and one of an undefined class."""
    await process.complete(define(FIRST))
    await process.pipeline.reindexer.run(NAME)
    for command in (create("a", {"name": "Lamp"}), create("b", {"name": "Desk"}), create("c", class_id="Note")):
        await process.complete(command)


async def test_check_names_and_restores_a_lost_alias(world: World):
    process = world.process()
    await _defined(process)
    before = await process.ports.indices.current_index(NAME)
    world.documents.lose_alias("shop.product")
    looked = await sweep(world, LOOK_ONLY)
    found = {finding.place: finding.what for finding in looked.findings}
    assert found["class shop/Product"] == "definition 1, no index behind its alias"
    done = await sweep(world, process=process)
    assert (done.reindexed, done.projected, done.unfinished) == (1, 0, 0)
    assert await process.ports.indices.current_index(NAME) == before
    world.check_shown()


async def test_check_restores_the_alias_of_an_undefined_class(world: World):
    process = world.process()
    await _defined(process)
    world.documents.lose_alias("shop.note")
    await sweep(world, process=process)
    world.check_shown()


async def test_lost_alias_of_an_outdated_index_is_followed(world: World):
    process = world.process()
    await _defined(process)
    await process.complete(define(SECOND))
    world.documents.lose_alias("shop.product")
    done = await sweep(world, process=process)
    assert (done.reindexed, done.unfinished) == (1, 0)
    current = await process.ports.indices.current_index(NAME)
    assert current is not None
    assert current.definition is not None
    assert current.definition.version == "2.0.0"
    world.check_shown()


async def test_commands_go_on_while_an_alias_is_lost(world: World):
    process = world.process()
    await _defined(process)
    world.documents.lose_alias("shop.product")
    await process.complete(update("a", {"maker": "acme"}))
    await sweep(world, process=process)
    world.check_shown()
