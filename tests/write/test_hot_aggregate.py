"""Many commands of one aggregate: few are under way in a process at once, and no other aggregate waits for them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress

import pytest
from temporalio.exceptions import ApplicationErrorCategory

from oncelog.activities.failures import failure_of
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome
from oncelog.errors import AggregateBusy, StoreUnavailable
from oncelog.ports import Lease, Stage
from oncelog.testing.memory.redis import MemoryLeases, MemoryRedis
from oncelog.write.lease_queue import (
    GRACE_S,
    PACE_S_MAX,
    PACE_S_MIN,
    PLACES_MAX,
    RETRY_S_MAX,
    RETRY_S_MIN,
    LeaseQueue,
)
from tests.bulks import bulk_update, item
from tests.commands import create, update
from tests.contract.topics import first_generations
from tests.write.bulks import Attempt
from tests.write.sweeper import sweep
from tests.write.world import NOON, Process, World

HOT = AggregateId.parse("shop/Product/p1")
JITTER = 0.2


@pytest.fixture
def world() -> World:
    return World()


@asynccontextmanager
async def crowded(process: Process, count: int = PLACES_MAX) -> AsyncIterator[asyncio.Event]:
    """Have commands take every place of the hot aggregate, and stay there until the event that is yielded is set."""
    leave, claimed = asyncio.Event(), 0

    async def stay(step: str) -> None:
        nonlocal claimed
        claimed += step == "claim"
        if step == "allocate":
            await leave.wait()

    commands = [update(payload={f"k{number}": number}) for number in range(count)]
    tasks = [asyncio.create_task(process.commit(command, after_step=stay)) for command in commands]
    while claimed < count:
        await asyncio.sleep(0)
    try:
        yield leave
    finally:
        leave.set()
        results = await asyncio.gather(*tasks)
        assert [result.outcome for result in results] == [Outcome.APPLIED] * count


async def test_ninth_command_is_sent_away_once_claimed(world: World):
    process = world.process()
    await process.run(create())
    ninth = update()
    async with crowded(process):
        written = dict(world.bucket.objects)
        with pytest.raises(AggregateBusy, match=r"^aggregate shop/Product/p1: 8 commands are under way and 1 wait;"):
            await process.commit(ninth)
        assert world.bucket.objects == written
        status = await process.ports.statuses.read_status(ninth.command_id)
        assert status is not None
        assert status.stage is Stage.ACCEPTED
    assert (await process.commit(ninth)).outcome is Outcome.APPLIED
    world.check(published=False)


async def test_other_aggregates_pass_a_crowd(world: World):
    process = world.process()
    await process.run(create())
    async with crowded(process):
        for number in range(2 * PLACES_MAX):
            assert (await process.run(create(f"other{number}"))).sequence_number == 1


async def test_finished_command_is_answered_beside_a_crowd(world: World):
    process = world.process()
    await process.run(create())
    finished = update()
    first = await process.complete(finished)
    async with crowded(process):
        assert await process.commit(finished) == first


async def test_bulk_command_passes_a_crowd(world: World):
    process = world.process()
    await process.run(create())
    async with crowded(process) as leave:
        running = asyncio.create_task(Attempt(process).run(bulk_update(item("p1", {"bulk": True}))))
        leave.set()
        result = await running
        assert isinstance(result, BulkResult)
        assert result.counts.applied == 1
    world.check(published=False)


async def test_one_check_finishes_more_than_the_places(world: World):
    process = world.process()
    await process.run(create())

    class Killed(BaseException):
        pass

    async def die(step: str) -> None:
        if step == "record":
            raise Killed

    commands = [update(payload={f"k{number}": number}) for number in range(2 * PLACES_MAX)]
    for command in commands:
        with pytest.raises(Killed):
            await world.process().commit(command, after_step=die)
        world.redis.flush()
    tally = await sweep(world)
    assert (tally.finished, tally.unfinished) == (len(commands), 0)
    assert len(world.check()[str(HOT)]) == 1 + len(commands)


@pytest.mark.parametrize("how", ["failed", "cancelled"])
async def test_places_are_given_back_however_commands_end(world: World, how: str):
    process = world.process()
    await process.run(create())

    async def end(step: str) -> None:
        if step == "allocate" and how == "failed":
            raise StoreUnavailable("S3", "nothing", "a test")
        if step == "allocate":
            await asyncio.Event().wait()

    for _ in range(2):
        tasks = [asyncio.create_task(process.commit(update(), after_step=end)) for _ in range(PLACES_MAX)]
        await asyncio.wait(tasks, timeout=0.01)
        for task in tasks:
            task.cancel()
        assert len(await asyncio.gather(*tasks, return_exceptions=True)) == PLACES_MAX
    assert (await process.commit(update())).outcome is Outcome.APPLIED


def queue_of(*, grace_s: float = GRACE_S, clock_s: Callable[[], float] = time.monotonic) -> LeaseQueue:
    leases = MemoryLeases(MemoryRedis(), generations=first_generations, lease_ms=10_000)
    return LeaseQueue(leases, grace_s=grace_s, clock_s=clock_s)


@asynccontextmanager
async def full(queue: LeaseQueue, *, places: int = PLACES_MAX) -> AsyncIterator[None]:
    with ExitStack() as taken:
        for number in range(places):
            taken.enter_context(queue.place(HOT, f"inside{number}", accepted_at=NOON))
        yield


def sent_away(queue: LeaseQueue, number: int) -> AggregateBusy:
    with pytest.raises(AggregateBusy) as busy, queue.place(HOT, f"c{number}", accepted_at=f"{NOON}+{number:06d}"):
        pass
    return busy.value


async def test_delay_follows_the_order_of_acceptance():
    queue = queue_of()
    async with full(queue):
        many = [sent_away(queue, number).retry_after_s for number in range(1_000)]
        again = sent_away(queue, 0).retry_after_s
    assert many[50] < many[200] < many[500] < many[999]
    assert again <= RETRY_S_MIN * (1 + JITTER)


@pytest.mark.parametrize(("failing", "follows"), [(False, True), (True, False)])
async def test_delay_follows_the_pace_of_ends(*, failing: bool, follows: bool):
    now_s = 0.0
    queue = queue_of(clock_s=lambda: now_s)
    async with full(queue, places=PLACES_MAX - 1):
        for _ in range(100):  # one command at a time takes the last place, for a tenth of a second
            with suppress(StoreUnavailable), queue.place(HOT, "last", accepted_at=NOON):
                now_s += 0.1
                if failing:
                    raise StoreUnavailable("S3", "nothing", "a test")
        async with full(queue, places=1):
            delays = [sent_away(queue, number).retry_after_s for number in range(100)]
    assert (delays[-1] > 100 * 0.1 * (1 - 2 * JITTER)) is follows


async def test_delay_is_short_after_a_long_outage():
    now_s = 0.0
    queue = queue_of(clock_s=lambda: now_s)
    async with full(queue, places=PLACES_MAX - 1):
        for _ in range(10):
            with queue.place(HOT, "last", accepted_at=NOON):
                now_s += 10_000
        async with full(queue, places=1):
            delays = [sent_away(queue, number).retry_after_s for number in range(100)]
    assert max(delays) <= 100 * PACE_S_MAX * (1 + JITTER)


async def test_delay_falls_while_places_are_free():
    queue = queue_of()
    async with full(queue, places=1):
        for number in range(100):
            with queue.place(HOT, f"c{number}", accepted_at=NOON):
                pass
        async with full(queue, places=PLACES_MAX - 1):
            delays = [sent_away(queue, number).retry_after_s for number in range(100)]
    assert max(delays) <= 100 * PACE_S_MIN * (1 + JITTER) + 0.001


async def test_delay_is_bounded():
    queue = queue_of()
    async with full(queue):
        delays = [sent_away(queue, number).retry_after_s for number in range(10_000)]
    assert min(delays) >= round(RETRY_S_MIN * (1 - JITTER), 3)  # they are milliseconds
    assert RETRY_S_MAX * (1 - JITTER) <= delays[-1] <= RETRY_S_MAX * (1 + JITTER)


async def test_command_that_comes_again_waits_once():
    queue = queue_of()
    async with full(queue):
        assert [sent_away(queue, number).details["waiting"] for number in (1, 2, 1, 2, 3)] == [1, 2, 2, 2, 3]


async def test_command_sent_away_keeps_its_rank_until_it_is_due():
    queue = queue_of()
    async with full(queue):
        sent_away(queue, 1)
        for _ in range(10):
            await asyncio.sleep(0)
        assert sent_away(queue, 2).details["waiting"] == 2


async def test_failed_holder_releases_its_lease():
    leases = MemoryLeases(MemoryRedis(), generations=first_generations, lease_ms=10_000)
    with suppress(StoreUnavailable):
        async with LeaseQueue(leases).lease(HOT, "c1"):
            raise StoreUnavailable("S3", "nothing", "a test")
    (answer,) = await leases.acquire_leases([HOT], "c2")
    assert isinstance(answer, Lease)


async def test_command_that_stays_away_is_forgotten():
    queue = queue_of(grace_s=0.0)
    async with full(queue):
        assert sent_away(queue, 1).details["waiting"] == 1
        async with asyncio.timeout(60):
            while sent_away(queue, 2).details["waiting"] > 1:
                await asyncio.sleep(0.01)


async def test_nothing_is_kept_of_an_aggregate_at_rest():
    queue = queue_of()
    async with full(queue):
        sent_away(queue, 1)
    with queue.place(HOT, "c1", accepted_at=f"{NOON}+{1:06d}"):
        pass
    assert queue.busy_aggregates == 0


async def test_busy_failure_waits_in_temporal_without_noise():
    failure = failure_of(AggregateBusy(str(HOT), places=8, waiting=3, retry_after_s=1.5))
    assert failure.type == "AggregateBusy"
    assert failure.category is ApplicationErrorCategory.BENIGN
    assert not failure.non_retryable
    assert failure.next_retry_delay is not None
    assert failure.next_retry_delay.total_seconds() == 1.5
