"""Bulk commands beside single ones under schedules that Hypothesis draws: who is next, what dies, what is lost."""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factline.domain.bulk.command import Bulk
from factline.domain.bulk.results import BulkResult
from factline.domain.commands import Command
from factline.domain.results import CommandResult, Outcome
from factline.errors import StoreUnavailable
from factline.pipeline import turn_queue
from factline.pipeline.bulk import delivery
from factline.pipeline.bulk.running import Progress
from factline.settings import Settings
from tests.bulks import bulk_create, bulk_delete, bulk_update, item
from tests.commands import create, delete, update
from tests.pipeline.bulks import Attempt, check, check_results, run_bulk
from tests.pipeline.test_schedules import Dead, Schedule, _mishaps
from tests.pipeline.world import Process, World

Asked = Bulk | Command


async def _attempt(process: Process, asked: Asked) -> BulkResult | CommandResult | None:
    try:
        if isinstance(asked, Command):
            return await process.run(asked)
        attempt = Attempt(process)
        answer: BulkResult | Progress | None = None
        for _ in range(3):  # as its workflow goes on with what an attempt of an activity has told
            answer = await attempt.run(asked, attempt.heard)
            if isinstance(answer, BulkResult):
                return answer
    except (Dead, StoreUnavailable, asyncio.CancelledError):
        return None
    return None


async def _play(seed: int, asked: list[Asked], *, attempts: int, chance: float, dying: float) -> None:
    world = World(settings=Settings(snapshot_interval_events=3, bulk_chunk_items_max=4))
    schedule = Schedule(random.Random(seed), _mishaps(world), chance, dying=dying)
    servers = (world.bucket, world.redis, world.publisher, world.documents)
    for server in servers:
        server.pause = schedule.pause
    processes = [world.process() for _ in range(attempts)]
    trying = [asyncio.create_task(_attempt(process, one)) for process in processes for one in asked]
    await schedule.drive(trying)  # type: ignore[arg-type]
    answers = [(one.command_id, task.result()) for task, one in zip(trying, asked * attempts, strict=True)]

    async def at_once() -> None:
        """Nobody is in the way any more."""

    for server in servers:
        server.pause = at_once
    world.publisher.available = True
    world.redis.turns.clear()
    world.redis.queues.clear()
    final: dict[str, CommandResult] = {}
    for one in asked:
        final[one.command_id] = (
            await world.process().run(one) if isinstance(one, Command) else await run_bulk(world, one)
        )
    for command_id, answer in answers:
        assert answer is None or answer == final[command_id], "two answers to one command"
    events = [event for log in check(world).values() for event in log]
    made = {event.command_id for event in events}
    for one in asked:
        result = final[one.command_id]
        if isinstance(result, BulkResult):
            assert result.outcome is Outcome.APPLIED
            check_results(world, result)
            assert (result.counts.applied > 0) == (one.command_id in made)
        else:
            assert (result.outcome is Outcome.APPLIED) == (one.command_id in made)


def _asked(kinds: str) -> list[Asked]:
    make: dict[str, Callable[[], Asked]] = {
        "c": create,
        "u": update,
        "d": delete,
        "C": lambda: bulk_create(item("p1", {"a": 1}), item("p2"), item("p1"), item("p3"), item("p2")),
        "U": lambda: bulk_update(*(item(f"p{number % 2 + 1}", {f"u{number}": 1}) for number in range(7))),
        "D": lambda: bulk_delete(item("p1"), item("p1"), item("p2"), item("p1", expected_version=1)),
    }
    return [make[kind]() for kind in kinds]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn_queue, "POLL_S", 0)
    monkeypatch.setattr(delivery, "SILENCE_S", 0)


def _run(story: Awaitable[None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(60):
            await story

    asyncio.run(bounded())


KINDS = ["Cu", "CU", "cU", "CcUu", "CUD", "UCd", "CC", "cDU"]


@given(seed=st.integers(0, 2**32), kinds=st.sampled_from(KINDS))
@settings(max_examples=60, deadline=None)
def test_any_order_of_steps_keeps_the_promises(seed: int, kinds: str):
    _run(_play(seed, _asked(kinds), attempts=2, chance=0, dying=0))


@given(seed=st.integers(0, 2**32), kinds=st.sampled_from(KINDS))
@settings(max_examples=80, deadline=None)
def test_any_order_of_steps_and_mishaps_keeps_the_promises(seed: int, kinds: str):
    _run(_play(seed, _asked(kinds), attempts=2, chance=0.1, dying=0.015))
