"""A chunk of a bulk command is prepared while the one before it is written: faster, and nothing comes out otherwise."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from oncelog.bulk.run import Progress
from oncelog.domain.bulk.records import Closed, chunk_record
from oncelog.domain.identifiers import AggregateId
from oncelog.ports import Lease, StreamProgress
from oncelog.settings import Settings
from tests.bulks import bulk_create, item
from tests.commands import create
from tests.write.bulks import Attempt, check_results, run_bulk
from tests.write.world import World


@pytest.fixture
def world() -> World:
    return World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=4))


def held(world: World) -> list[str]:
    """Return the instances under a lease."""
    names = [str(AggregateId.of("shop", "Product", f"p{number}")) for number in range(10)]
    return [name for name in names if world.redis.leases.get(name)]


class _Ahead:
    """Lets the first chunk be written only when the second one is prepared; ``meanwhile`` is what others do then."""

    def __init__(self, meanwhile: Callable[[], Awaitable[object]] | None = None) -> None:
        self.steps: list[str] = []
        self._meanwhile = meanwhile
        self._decided_twice = asyncio.Event()

    async def __call__(self, step: str) -> None:
        self.steps.append(step)
        if self.steps.count("bulk_decide") == 2:
            self._decided_twice.set()
        if step == "bulk_record" and self.steps.count(step) == 1:
            async with asyncio.timeout(120):
                await self._decided_twice.wait()
            if self._meanwhile:
                await self._meanwhile()


async def test_a_chunk_is_prepared_while_the_one_before_is_written(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))
    result = await run_bulk(world, bulk, _Ahead())
    assert result.counts.applied == 10
    check_results(world, result)


async def test_chunk_of_the_same_instances_is_prepared_after_the_other(world: World):
    steps: list[str] = []

    async def note(step: str) -> None:
        steps.append(step)

    bulk = bulk_create(*(item(f"p{number % 4}") for number in range(8)))
    result = await run_bulk(world, bulk, note)
    assert (result.counts.applied, result.counts.rejected) == (4, 4)
    binding = [step for step in steps if step in ("bulk_allocate", "bulk_decide", "bulk_record", "bulk_persist")]
    assert binding == ["bulk_allocate", "bulk_decide", "bulk_record", "bulk_persist"] * 2
    check_results(world, result)


async def test_who_is_faster_than_a_prepared_chunk_displaces_its_items(world: World):
    async def be_faster() -> None:
        world.redis.leases.clear()
        await world.process().run(create("p5"))

    bulk = bulk_create(*(item(f"p{number}") for number in range(8)))
    result = await run_bulk(world, bulk, _Ahead(be_faster))
    assert [line["outcome"] for line in check_results(world, result)] == ["APPLIED"] * 5 + ["REJECTED"] + [
        "APPLIED"
    ] * 2
    assert f"commands/{bulk.command_id}/chunks/000002/000002.json" in world.bucket.objects


async def test_leases_of_a_prepared_chunk_are_released_before_waiting(world: World):
    contested = AggregateId.of("shop", "Product", "p1")
    name = str(contested)

    async def be_faster() -> None:
        world.redis.leases.drop(name)
        await world.process().run(create("p1"))
        (turn,) = await world.process().ports.leases.acquire_leases([contested], "who keeps it")
        assert isinstance(turn, Lease)

    bulk = bulk_create(*(item(f"p{number}") for number in range(8)))
    running = asyncio.create_task(run_bulk(world, bulk, _Ahead(be_faster)))
    async with asyncio.timeout(120):
        while not world.redis.queues.get(name):  # until the command waits for its turn
            await asyncio.sleep(0.001)
        assert held(world) == [name]
        await world.process().ports.leases.save_progress([StreamProgress(contested, release=True)], "who keeps it")
        result = await running
    outcomes = [line["outcome"] for line in check_results(world, result)]
    assert outcomes == ["APPLIED", "REJECTED"] + ["APPLIED"] * 6


async def test_prepared_chunk_stands_in_no_queue(world: World):
    place = AggregateId.of("shop", "Product", "p1")
    await world.process().ports.leases.acquire_leases([place], "another")
    queues = []

    async def look(step: str) -> None:
        if step == "bulk_allocate":
            queues.append(dict(world.redis.queues.get(str(place), {})))

    result = await run_bulk(world, bulk_create(item("p1")), look)
    assert result.counts.applied == 1
    assert queues == [{}]


async def test_closed_command_ends_before_its_prepared_chunk(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))

    async def close_second() -> None:
        pipeline, ports = world.process().pipeline, world.process().ports
        record = await pipeline.bulk.opener.record(bulk.command_id)
        await ports.chunk_records.write_chunk_record(chunk_record(record, 2, 1, Closed.CANCELLED))

    result = await run_bulk(world, bulk, _Ahead(close_second))
    assert (result.counts.applied, result.counts.not_attempted, result.closed) == (4, 6, Closed.CANCELLED)
    assert held(world) == []
    assert len(world.logs()) == 4


async def test_leases_of_a_prepared_chunk_are_released_on_stop(world: World):
    bulk = bulk_create(*(item(f"p{number}") for number in range(10)))
    ahead = _Ahead()
    stopped = await Attempt(world.process(), ahead, stop_after=1).run(bulk)
    assert isinstance(stopped, Progress)
    assert ahead.steps.count("bulk_decide") == 2
    assert held(world) == []
