"""Broken versions of the path that claims unique values, run until the checker names what is wrong."""

import asyncio
import contextlib
import random
from typing import Any

import pytest

from oncelog.checks.verify import Report, nothing_in_flight, verify
from oncelog.domain.commands import Command
from oncelog.domain.unique.entry import UniqueEntry
from oncelog.errors import AggregateBusy, StoreUnavailable
from oncelog.verification.findings import Code
from oncelog.write.unique.chains import ChainEnd, ValueChains
from oncelog.write.unique.claims import UniqueClaims
from tests.commands import create, delete, update
from tests.unique_values import define_users
from tests.verification.broken import Version, as_it_is, heal
from tests.write.schedules import Dead, Schedule, mishaps_of
from tests.write.world import World


async def play(seed: int) -> Report:
    """Let several clients fight over two values, and verify what that leaves behind."""
    dice, world = random.Random(seed), World()
    await world.process().run(define_users())
    await world.process().run(create("a", {"email": "x"}))
    commands = [update("a", {"email": "z"}), create("b", {"email": "x"}), create("c", {"email": "z"}), delete("a")]
    schedule = Schedule(dice, mishaps_of(world), chance=0.05, dying=0.02)
    world.bucket.pause = world.redis.pause = schedule.pause
    await schedule.drive([asyncio.create_task(_attempt(world, command)) for command in commands for _ in range(2)])
    await heal(world)
    for command in (*commands, create("d", {"email": "x"}), create("e", {"email": "z"})):
        await world.process().run(command)
    return await verify(world.sources, in_flight=nothing_in_flight)


async def _attempt(world: World, command: Command) -> None:
    with contextlib.suppress(Dead, StoreUnavailable, AggregateBusy):
        await world.process().run(command)


def without_entries(patch: pytest.MonkeyPatch) -> None:
    async def write(_: UniqueClaims, _entries: Any) -> bool:
        return True

    patch.setattr(UniqueClaims, "write", write)


def without_looking_at_the_entry_before(patch: pytest.MonkeyPatch) -> None:
    async def over(_: ValueChains, entry: UniqueEntry) -> ChainEnd:
        return ChainEnd(n=entry.n + 1)

    patch.setattr(ValueChains, "_judge", over)


def without_proof_of_the_holder(patch: pytest.MonkeyPatch) -> None:
    async def held(self: ValueChains, entry: UniqueEntry) -> ChainEnd | None:
        holder = None
        async for state in self._reader.onward(entry.aggregate, start=entry.slot):
            holder = state
        return ChainEnd(n=entry.n + 1, holder=holder) if holder else await self._broken(entry)

    patch.setattr(ValueChains, "_judge", held)


VERSIONS = [
    Version("unique values, as it is", as_it_is, play=play),
    Version("entries are not written before the event", without_entries, frozenset({Code.ENTRY_MISSING}), play),
    Version(
        "a place is named without a look at the entry before",
        without_looking_at_the_entry_before,
        frozenset({Code.ENTRY_UNFOUNDED}),
        play,
    ),
    Version(
        "values are refused without proof of their holder",
        without_proof_of_the_holder,
        frozenset({Code.REJECTION_UNFOUNDED}),
        play,
    ),
]
