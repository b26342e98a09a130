"""Sweeps beside commands that live and die: any order of their requests, drawn by Hypothesis."""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factline.domain.commands import Command
from factline.domain.identifiers import AggregateId
from factline.domain.results import CommandResult, Outcome
from factline.errors import StoreUnavailable
from factline.pipeline import turn_queue
from tests.commands import create, delete, update
from tests.pipeline.sweeper import LOOK_ONLY, sweep
from tests.pipeline.test_schedules import Dead, Schedule, _mishaps
from tests.pipeline.world import Process, World

KINDS = ["c", "u", "cu", "cc", "cud", "cuu", "cdcu"]
SWEEPS = 5
DOOMED = 0.4


async def attempt(process: Process, command: Command, *, doomed: bool) -> CommandResult | None:
    """Do as a workflow's activities do, until the process dies or a server is away; a doomed one dies as an intent."""

    async def after_step(step: str) -> None:
        if doomed and step == "record":
            raise Dead

    try:
        await process.commit(command, after_step=after_step)
        return await process.complete(command)
    except (Dead, StoreUnavailable, asyncio.CancelledError):
        return None


async def keep_sweeping(world: World) -> None:
    """Sweep again and again, so that some of it meets commands at every stage; one that dies is followed by another."""
    for _ in range(SWEEPS):
        with contextlib.suppress(Dead, StoreUnavailable, asyncio.CancelledError):
            await sweep(world)


async def _play(seed: int, commands: list[Command], *, attempts: int, chance: float, dying: float) -> None:
    """Commands and sweeps at once; then all workflows are gone, and one sweep alone must leave nothing half done."""
    world = World()
    schedule = Schedule(random.Random(seed), _mishaps(world), chance, dying=dying)
    servers = (world.bucket, world.redis, world.publisher, world.documents, world.workflows)
    for server in servers:
        server.pause = schedule.pause
    asked = commands * attempts
    doomed = [dying > 0 and schedule.dice.random() < DOOMED for _ in asked]
    trying = [
        asyncio.create_task(attempt(world.process(), command, doomed=dies))
        for command, dies in zip(asked, doomed, strict=True)
    ]
    sweeps = [asyncio.create_task(keep_sweeping(world)) for _ in range(2)]
    await schedule.drive([*trying, *sweeps])
    answers = [(command, task.result()) for command, task in zip(asked, trying, strict=True)]
    await mended(world, servers)
    recorded = {key.split("/")[1] for key in world.bucket.objects if key.startswith("commands/")}
    swept = await sweep(world)
    assert (swept.damaged, swept.unfinished) == (0, 0)
    logs = world.check()
    for name in logs:
        world.check_document(AggregateId.parse(name))
    made = {event.command_id for events in logs.values() for event in events}
    looked = await sweep(world, LOOK_ONLY)
    assert looked.found == 0, looked.findings
    written = dict(world.bucket.objects)
    for command in commands:
        if command.command_id in recorded:  # it has its end already, which nobody can change any more
            answer = await world.process().run(command)
            assert (command.command_id in made) == (answer.outcome is Outcome.APPLIED)
            assert all(first in (None, answer) for one, first in answers if one is command), "two answers to one"
    assert world.bucket.objects == written
    assert made <= recorded


async def mended(world: World, servers: Sequence[Any]) -> None:
    """Let every server answer at once, and every lease run out."""

    async def at_once() -> None:
        """Nobody is in the way any more."""

    for server in servers:
        server.pause = at_once
    world.publisher.available = True
    world.redis.turns.clear()
    world.redis.queues.clear()


def commands_of(kinds: str) -> list[Command]:
    make: dict[str, Callable[..., Command]] = {"c": create, "u": update, "d": delete}
    return [make[kind]() for kind in kinds]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Turns are asked for again at once."""
    monkeypatch.setattr(turn_queue, "POLL_S", 0)


def run_bounded(story: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await story

    asyncio.run(bounded())


@given(seed=st.integers(0, 2**32), kinds=st.sampled_from(KINDS))
@settings(max_examples=100, deadline=None)
def test_sweeps_beside_living_commands_change_no_promise(seed: int, kinds: str):
    run_bounded(_play(seed, commands_of(kinds), attempts=1, chance=0, dying=0))


@given(seed=st.integers(0, 2**32), kinds=st.sampled_from(KINDS), attempts=st.integers(1, 2))
@settings(max_examples=200, deadline=None)
def test_sweeps_beside_the_dying_and_mishaps_leave_nothing_half_done(seed: int, kinds: str, attempts: int):
    run_bounded(_play(seed, commands_of(kinds), attempts=attempts, chance=0.1, dying=0.06))
