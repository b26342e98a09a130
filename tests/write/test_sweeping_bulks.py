"""Remains of a gone workflow of a bulk command: bound chunks are ended, the rest is closed, the result assembled."""

from dataclasses import replace

import pytest

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.records import Closed
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.results import Outcome
from oncelog.ports import Stage
from oncelog.settings import Settings
from oncelog.stores.s3 import StoredObject
from oncelog.write import lease_queue
from tests.bulks import bulk_create, bulk_update, item
from tests.commands import create, update
from tests.write.bulks import Attempt, check_results
from tests.write.sweeper import ANY_AGE, LOOK_ONLY, sweep
from tests.write.test_sweeping import Crashed
from tests.write.world import World

STEPS = (
    "bulk_record",
    "bulk_persist",
    "bulk_publish",
    "bulk_settle",
    "bulk_project",
    "bulk_results",
    "bulk_summary",
)


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_queue, "POLL_S", 0)


@pytest.fixture
def world() -> World:
    return World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=2))


def creating(items: int = 7) -> Bulk:
    """Several chunks of two items, some of them of one aggregate, one of them refused."""
    return bulk_create(*(item(f"p{number % 6}", {"n": number}) for number in range(items)))


def on_nth(step: str, nth: int = 1):
    left = nth

    def is_it(done: str) -> bool:
        nonlocal left
        left -= done == step
        return done == step and left == 0

    return is_it


async def die(world: World, bulk: Bulk, step: str, nth: int = 1) -> None:
    is_it = on_nth(step, nth)

    async def after_step(done: str) -> None:
        if is_it(done):
            raise Crashed

    with pytest.raises(Crashed):
        await Attempt(world.process(), after_step).run(bulk)


async def swept_result(world: World, bulk: Bulk) -> BulkResult:
    """Hold that the command has its one result, for every reader, and that nothing is incomplete."""
    process = world.process()
    status = await process.ports.statuses.read_status(bulk.command_id)
    assert status is not None
    assert isinstance(status.result, BulkResult)
    check_results(world, status.result)
    assert (await sweep(world, LOOK_ONLY)).found == 0
    world.redis.flush()
    again = await sweep(world)  # from the records alone, only what is published is not known any more
    assert (again.damaged, again.unfinished, again.finished, again.closed, again.projected) == (0, 0, 0, 0, 0)
    assert await Attempt(process).run(bulk) == status.result
    return status.result


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("nth", [1, 3])
@pytest.mark.parametrize("step", STEPS[:5])
async def test_bound_chunks_are_ended_and_the_rest_is_closed(world: World, step: str, nth: int, *, forgetful: bool):
    bulk = creating()
    await die(world, bulk, step, nth)
    if forgetful:
        world.redis.flush()
    begun = {key.split("/")[3] for key in world.bucket.objects if key.startswith(f"commands/{bulk.command_id}/chunks/")}
    looked = await sweep(world, LOOK_ONLY)
    assert (looked.found >= 1, looked.closed) == (True, 0)
    tally = await sweep(world)
    assert (tally.closed, tally.finished) == ((1, 0) if len(begun) < 4 else (0, 1))
    result = await swept_result(world, bulk)
    assert result.closed == (Closed.TERMINATED if len(begun) < 4 else None)
    assert result.counts.done == min(2 * len(begun), 7)


@pytest.mark.parametrize("step", STEPS[5:])
async def test_a_result_that_is_missing_is_assembled_from_the_records(world: World, step: str):
    bulk = creating()
    await die(world, bulk, step)
    tally = await sweep(world)
    assert (tally.finished, tally.closed) == ((1, 0) if step == "bulk_results" else (0, 1))
    result = await swept_result(world, bulk)
    assert (result.counts.applied, result.counts.rejected, result.closed) == (6, 1, None)


async def test_one_that_never_began_is_closed_before_all_of_it(world: World):
    bulk = creating()
    await die(world, bulk, "bulk_open")
    assert (await sweep(world)).closed == 1
    result = await swept_result(world, bulk)
    assert (result.counts.not_attempted, result.closed) == (7, Closed.TERMINATED)
    assert world.logs() == {}


async def test_one_that_was_rejected_as_a_whole_gets_its_status(world: World):
    bulk = bulk_update(item("p1", {"a": 1}))
    bulk = Bulk.model_validate(
        bulk.as_json | {"payload": {"items_key": "payloads/x.ndjson", "items_sha256": "0" * 64, "items_count": 1}}
    )
    world.bucket.objects["payloads/x.ndjson"] = StoredObject(b'{"instance_id": "p1"}\n')
    await die(world, bulk, "bulk_open")
    assert (await sweep(world)).closed == 1
    status = await world.process().ports.statuses.read_status(bulk.command_id)
    assert status is not None
    assert status.result is not None
    assert (status.stage, status.result.outcome) == (Stage.REJECTED, Outcome.REJECTED)


async def test_what_others_displaced_is_bound_anew_before_it_is_closed(world: World):
    bulk = bulk_update(*(item("p1", {"n": number}) for number in range(4)))
    await world.process().complete(create())
    await die(world, bulk, "bulk_record")
    world.redis.flush()
    await world.process().complete(update(payload={"other": True}))
    assert (await sweep(world)).closed == 1
    result = await swept_result(world, bulk)
    assert (result.counts.applied, result.counts.not_attempted) == (2, 2)


async def test_the_running_are_left_to_themselves(world: World):
    bulk = creating()
    await die(world, bulk, "bulk_persist")
    world.workflows.running.add(bulk.command_id)
    tally = await sweep(world)
    assert (tally.closed, tally.finished) == (0, 0)
    assert tally.running >= 1
    world.workflows.running.clear()
    assert (await sweep(world)).closed == 1


async def test_a_scope_counts_for_bulk_commands_too(world: World):
    bulk = creating()
    await die(world, bulk, "bulk_persist")
    assert (await sweep(world, replace(ANY_AGE, db_name="shop", class_id="Order"))).found == 0
    assert (await sweep(world, replace(ANY_AGE, db_name="shop", class_id="Product"))).closed == 1


@pytest.mark.parametrize("nth", [1, 2, 4])
@pytest.mark.parametrize("step", ["bulk_open", "bulk_allocate", *STEPS[:3]])
async def test_zombie_after_a_check_comes_to_the_same_result(world: World, step: str, nth: int):
    bulk, is_it = creating(), on_nth(step, nth)

    async def sweep_meanwhile(done: str) -> None:
        if is_it(done):
            world.redis.flush()
            await sweep(world)

    first = await Attempt(world.process(), sweep_meanwhile).run(bulk)
    await sweep(world)
    assert await swept_result(world, bulk) == first


@pytest.mark.parametrize("nth", [1, 2])
@pytest.mark.parametrize("step", ["bulk_close", "bulk_allocate", *STEPS])
async def test_zombie_within_a_check_comes_to_the_same_result(world: World, step: str, nth: int):
    bulk, is_it = creating(), on_nth(step, nth)
    await die(world, bulk, "bulk_record", 2)
    answers = []

    async def wake_up(done: str) -> None:
        if is_it(done):
            world.redis.flush()
            answers.append(await Attempt(world.process()).run(bulk))

    await sweep(world, after_step=wake_up)
    await sweep(world)
    result = await swept_result(world, bulk)
    assert all(answer == result for answer in answers)
