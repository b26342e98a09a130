"""The largest permitted input, and refusals of it, are read back after Redis has forgotten them."""

from typing import Any

import pytest

from factline.domain.bulk.plan import Plan
from factline.domain.bulk.results import BulkResult
from factline.domain.commands import Command
from factline.domain.limits import DEPTH_MAX, METADATA_BYTES_MAX
from factline.domain.results import CommandResult, Outcome, RejectionCode
from factline.pipeline.bulk.items import BulkItems
from factline.settings import Settings
from tests.bulks import bulk_create, item
from tests.classes import define
from tests.commands import create, update
from tests.pipeline.bulks import check_results, run_bulk
from tests.pipeline.world import World


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"n": data}
    return data


def largest() -> dict[str, Any]:
    return {f"k{number}": "é" * 340 for number in range(1_500)}


async def twice(world: World, command: Command) -> CommandResult:
    """Run the command, and again in another process once Redis has forgotten it; both answers are one."""
    first = await world.process().complete(command)
    world.redis.flush()
    assert await world.process().complete(command) == first
    world.check()
    return first


@pytest.mark.parametrize(
    "payload", [nested(DEPTH_MAX), nested(DEPTH_MAX - 1), largest()], ids=["deepest", "31", "largest"]
)
async def test_largest_payload_is_read_back(payload: dict[str, Any]):
    world = World()
    assert (await twice(world, create("p1", payload))).outcome is Outcome.APPLIED
    assert (await twice(world, update("p1", {"more": 1}))).outcome is Outcome.APPLIED


async def test_largest_metadata_is_read_back():
    metadata = {"text": "x" * (METADATA_BYTES_MAX - 20)}
    command = create("p1", largest()).model_copy(update={"metadata": metadata})
    assert (await twice(World(), Command.model_validate(command.model_dump()))).outcome is Outcome.APPLIED


async def test_rejection_with_long_places_is_read_back():
    world = World()
    schema = {"type": "object", "additionalProperties": {"$ref": "#"}}
    await world.process().complete(define({"version": "1.0.0", "schema": schema}))
    data: Any = {f"k{number}": number for number in range(400)}
    for _ in range(20):
        data = {"n" * 498: data}
    result = await twice(world, create("p1", data))
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


async def test_bulk_items_of_greatest_depth_are_read_back():
    world = World()
    bulk = bulk_create(item("p1", nested(DEPTH_MAX - 4)))
    first = await run_bulk(world, bulk)
    world.redis.flush()
    assert (await run_bulk(world, bulk)).counts == first.counts
    assert first.counts.applied == 1


async def test_a_plan_has_a_bounded_number_of_chunks(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("factline.pipeline.bulk.items.CHUNKS_MAX", 10)
    planned = BulkItems(World().process().ports.large_objects, chunk_items_max=1)
    plan = await planned.plan(bulk_create(*(item(f"p{number}") for number in range(25))))
    assert isinstance(plan, Plan)
    assert [len(plan.items_of(chunk)) for chunk in range(1, len(plan.chunks) + 1)] == [3] * 8 + [1]
