"""Schedules drawn from a seed: next steps, deaths and losses. For runs that only the end judges."""

import asyncio
import copy
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import CommandResult
from tests.write.world import World

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
            for _ in range(8):  # until every caller waits for a request or for another caller
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


def mishaps_of(world: World) -> list[Callable[[], None]]:
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

    lose = [world.redis.flush, world.redis.leases.clear, world.redis.queues.clear]
    return [*lose, keep, roll_back, overstate, fall_silent]
