"""The largest permitted input, and refusals of it, are read back after Redis has forgotten them."""

import pytest

from oncelog.bulk.items import BulkItems
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.plan import Plan
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult, RejectionCode
from oncelog.settings import Settings
from tests.bulks import bulk_create, item
from tests.largest import stories
from tests.write.bulks import check_results, run_bulk
from tests.write.world import World


async def once(world: World, command: Command | Bulk) -> CommandResult:
    """Run the command in a process of its own."""
    return await (run_bulk(world, command) if isinstance(command, Bulk) else world.process().complete(command))


@pytest.mark.parametrize("door", stories())
async def test_largest_things_are_read_back(door: str):
    world = World()
    for command in stories()[door]:
        first = await once(world, command)
        world.redis.flush()
        assert await once(world, command) == first
    world.check()


async def test_rejection_with_long_places_is_cut():
    world = World()
    definition, command = stories()["class"]
    await once(world, definition)
    result = await once(world, command)
    assert result.rejection is not None
    assert result.rejection.code is RejectionCode.PAYLOAD_INVALID
    assert len(result.model_dump_json()) < 64 * 1024


@pytest.mark.parametrize(("chunk_items_max", "items"), [(1, 300), (5_000, 5_000)])
async def test_bulk_rejections_are_read_back(chunk_items_max: int, items: int):
    world = World(settings=Settings(bulk_chunk_items_max=chunk_items_max))
    bulk = bulk_create(*({"instance_id": f"p{number}", "payload": {}, "x" * 100: 1} for number in range(items)))
    first = await run_bulk(world, bulk)
    world.redis.flush()
    again = await run_bulk(world, bulk)
    assert isinstance(first, BulkResult)
    assert (first.counts.rejected, again.counts) == (items, first.counts)
    check_results(world, again)


async def test_a_plan_has_a_bounded_number_of_chunks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("oncelog.bulk.items.CHUNKS_MAX", 10)
    planned = BulkItems(World().process().ports.large_objects, chunk_items_max=1)
    plan = await planned.plan(bulk_create(*(item(f"p{number}") for number in range(25))))
    assert isinstance(plan, Plan)
    assert [len(plan.items_of(chunk)) for chunk in range(1, len(plan.chunks) + 1)] == [3] * 8 + [1]
