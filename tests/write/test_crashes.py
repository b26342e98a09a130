"""Attempts that die anywhere, beside others that live: one effect, the same answer."""

import asyncio
import copy

import pytest

from oncelog.errors import StoreUnavailable
from oncelog.replay.trace import Trace
from oncelog.testing.memory.redis import MemoryRedis
from tests.commands import create, update
from tests.write.world import World

STEPS = ("claim", "allocate", "record", "persist", "publish")


class Crashed(BaseException):
    """A process is gone: nothing of it runs on, not even its clean-up of errors."""


def crash_after(step: str):
    async def after_step(done: str) -> None:
        if done == step:
            raise Crashed

    return after_step


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("forgetful", [False, True])
@pytest.mark.parametrize("step", STEPS)
async def test_attempt_dead_after_any_step_is_finished_by_the_next(world: World, step: str, *, forgetful: bool):
    await world.process().run(create())
    command = update(payload={"a": 1})
    with pytest.raises(Crashed):
        await world.process().commit(command, after_step=crash_after(step))
    if forgetful:
        world.redis.flush()
    assert (await world.process().run(command)).sequence_number == 2
    assert (await world.process().run(update())).sequence_number == 3
    world.check()
    world.check_document(command.aggregate_id)


@pytest.mark.parametrize("step", STEPS)
async def test_redis_emptied_between_any_two_steps_changes_nothing(world: World, step: str):
    await world.process().run(create())

    async def flush(done: str) -> None:
        if done == step:
            world.redis.flush()

    process = world.process()
    command = update()
    assert (await process.commit(command, after_step=flush)).sequence_number == 2
    assert (await world.process().run(command)).sequence_number == 2
    assert (await world.process().run(update())).sequence_number == 3
    world.check()


@pytest.mark.parametrize("step", STEPS)
async def test_others_go_on_between_any_two_steps_of_a_slow_attempt(world: World, step: str):
    """The lease has run out, as far as anyone else can tell: a zombie wakes up and meets what others did."""
    await world.process().run(create())
    command, other = update(payload={"slow": True}), update(payload={"fast": True})

    async def let_others_go_on(done: str) -> None:
        if done == step:
            world.redis.leases.clear()
            await world.process().run(other)
            await world.process().run(command)

    first = await world.process().commit(command, after_step=let_others_go_on)
    assert await world.process().commit(command) == first
    (events,) = world.check().values()
    assert sorted(event.command_id for event in events[1:]) == sorted([command.command_id, other.command_id])


async def test_redis_restored_from_an_older_copy_is_not_believed(world: World):
    await world.process().run(create())
    older = _copy(world.redis)
    for _ in range(3):
        await world.process().run(update())
    _restore(world.redis, older)
    command = update()
    assert (await world.process().run(command)).sequence_number == 5
    world.check()
    world.check_document(command.aggregate_id)


async def test_rejection_is_not_recorded_on_an_old_copy_of_redis(world: World):
    process = world.process()
    await process.run(create())
    older = _copy(world.redis)
    await process.run(update())
    _restore(world.redis, older)
    assert (await world.process().run(update(expected_version=2))).sequence_number == 3


async def test_overstated_head_is_found_before_anything_is_written(world: World):
    command = create()
    await world.process().run(command)
    ahead = World()
    process = ahead.process()
    for follower in (create(), update(), update()):
        await process.run(follower)
    world.redis.known = ahead.redis.known
    assert (await world.process().run(update())).sequence_number == 2
    world.check()


async def test_overstated_watermark_hides_no_event(world: World):
    await world.process().run(create())
    ahead = World()
    for follower in (create(), update(), update()):
        await ahead.process().run(follower)
    world.redis.known = ahead.redis.known
    process = world.process()
    command = update()
    result = await process.commit(command, publish=False)
    assert result.sequence_number == 2
    await process.pipeline.deliverer.publish(command.aggregate_id, 2, Trace())
    world.check()


async def test_bound_command_is_decided_on_its_predecessor(world: World):
    """Redis, rolled back, proposes an older predecessor than the slot has that the command is bound to."""
    await world.process().run(create())
    older = _copy(world.redis)
    await world.process().run(update(payload={"b": 2}))
    command = update(payload={"c": 3})

    async def dies(step: str) -> None:
        if step == "record":
            raise RuntimeError("the worker died")

    with pytest.raises(RuntimeError):
        await world.process().commit(command, after_step=dies)
    _restore(world.redis, older)
    assert (await world.process().run(command)).sequence_number == 3
    world.check()


@pytest.mark.parametrize("operation", ["PutObject", "GetObject"])
async def test_an_answer_lost_after_the_write_is_found_to_be_its_own(world: World, operation: str):
    lost: list[str] = []

    def lose_first_answers(done: str, key: str) -> None:
        if done == operation and key not in lost:
            lost.append(key)
            raise StoreUnavailable("S3 in memory", f"{done} {key}", "the answer was lost")

    world.bucket.after = lose_first_answers
    command = create()
    process = world.process()
    result = None
    while result is None:
        try:
            result = await process.run(command)
        except StoreUnavailable:
            continue
    assert result.sequence_number == 1
    assert lost or operation == "GetObject"
    (events,) = world.check().values()
    assert len(events) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_redis_interrupted_around_any_call_changes_no_effect(world: World, moment: str):
    """Every call of Redis fails once, before or after it took effect; the command is repeated until it is through."""
    failed: set[str] = set()

    def fail_once(step: str) -> None:
        if step not in failed:
            failed.add(step)
            raise StoreUnavailable("Redis in memory", step, "interrupted")

    setattr(world.redis, moment, fail_once)
    for command in (create(), update()):
        for _ in range(20):
            try:
                await world.process().run(command)
                break
            except StoreUnavailable:
                world.redis.leases.clear()  # a lease that was not released has expired by the next attempt
        else:
            pytest.fail("not through after 20 attempts")
    assert {"claim_command", "take_turn", "settle_turn"} <= failed
    (events,) = world.check().values()
    assert len(events) == 2


async def test_many_attempts_that_die_at_once_leave_one_effect_each(world: World):
    commands = [create(), *(update(payload={f"k{number}": 1}) for number in range(8))]
    await world.process().run(commands[0])

    async def attempt(index: int) -> None:
        try:
            await world.process().commit(commands[index % 9], after_step=crash_after(STEPS[index % 5]))
        except Crashed:
            world.redis.leases.clear()

    await asyncio.gather(*(attempt(index) for index in range(45)), return_exceptions=True)
    results = await asyncio.gather(*(world.process().run(command) for command in commands))
    assert sorted(result.sequence_number or 0 for result in results) == list(range(1, 10))
    world.check()


def _copy(redis: MemoryRedis) -> dict[str, object]:
    return {name: copy.deepcopy(getattr(redis, name).entries) for name in ("leases", "known", "statuses")}


def _restore(redis: MemoryRedis, older: dict[str, object]) -> None:
    for name, entries in older.items():
        getattr(redis, name).entries = entries
