"""References that must exist, in bulk commands: each item is refused for itself, on servers in memory."""

import asyncio
from collections import Counter

import pytest

from oncelog.domain.bulk.results import BulkResult
from oncelog.settings import Settings
from tests.bulks import bulk_create, bulk_update, item
from tests.commands import create
from tests.required_references import applied, dangling, define_products, delete_maker, maker
from tests.unique_values import states
from tests.write.bulks import Attempt, ends, run_for_lines
from tests.write.schedules import Dead
from tests.write.world import World

#: Turns of the event loop, far more than deciding a chunk takes on servers in memory.
TURNS = 2_000


@pytest.fixture
async def world() -> World:
    world = World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=4, projection="stream"))
    await world.process().run(define_products())
    return world


async def test_items_are_refused_each_for_its_own_references(world: World):
    await applied(world.process(), maker("m1"), maker("m2"), delete_maker("m2"))
    lines = await run_for_lines(world, bulk_create(*(item(f"p{n}", {"maker": f"m{n % 3}"}) for n in range(9))))
    expected = ["ReferenceNotFound shop/Maker/m0", "APPLIED", "ReferenceNotFound shop/Maker/m2"]
    assert ends(lines, "target") == expected * 3
    assert dangling(world.bucket.objects) == set()
    assert lines[2]["rejection"]["details"]["target_version"] == 2


async def test_item_after_a_refused_one_goes_on_without_it(world: World):
    await applied(world.process(), maker("m1"), create("p1", {"n": 0}))
    items = [item("p1", {"maker": "m9", "n": 1}), item("p1", {"maker": "m1"}), item("p1", {"parts": ["p8"]})]
    lines = await run_for_lines(world, bulk_update(*items))
    refused = ["ReferenceNotFound shop/Maker/m9", "APPLIED", "ReferenceNotFound shop/Product/p8"]
    assert ends(lines, "target") == refused
    assert states(world.bucket.objects)["shop/Product/p1"][-1] == {"n": 0, "maker": "m1"}


async def test_earlier_chunk_of_the_command_is_there_for_a_later_one(world: World):
    """Each item refers to the one four before it, and chunks have four items. The first chunk is written only after the
    second one had its turns to be decided.
    """
    steps: list[str] = []

    async def hold(step: str) -> None:
        steps.append(step)
        if step == "bulk_record" and steps.count(step) == 1:
            while steps.count("bulk_allocate") < 2:
                await asyncio.sleep(0)
            for _ in range(TURNS):
                await asyncio.sleep(0)
            assert steps.count("bulk_decide") == 1

    names = [f"p{number:02d}" for number in range(16)]
    items = [item(name, {"parts": names[max(0, at - 4) : max(0, at - 3)]}) for at, name in enumerate(names)]
    lines = await run_for_lines(world, bulk_create(*items), hold)
    assert ends(lines, "target") == ["APPLIED"] * 16
    assert dangling(world.bucket.objects) == set()


async def test_item_of_the_same_chunk_is_no_target_yet(world: World):
    lines = await run_for_lines(
        world, bulk_create(item("p1", {"n": 0}), item("p2", {"parts": ["p1"]}), item("p3", {"parts": ["p3"]}))
    )
    assert ends(lines, "target") == ["APPLIED", "ReferenceNotFound shop/Product/p1", "APPLIED"]


async def test_chunks_are_planned_ahead_where_nothing_is_created(world: World):
    """The first chunk is written only when the second one is planned, which must not wait for it."""
    steps: list[str] = []
    decided_twice = asyncio.Event()

    async def hold(step: str) -> None:
        steps.append(step)
        if steps.count("bulk_decide") == 2:
            decided_twice.set()
        if step == "bulk_record" and steps.count(step) == 1:
            async with asyncio.timeout(120):
                await decided_twice.wait()

    await applied(world.process(), maker("m1"), *(create(f"p{number}") for number in range(8)))
    bulk = bulk_update(*(item(f"p{number}", {"maker": "m1", "parts": ["p0"]}) for number in range(8)))
    result = await Attempt(world.process(), hold).run(bulk)
    assert isinstance(result, BulkResult)
    assert result.counts.applied == 8


async def test_bulk_rejection_rests_on_the_head_that_s3_shows(world: World):
    await applied(world.process(), create("p1"), create("p2"))
    world.redis.flush()
    lines = await run_for_lines(
        world, bulk_create(item("p1", {"maker": "m1"}), item("p2"), item("p3", {"maker": "m1"}))
    )
    assert ends(lines, "target") == ["InstanceExists", "InstanceExists", "ReferenceNotFound shop/Maker/m1"]


async def test_bulk_target_deleted_after_the_record_is_not_noticed(world: World):
    await applied(world.process(), maker("m1"))
    bulk = bulk_create(item("p1", {"maker": "m1"}), item("p2", {"maker": "m1"}))

    def die(operation: str, key: str) -> None:
        if operation == "PutObject" and key.startswith("events/shop/Product/"):
            raise Dead

    world.bucket.before = die
    with pytest.raises(Dead):
        await run_for_lines(world, bulk)
    world.bucket.before = lambda _operation, _key: None
    await applied(world.process(), delete_maker("m1"))
    assert ends(await run_for_lines(world, bulk), "target") == ["APPLIED", "APPLIED"]
    assert len(dangling(world.bucket.objects)) == 2


async def test_bulk_looks_at_each_target_once_a_chunk():
    costs = []
    for count in (100, 200):
        world = World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=50, projection="stream"))
        await applied(world.process(), define_products(), *(maker(f"m{number}") for number in range(5)))
        bulk = bulk_create(*(item(f"p{number}", {"maker": f"m{number % 5}"}) for number in range(count)))
        world.bucket.requests.clear()
        assert set(ends(await run_for_lines(world, bulk), "target")) == {"APPLIED"}
        costs.append(Counter(world.bucket.requests))
    more = costs[1] - costs[0]
    assert more["PutObject"] == 102
    assert more["GetObject"] == 2 * (5 + 3)  # five targets a chunk, and the chunk's record as ever
