"""Attempts at bulk commands that die anywhere, beside others that live: one effect per item, the same answer."""

import asyncio

import pytest

from oncelog.bulk.run import Progress
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import CommandType
from oncelog.errors import StoreUnavailable
from oncelog.settings import Settings
from tests.bulks import bulk_create, bulk_update, item
from tests.commands import create, delete, update
from tests.write.bulks import Attempt, check, check_results, run_bulk, upload
from tests.write.test_crashes import Crashed, _copy, _restore, crash_after
from tests.write.world import World

STEPS = (
    "bulk_claim",
    "bulk_scan",
    "bulk_open",
    "bulk_allocate",
    "bulk_decide",
    "bulk_record",
    "bulk_persist",
    "bulk_publish",
    "bulk_settle",
    "bulk_project",
    "bulk_results",
    "bulk_summary",
)
NAMES = [f"p{number}" for number in range(5)]


@pytest.fixture
async def world() -> World:
    world = World(settings=Settings(snapshot_interval_events=10, bulk_chunk_items_max=3))
    await run_bulk(world, bulk_create(*(item(name, {"n": 0}) for name in NAMES)))
    return world


def changes(world: World) -> Bulk:
    """Three chunks that change the same instances again and again, also within one chunk; one item is rejected."""
    names = ["p0", "p1", "p0", "p2", "p9", "p2", "p3", "p0"]
    items = [item(name, {f"k{number}": True}) for number, name in enumerate(names)]
    return upload(world, bulk_update(*items))


async def test_every_step_is_gone_through(world: World):
    steps: list[str] = []

    async def note(step: str) -> None:
        steps.append(step)

    await run_bulk(world, changes(world), note)
    assert set(steps) == set(STEPS)


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_attempt_dead_after_any_step_is_finished_by_the_next(world: World, step: str, *, forgetful: bool):
    bulk = changes(world)
    attempt = Attempt(world.process(), crash_after(step))
    with pytest.raises(Crashed):
        await attempt.run(bulk)
    if forgetful:
        world.redis.flush()
    result = await Attempt(world.process()).run(bulk, attempt.heard)
    assert isinstance(result, BulkResult)
    assert (result.counts.applied, result.counts.rejected) == (7, 1)
    check_results(world, result)


@pytest.mark.parametrize("step", STEPS)
async def test_redis_emptied_after_any_step_changes_nothing(world: World, step: str):
    async def flush(done: str) -> None:
        if done == step:
            world.redis.flush()

    result = await run_bulk(world, changes(world), flush)
    assert (result.counts.applied, result.counts.rejected) == (7, 1)
    check_results(world, result)


@pytest.mark.parametrize("step", STEPS)
async def test_others_go_on_between_any_two_steps_of_a_slow_attempt(world: World, step: str):
    """As far as anyone can tell the attempt is dead: single commands and another attempt of the same one go on."""
    bulk, names = changes(world), iter(["p0", "p1", "p2", "p3"] * 3)
    answers = []

    async def let_others_go_on(done: str) -> None:
        if done == step:
            world.redis.leases.clear()
            await world.process().run(update(next(names), {"fast": True}))
            answers.append(await run_bulk(world, bulk))

    answers.append(await run_bulk(world, bulk, let_others_go_on))
    assert len(answers) > 1
    assert all(answer == answers[0] for answer in answers)
    assert answers[0].counts.applied == 7
    check_results(world, answers[0])


async def test_what_is_displaced_is_bound_anew_and_only_that(world: World):
    bulk = changes(world)

    async def be_faster(step: str) -> None:
        if step == "bulk_record" and not any("chunks/000001/000002" in key for key in world.bucket.objects):
            await world.process().run(update("p0", {"fast": True}))

    await run_bulk(world, bulk, be_faster)
    keys = [key.split("chunks/")[1] for key in world.bucket.objects if f"commands/{bulk.command_id}/chunks/" in key]
    assert sorted(keys) == [
        "000001/000001.json",
        "000001/000002.json",
        "000002/000001.json",
        "000003/000001.json",
    ]
    record = await world.process().ports.chunk_records.read_chunk_record(bulk.command_id, 1, 2)
    assert record is not None
    assert [(binding.index, binding.slot) for binding in record.bindings] == [(0, 3), (2, 4)]


async def test_a_rejection_rests_on_no_state_that_only_redis_shows(world: World):
    for command in (delete("p0"), create("p0")):
        await world.process().run(command)
        if command.command_type is CommandType.DELETE_INSTANCE:
            older = _copy(world.redis)
    _restore(world.redis, older)
    result = await run_bulk(world, bulk_update(item("p0", {"n": 1}), item("p0", {"n": 2})))
    assert (result.counts.applied, result.counts.rejected) == (2, 0)
    check_results(world, result)


@pytest.mark.parametrize("server", ["bucket", "redis"])
@pytest.mark.parametrize("moment", ["before", "after"])
async def test_answer_lost_at_any_place_changes_no_effect(world: World, server: str, moment: str):
    """Every request fails once, before or after it took effect; the command is repeated until it is through."""
    failed: set[tuple[str, ...]] = set()

    def fail_once(*what: str) -> None:
        if what not in failed:
            failed.add(what)
            raise StoreUnavailable(server, " ".join(what), "interrupted")

    bulk = changes(world)
    setattr(getattr(world, server), moment, fail_once)
    progress: Progress | None = None
    result: BulkResult | Progress | None = None
    for _ in range(200):
        attempt = Attempt(world.process())
        try:
            result = await attempt.run(bulk, progress)
        except StoreUnavailable:
            result = attempt.heard
        if isinstance(result, BulkResult):
            break
        progress = result or progress
        world.redis.leases.clear()  # a lease that was not released has expired by the next attempt
    setattr(getattr(world, server), moment, lambda *_: None)
    assert isinstance(result, BulkResult)
    assert (result.counts.applied, result.counts.rejected) == (7, 1)
    assert len(failed) >= 3
    check_results(world, result)


async def test_many_attempts_that_die_at_once_leave_one_effect_each(world: World):
    bulk = changes(world)

    async def attempt(index: int) -> None:
        try:
            await Attempt(world.process(), crash_after(STEPS[index % len(STEPS)])).run(bulk)
        except Crashed:
            world.redis.leases.clear()

    await asyncio.gather(*(attempt(index) for index in range(33)), return_exceptions=True)
    results = await asyncio.gather(*(Attempt(world.process()).run(bulk) for _ in range(3)))
    assert all(result == results[0] for result in results)
    assert isinstance(results[0], BulkResult)
    check_results(world, results[0])
    check(world)
