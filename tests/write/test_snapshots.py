"""Snapshots rest on events that S3 has: an earlier one could show a state that never was."""

import asyncio
import json

import pytest

from oncelog.settings import Settings
from oncelog.stores.sealed_state import open_state
from tests.bulks import bulk_create, bulk_update, item
from tests.commands import create, update
from tests.write.bulks import run_bulk
from tests.write.world import World

PLACE = "shop/Product/p1"


@pytest.fixture
def world() -> World:
    return World(settings=Settings(snapshot_interval_events=2, bulk_chunk_items_max=2))


def snapshots_of(world: World) -> list[int]:
    """Hold each snapshot, as soon as it is saved, to be the state at an event in the log; returns their numbers."""
    numbers: list[int] = []

    def check(operation: str, key: str) -> None:
        if operation != "PutObject" or not key.startswith("snapshots/"):
            return
        state = open_state(world.bucket.objects[key].body, aggregate_id=PLACE)
        event = world.bucket.objects.get(f"events/{PLACE}/{state.sequence_number:020d}.json")
        assert event is not None, "saved before its event"
        assert json.loads(event.body)["checksum"] == state.checksum
        numbers.append(state.sequence_number)

    world.bucket.after = check
    return numbers


async def test_snapshot_follows_its_event(world: World):
    numbers = snapshots_of(world)
    process = world.process()
    await process.run(create())
    for number in range(5):
        await process.run(update(payload={"n": number}))
    assert numbers == [2, 4, 6]


async def test_snapshot_of_commands_that_race_follows_its_event(world: World):
    numbers = snapshots_of(world)
    processes = [world.process() for _ in range(4)]
    await processes[0].run(create())

    async def forget(_: str) -> None:
        world.redis.flush()  # so that leases exclude no process, and slots are raced for

    changes = [update(payload={f"k{number}": number}) for number in range(12)]
    await asyncio.gather(
        *(processes[number % 4].commit(change, after_step=forget) for number, change in enumerate(changes))
    )
    assert set(numbers) == {2, 4, 6, 8, 10, 12}
    world.check(published=False)


async def test_snapshot_of_a_bulk_command_follows_its_events(world: World):
    numbers = snapshots_of(world)
    await run_bulk(world, bulk_create(item("p1", {"n": 0})))
    await run_bulk(world, bulk_update(*(item("p1", {"n": number}) for number in range(5))))
    assert numbers == [3, 5, 6]
