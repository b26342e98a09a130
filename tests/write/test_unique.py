"""Unique values on the path of single commands, on servers in memory: one holder, at any death or loss."""

import asyncio
import json
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from oncelog.domain.commands import Command
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.domain.unique.entry import ValueChain
from oncelog.errors import AggregateBusy, StoreUnavailable
from oncelog.settings import Settings
from oncelog.write.unique.chains import ChainEnd, ValueChains
from tests.commands import create, delete, update
from tests.unique_values import define_users, doubled, holders
from tests.write.schedules import Dead, Schedule, mishaps_of
from tests.write.test_crashes import Crashed, crash_after
from tests.write.world import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(settings=Settings(snapshot_interval_events=10, projection="stream"))
    await world.process().run(define_users())
    yield world
    world.check(published=False)


def user(name: str, email: str | None, **more: Any) -> Command:
    return create(name, {"email": email, **more})


def violation(result: CommandResult) -> tuple[str, str, int] | None:
    if result.rejection is None or result.rejection.code is not RejectionCode.UNIQUE_VIOLATED:
        return None
    details = result.rejection.details
    return details["constraint"], details["holder"], details["holder_version"]


async def test_second_instance_with_a_value_is_refused(world: World):
    assert (await world.process().run(user("a", "x@y"))).outcome is Outcome.APPLIED
    second = user("b", "x@y")
    refused = await world.process().run(second)
    assert violation(refused) == ("email", "shop/Product/a", 1)
    assert refused.rejection is not None
    assert refused.rejection.details["value"] == "x@y"
    await world.process().run(delete("a"))
    world.redis.flush()
    assert await world.process().run(second) == refused, "the first answer is the only one"
    assert holders(world.bucket.objects, "email") == {}


async def test_value_that_was_let_go_is_free_again(world: World):
    process = world.process()
    await process.run(user("a", "x@y"))
    await process.run(update("a", {"email": "z@y"}))
    assert (await process.run(user("b", "x@y"))).outcome is Outcome.APPLIED
    await process.run(delete("b"))
    assert (await process.run(update("a", {"email": "x@y"}))).outcome is Outcome.APPLIED
    assert (await process.run(user("b", "z@y"))).outcome is Outcome.APPLIED
    assert holders(world.bucket.objects, "email") == {("x@y",): ["shop/Product/a"], ("z@y",): ["shop/Product/b"]}


async def test_value_that_is_kept_takes_no_entry(world: World):
    process = world.process()
    await process.run(user("a", "x@y"))
    entries = {key for key in world.bucket.objects if key.startswith("unique/")}
    assert len(entries) == 1
    await process.run(update("a", {"n": 1}))
    await process.run(update("a", {"email": "x@y"}))
    assert {key for key in world.bucket.objects if key.startswith("unique/")} == entries


async def test_absent_and_null_are_not_held(world: World):
    process = world.process()
    for name in ("a", "b"):
        assert (await process.run(create(name, {"country": "CH"}))).outcome is Outcome.APPLIED
    assert not [key for key in world.bucket.objects if key.startswith("unique/")]


async def test_value_of_two_parts_is_unique_as_a_whole(world: World):
    process = world.process()
    await process.run(create("a", {"country": "CH", "plate": "1"}))
    assert (await process.run(create("b", {"country": "FR", "plate": "1"}))).outcome is Outcome.APPLIED
    refused = await process.run(create("c", {"country": "CH", "plate": "1"}))
    assert violation(refused) == ("plate", "shop/Product/a", 1)


@pytest.mark.parametrize("step", ["claim", "allocate", "record", "persist", "publish"])
@pytest.mark.parametrize("forgetful", [False, True])
async def test_command_that_died_blocks_nobody(world: World, step: str, *, forgetful: bool):
    dead = user("a", "x@y")
    with pytest.raises(Crashed):
        await world.process().commit(dead, after_step=crash_after(step))
    if forgetful:
        world.redis.flush()
    result = await world.process().run(user("b", "x@y"))
    later = await world.process().run(dead)
    assert {result.outcome, later.outcome} == {Outcome.APPLIED, Outcome.REJECTED}
    assert doubled(world.bucket.objects) == {}


async def test_entry_without_its_event_is_completed_by_a_contender(world: World):
    """The command dies between its entry and its event; the contender writes the event, and is refused by it."""
    dead = user("a", "x@y")

    def die(operation: str, key: str) -> None:
        if operation == "PutObject" and key.startswith("events/shop/Product/a/"):
            raise Dead

    world.bucket.before = die
    with pytest.raises(Dead):
        await world.process().run(dead)
    world.bucket.before = lambda _operation, _key: None
    refused = await world.process().run(user("b", "x@y"))
    assert violation(refused) == ("email", "shop/Product/a", 1)
    assert (await world.process().run(dead)).outcome is Outcome.APPLIED


async def test_refusal_rests_on_a_head_that_is_seen_after_the_holder(world: World, monkeypatch: pytest.MonkeyPatch):
    """Between the look at the own head and that at the value, the own instance is deleted and another takes the value.

    At no moment was the refusal due (V5): the command is refused for the deletion.
    """
    for command in (user("c", "x@y"), delete("c"), create("a", {"n": 0})):
        await world.process().run(command)
    world.redis.flush()  # so that the first record names a place that is taken, and the head is read from S3
    real, others = ValueChains.end, [delete("a"), user("b", "x@y")]

    async def end(self: ValueChains, chain: ValueChain, *, last_place: int | None) -> ChainEnd:
        while others:
            world.redis.leases.clear()
            await world.process().commit(others.pop(0))
        return await real(self, chain, last_place=last_place)

    monkeypatch.setattr(ValueChains, "end", end)
    refused = (await world.process().commit(update("a", {"email": "x@y"}))).rejection
    assert refused is not None
    assert refused.code is RejectionCode.INSTANCE_DELETED


@pytest.mark.parametrize("seed", range(60))
async def test_one_holder_whatever_the_order_of_requests(world: World, seed: int):
    dice = random.Random(seed)
    process = world.process()
    await process.run(user("a", "x@y", country="CH", plate="1"))
    await process.run(user("b", "z@y"))
    commands = [
        update("a", {"email": "z@y"}),
        update("b", {"email": "x@y"}),
        user("c", "x@y", country="CH", plate="1"),
        delete("a"),
        user("a", "x@y"),
        update("c", {"email": None}),
    ]
    chosen = dice.sample(commands, 4)
    results: dict[str, set[str]] = {}

    async def attempt(command: Command) -> None:
        while True:
            try:
                result = await world.process().commit(command)
            except (Dead, StoreUnavailable, AggregateBusy):
                continue
            results.setdefault(command.command_id, set()).add(
                json.dumps(result.model_dump(mode="json"), sort_keys=True)
            )
            return

    schedule = Schedule(dice, mishaps_of(world), chance=0.05, dying=0.02)
    world.bucket.pause = world.redis.pause = schedule.pause
    attempts = [asyncio.create_task(attempt(command)) for command in chosen for _ in range(2)]
    await schedule.drive(attempts)  # type: ignore[arg-type]
    await asyncio.gather(*attempts)
    assert doubled(world.bucket.objects) == {}
    assert [answers for answers in results.values() if len(answers) > 1] == []
