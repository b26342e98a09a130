"""The real command path under schedules that Hypothesis draws: who takes the next step, what dies, what is lost.

What ``tests/model`` tries in full on a model is tried here in part on the code itself, so that the two stay in step.
"""

import asyncio
import copy
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factline.domain.commands import Command
from factline.domain.identifiers import AggregateId
from factline.domain.results import CommandResult, Outcome
from factline.errors import StoreUnavailable
from factline.pipeline import turn_queue
from tests.commands import create, delete, update
from tests.pipeline.world import Process, World

PLACE = AggregateId.parse("shop/Product/p1")


class Dead(BaseException):
    """The process is gone."""


@dataclass
class Schedule:
    """Lets one request through at a time, whichever the dice say, and has mishaps in between."""

    dice: random.Random
    mishaps: list[Callable[[], None]]
    chance: float
    waiting: list[asyncio.Future[None]] = field(default_factory=list)
    dying: float = 0.0
    steps: int = 0

    async def pause(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        await turn

    async def drive(self, attempts: list[asyncio.Task[CommandResult | None]]) -> None:
        while not all(attempt.done() for attempt in attempts):
            for _ in range(8):  # until everybody waits for a request or for somebody else
                await asyncio.sleep(0)
            if not self.waiting:
                continue
            if self.mishaps and self.dice.random() < self.chance:
                self.dice.choice(self.mishaps)()
            self.steps += 1
            turn = self.waiting.pop(self.dice.randrange(len(self.waiting)))
            if turn.cancelled():
                continue
            if self.dice.random() < self.dying:
                turn.set_exception(Dead())
            else:
                turn.set_result(None)


async def _attempt(process: Process, command: Command) -> CommandResult | None:
    try:
        return await process.run(command)
    except (Dead, StoreUnavailable, asyncio.CancelledError):  # cancelled: the batch its document was in has died
        return None


def _mishaps(world: World) -> list[Callable[[], None]]:
    kept = copy.deepcopy(world.redis.known)

    def keep() -> None:
        nonlocal kept
        kept = copy.deepcopy(world.redis.known)

    def roll_back() -> None:
        world.redis.known = copy.deepcopy(kept)

    def fall_silent() -> None:
        world.publisher.available = not world.publisher.available

    def overstate() -> None:
        known = world.redis.known.get(str(PLACE))
        if known is not None and known.head is not None:
            wrong = replace(known, head=known.head + 1, state=None)
            world.redis.known.put(str(PLACE), wrong, ttl_s=world.redis.memory_s)

    lose = [world.redis.flush, world.redis.turns.clear, world.redis.queues.clear]
    return [*lose, keep, roll_back, overstate, fall_silent]


async def _play(seed: int, commands: list[Command], *, attempts: int, chance: float, dying: float) -> World:
    """Let several processes try every command several times, then mend everything and ask each once more."""
    world = World()
    schedule = Schedule(random.Random(seed), _mishaps(world), chance, dying=dying)
    for server in (world.bucket, world.redis, world.publisher, world.documents):
        server.pause = schedule.pause
    processes = [world.process() for _ in range(attempts)]
    trying = [asyncio.create_task(_attempt(process, command)) for process in processes for command in commands]
    await schedule.drive(trying)
    assert schedule.steps > 5 * len(commands)
    answers = [(command.command_id, task.result()) for task, command in zip(trying, commands * attempts, strict=True)]

    async def at_once() -> None:
        """Nobody is in the way any more."""

    for server in (world.bucket, world.redis, world.publisher, world.documents):
        server.pause = at_once
    world.publisher.available = True
    world.redis.turns.clear()
    world.redis.queues.clear()
    final = {command.command_id: await world.process().run(command) for command in commands}
    for command_id, answer in answers:
        assert answer is None or answer == final[command_id], "two answers to one command"
    applied = {command_id for command_id, answer in final.items() if answer.outcome is Outcome.APPLIED}
    logs = world.check()
    assert {event.command_id for events in logs.values() for event in events} == applied
    if logs:
        world.check_document(PLACE)
    return world


def _commands(kinds: str) -> list[Command]:
    make: dict[str, Callable[..., Command]] = {"c": create, "u": update, "d": delete}
    return [make[kind]() for kind in kinds]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_queue, "POLL_S", 0)


def _run(story: Awaitable[World]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(30):
            await story

    asyncio.run(bounded())


@given(seed=st.integers(0, 2**32), kinds=st.sampled_from(["cu", "cc", "cud", "cuuu", "cdcu", "ccdd"]))
@settings(max_examples=150, deadline=None)
def test_any_order_of_steps_keeps_the_promises(seed: int, kinds: str):
    _run(_play(seed, _commands(kinds), attempts=2, chance=0, dying=0))


@given(seed=st.integers(0, 2**32), kinds=st.sampled_from(["cu", "cc", "cud", "cuuu", "cdcu"]))
@settings(max_examples=250, deadline=None)
def test_any_order_of_steps_and_mishaps_keeps_the_promises(seed: int, kinds: str):
    _run(_play(seed, _commands(kinds), attempts=2, chance=0.15, dying=0.03))
