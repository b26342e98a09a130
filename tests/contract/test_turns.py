"""``Leases``: one holder, first come first served, and what is known only grows."""

import asyncio
from typing import Any

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import CACHED_STATE_BYTES_MAX
from oncelog.ports import UNPUBLISHED, Generations, Lease, Leases, StreamProgress, Waiting, Watermark
from tests.contract.chains import PLACE, chain, state_at
from tests.contract.conftest import Redis
from tests.contract.topics import first_generations

UNKNOWN = Lease(head=0, published=UNPUBLISHED, known=False, state=None)
LONG_MS = 60_000
SHORT_MS = 50


def _leases(redis: Redis, lease_ms: int = LONG_MS, patience_ms: int = LONG_MS) -> Leases:
    return redis.leases(generations=first_generations, lease_ms=lease_ms, patience_ms=patience_ms)


async def _granted(leases: Leases, holder: str) -> Lease:
    """Ask until it is granted, as a waiting command does."""
    async with asyncio.timeout(120):
        while isinstance(answer := await _take(leases, holder), Waiting):
            await asyncio.sleep(0.005)
        return answer


async def _take(leases: Leases, holder: str, **more: bool) -> Lease | Waiting:
    (answer,) = await leases.acquire_leases([PLACE], holder, **more)
    return answer


async def _settle(leases: Leases, holder: str, **known: Any) -> None:
    await leases.save_progress([StreamProgress(PLACE, **known)], holder)


async def _release(leases: Leases, holder: str) -> None:
    await _settle(leases, holder, release=True)


async def _published(leases: Leases) -> Watermark | None:
    (found,) = await leases.published([PLACE])
    return found


async def test_one_holds_the_turn_and_may_ask_again(redis: Redis):
    leases = _leases(redis)
    assert await _take(leases, "a") == UNKNOWN
    assert await _take(leases, "b") == Waiting(position=1)
    assert await _take(leases, "a") == UNKNOWN
    await _release(leases, "a")
    assert await _take(leases, "b") == UNKNOWN


async def test_who_came_first_is_served_first(redis: Redis):
    leases = _leases(redis)
    await _take(leases, "a")
    assert [await _take(leases, name) for name in "bcd"] == [Waiting(1), Waiting(2), Waiting(3)]
    assert [await _take(leases, name) for name in "dcb"] == [Waiting(3), Waiting(2), Waiting(1)]
    for holder, following in ("ab", "bc", "cd"):
        await _release(leases, holder)
        for later in (name for name in "bcde" if name > following):
            assert isinstance(await _take(leases, later), Waiting)
        assert await _take(leases, following) == UNKNOWN


async def test_who_only_waited_may_leave_the_queue(redis: Redis):
    leases = _leases(redis)
    for name in "abc":
        await _take(leases, name)
    await _release(leases, "b")
    await _release(leases, "a")
    assert await _take(leases, "c") == UNKNOWN


async def test_who_does_not_queue_stands_in_nobodys_way(redis: Redis):
    leases = _leases(redis)
    assert await _take(leases, "a", queueing=False) == UNKNOWN
    assert await _take(leases, "b", queueing=False) == Waiting(position=1)
    assert await _take(leases, "c") == Waiting(position=1)
    assert await _take(leases, "b", queueing=False) == Waiting(position=2)
    await _release(leases, "a")
    assert await _take(leases, "b", queueing=False) == Waiting(position=1)
    assert await _take(leases, "c") == UNKNOWN


async def test_many_aggregates_take_one_round_trip(redis: Redis):
    leases = _leases(redis)
    places = [AggregateId.parse(f"shop/Product/m{number}") for number in range(250)]
    events = chain(2)
    await leases.acquire_leases(places[:3], "a")
    await leases.save_progress([StreamProgress(PLACE, state=state_at(events), published=Watermark(1, 1))], "")
    answers = await leases.acquire_leases([*places, PLACE], "b", queueing=False)
    assert answers[:3] == [Waiting(position=1)] * 3
    assert answers[3:-1] == [UNKNOWN] * 247
    assert answers[-1] == Lease(head=2, published=Watermark(1, 1), known=True, state=state_at(events))
    await leases.save_progress(
        [StreamProgress(place, published=Watermark(1, number), release=True) for number, place in enumerate(places)],
        "b",
    )
    assert list(await leases.published(places)) == [None, *(Watermark(1, number) for number in range(1, 250))]
    assert list(await leases.heads([PLACE, *places[1:3]])) == [2, None, None]
    assert [await leases.acquire_leases([place], "c") for place in places[2:5]] == [
        [Waiting(position=1)],
        [UNKNOWN],
        [UNKNOWN],
    ]


async def test_giving_up_what_one_does_not_hold_takes_it_from_nobody(redis: Redis):
    leases = _leases(redis)
    await _take(leases, "a")
    await _release(leases, "b")
    assert await _take(leases, "c") == Waiting(position=1)


async def test_a_lease_runs_out(redis: Redis):
    leases = _leases(redis, lease_ms=SHORT_MS)
    await _take(leases, "a")
    assert isinstance(await _take(leases, "b"), Waiting)
    assert await _granted(leases, "b") == UNKNOWN


async def test_who_stops_asking_loses_the_place(redis: Redis):
    leases = _leases(redis, patience_ms=SHORT_MS)
    await _take(leases, "a")
    await _take(leases, "b")
    await _release(leases, "a")
    assert await _granted(leases, "c") == UNKNOWN


async def test_aggregates_do_not_wait_for_each_other(redis: Redis):
    leases = _leases(redis)
    assert await _take(leases, "a") == UNKNOWN
    assert (await leases.acquire_leases([AggregateId.parse("shop/Product/p2")], "b"))[0] == UNKNOWN


async def test_the_next_one_knows_what_was_settled(redis: Redis):
    leases = _leases(redis)
    state = state_at(chain(3))
    await _take(leases, "a")
    await _settle(leases, "a", state=state, published=Watermark(1, 2), release=True)
    assert await _take(leases, "b") == Lease(head=3, published=Watermark(1, 2), known=True, state=state)
    assert await _published(leases) == Watermark(1, 2)


async def test_what_is_known_is_never_lowered(redis: Redis):
    leases = _leases(redis)
    events = chain(3)
    await _settle(leases, "a", state=state_at(events), published=Watermark(1, 3), release=False)
    await _settle(leases, "b", state=state_at(events[:1]), published=Watermark(1, 1), release=False)
    assert await _take(leases, "c") == Lease(head=3, published=Watermark(1, 3), known=True, state=state_at(events))


async def test_a_watermark_alone_makes_no_head(redis: Redis):
    leases = _leases(redis)
    await _settle(leases, "", state=None, published=Watermark(1, 2), release=False)
    assert await _published(leases) == Watermark(1, 2)
    assert await _take(leases, "a") == UNKNOWN


async def test_what_was_never_settled_is_not_known(redis: Redis):
    assert await _published(_leases(redis)) is None


async def test_watermark_belongs_to_its_generation(redis: Redis):
    async def second_generations() -> Generations:
        return Generations(instances=2)

    of_first = _leases(redis)
    of_second = redis.leases(generations=second_generations, lease_ms=LONG_MS, patience_ms=LONG_MS)
    watermarks = [Watermark(1, 5), Watermark(2, 2)]
    for leases, watermark in zip((of_first, of_second), watermarks, strict=True):
        await _settle(leases, "", state=None, published=watermark, release=False)
    assert [await leases.published([PLACE]) for leases in (of_first, of_second)] == [[one] for one in watermarks]


async def test_release_alone_is_no_watermark(redis: Redis):
    leases = _leases(redis)
    await _take(leases, "a")
    await _release(leases, "a")
    assert await _published(leases) is None  # 0 would have the whole log published again


async def test_forgetting_leaves_the_turn(redis: Redis):
    leases = _leases(redis)
    await _take(leases, "a")
    await _settle(leases, "a", state=state_at(chain(1)), published=Watermark(1, 1), release=False)
    await leases.forget_stream(PLACE)
    assert await _published(leases) is None
    assert await _take(leases, "b") == Waiting(position=1)
    assert await _take(leases, "a") == UNKNOWN


async def test_a_large_state_is_left_to_the_log(redis: Redis):
    leases = _leases(redis)
    small, large = chain(1), chain(2, text="x" * CACHED_STATE_BYTES_MAX)
    await _settle(leases, "a", state=state_at(small), published=UNPUBLISHED, release=False)
    await _settle(leases, "a", state=state_at(large), published=UNPUBLISHED, release=False)
    assert await _take(leases, "a") == Lease(head=2, published=UNPUBLISHED, known=True, state=None)


async def test_of_many_at_once_one_holds_it_at_a_time(redis: Redis):
    leases = _leases(redis)
    holding = 0

    async def hold(name: str) -> None:
        nonlocal holding
        await _granted(leases, name)
        holding += 1
        assert holding == 1
        await asyncio.sleep(0)
        holding -= 1
        await _release(leases, name)

    await asyncio.gather(*(hold(f"h{number}") for number in range(20)))
