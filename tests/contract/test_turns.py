"""``Turns``: one holder, first come first served, and what is known only grows."""

import asyncio
from typing import Any

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import CACHED_STATE_BYTES_MAX
from oncelog.ports import UNPUBLISHED, Generations, Settlement, Turn, Turns, Waiting, Watermark
from tests.contract.chains import PLACE, chain, state_at
from tests.contract.conftest import Redis
from tests.contract.topics import first_generations

UNKNOWN = Turn(head=0, published=UNPUBLISHED, known=False, state=None)
LONG_MS = 60_000
SHORT_MS = 50


def _turns(redis: Redis, lease_ms: int = LONG_MS, patience_ms: int = LONG_MS) -> Turns:
    return redis.turns(generations=first_generations, lease_ms=lease_ms, patience_ms=patience_ms)


async def _granted(turns: Turns, holder: str) -> Turn:
    """Ask until it is granted, as whoever waits does."""
    async with asyncio.timeout(120):
        while isinstance(answer := await _take(turns, holder), Waiting):
            await asyncio.sleep(0.005)
        return answer


async def _take(turns: Turns, holder: str, **more: bool) -> Turn | Waiting:
    (answer,) = await turns.take([PLACE], holder, **more)
    return answer


async def _settle(turns: Turns, holder: str, **known: Any) -> None:
    await turns.settle([Settlement(PLACE, **known)], holder)


async def _release(turns: Turns, holder: str) -> None:
    await _settle(turns, holder, release=True)


async def _published(turns: Turns) -> Watermark | None:
    (found,) = await turns.published([PLACE])
    return found


async def test_one_holds_the_turn_and_may_ask_again(redis: Redis):
    turns = _turns(redis)
    assert await _take(turns, "a") == UNKNOWN
    assert await _take(turns, "b") == Waiting(position=1)
    assert await _take(turns, "a") == UNKNOWN
    await _release(turns, "a")
    assert await _take(turns, "b") == UNKNOWN


async def test_who_came_first_is_served_first(redis: Redis):
    turns = _turns(redis)
    await _take(turns, "a")
    assert [await _take(turns, name) for name in "bcd"] == [Waiting(1), Waiting(2), Waiting(3)]
    assert [await _take(turns, name) for name in "dcb"] == [Waiting(3), Waiting(2), Waiting(1)]
    for holder, following in ("ab", "bc", "cd"):
        await _release(turns, holder)
        for later in (name for name in "bcde" if name > following):
            assert isinstance(await _take(turns, later), Waiting)
        assert await _take(turns, following) == UNKNOWN


async def test_who_only_waited_may_leave_the_queue(redis: Redis):
    turns = _turns(redis)
    for name in "abc":
        await _take(turns, name)
    await _release(turns, "b")
    await _release(turns, "a")
    assert await _take(turns, "c") == UNKNOWN


async def test_who_does_not_queue_stands_in_nobodys_way(redis: Redis):
    turns = _turns(redis)
    assert await _take(turns, "a", queueing=False) == UNKNOWN
    assert await _take(turns, "b", queueing=False) == Waiting(position=1)
    assert await _take(turns, "c") == Waiting(position=1)
    assert await _take(turns, "b", queueing=False) == Waiting(position=2)
    await _release(turns, "a")
    assert await _take(turns, "b", queueing=False) == Waiting(position=1)
    assert await _take(turns, "c") == UNKNOWN


async def test_many_aggregates_take_one_round_trip_each_with_its_own_answer(redis: Redis):
    turns = _turns(redis)
    places = [AggregateId.parse(f"shop/Product/m{number}") for number in range(250)]
    events = chain(2)
    await turns.take(places[:3], "a")
    await turns.settle([Settlement(PLACE, state=state_at(events), published=Watermark(1, 1))], "")
    answers = await turns.take([*places, PLACE], "b", queueing=False)
    assert answers[:3] == [Waiting(position=1)] * 3
    assert answers[3:-1] == [UNKNOWN] * 247
    assert answers[-1] == Turn(head=2, published=Watermark(1, 1), known=True, state=state_at(events))
    await turns.settle(
        [Settlement(place, published=Watermark(1, number), release=True) for number, place in enumerate(places)], "b"
    )
    assert list(await turns.published(places)) == [None, *(Watermark(1, number) for number in range(1, 250))]
    assert list(await turns.heads([PLACE, *places[1:3]])) == [2, None, None]
    assert [await turns.take([place], "c") for place in places[2:5]] == [[Waiting(position=1)], [UNKNOWN], [UNKNOWN]]


async def test_giving_up_what_one_does_not_hold_takes_it_from_nobody(redis: Redis):
    turns = _turns(redis)
    await _take(turns, "a")
    await _release(turns, "b")
    assert await _take(turns, "c") == Waiting(position=1)


async def test_a_lease_runs_out(redis: Redis):
    turns = _turns(redis, lease_ms=SHORT_MS)
    await _take(turns, "a")
    assert isinstance(await _take(turns, "b"), Waiting)
    assert await _granted(turns, "b") == UNKNOWN


async def test_who_stops_asking_loses_the_place(redis: Redis):
    turns = _turns(redis, patience_ms=SHORT_MS)
    await _take(turns, "a")
    await _take(turns, "b")
    await _release(turns, "a")
    assert await _granted(turns, "c") == UNKNOWN


async def test_aggregates_do_not_wait_for_each_other(redis: Redis):
    turns = _turns(redis)
    assert await _take(turns, "a") == UNKNOWN
    assert (await turns.take([AggregateId.parse("shop/Product/p2")], "b"))[0] == UNKNOWN


async def test_the_next_one_knows_what_was_settled(redis: Redis):
    turns = _turns(redis)
    state = state_at(chain(3))
    await _take(turns, "a")
    await _settle(turns, "a", state=state, published=Watermark(1, 2), release=True)
    assert await _take(turns, "b") == Turn(head=3, published=Watermark(1, 2), known=True, state=state)
    assert await _published(turns) == Watermark(1, 2)


async def test_what_is_known_is_never_lowered(redis: Redis):
    turns = _turns(redis)
    events = chain(3)
    await _settle(turns, "a", state=state_at(events), published=Watermark(1, 3), release=False)
    await _settle(turns, "b", state=state_at(events[:1]), published=Watermark(1, 1), release=False)
    assert await _take(turns, "c") == Turn(head=3, published=Watermark(1, 3), known=True, state=state_at(events))


async def test_a_watermark_alone_makes_no_head(redis: Redis):
    turns = _turns(redis)
    await _settle(turns, "", state=None, published=Watermark(1, 2), release=False)
    assert await _published(turns) == Watermark(1, 2)
    assert await _take(turns, "a") == UNKNOWN


async def test_what_was_never_settled_is_not_known(redis: Redis):
    assert await _published(_turns(redis)) is None


async def test_watermark_belongs_to_its_generation(redis: Redis):
    async def second_generations() -> Generations:
        return Generations(instances=2)

    of_first = _turns(redis)
    of_second = redis.turns(generations=second_generations, lease_ms=LONG_MS, patience_ms=LONG_MS)
    watermarks = [Watermark(1, 5), Watermark(2, 2)]
    for turns, watermark in zip((of_first, of_second), watermarks, strict=True):
        await _settle(turns, "", state=None, published=watermark, release=False)
    assert [await turns.published([PLACE]) for turns in (of_first, of_second)] == [[one] for one in watermarks]


async def test_release_alone_is_no_watermark(redis: Redis):
    turns = _turns(redis)
    await _take(turns, "a")
    await _release(turns, "a")
    assert await _published(turns) is None  # 0 would have the whole log published again


async def test_forgetting_leaves_the_turn(redis: Redis):
    turns = _turns(redis)
    await _take(turns, "a")
    await _settle(turns, "a", state=state_at(chain(1)), published=Watermark(1, 1), release=False)
    await turns.forget(PLACE)
    assert await _published(turns) is None
    assert await _take(turns, "b") == Waiting(position=1)
    assert await _take(turns, "a") == UNKNOWN


async def test_a_large_state_is_left_to_the_log(redis: Redis):
    turns = _turns(redis)
    small, large = chain(1), chain(2, text="x" * CACHED_STATE_BYTES_MAX)
    await _settle(turns, "a", state=state_at(small), published=UNPUBLISHED, release=False)
    await _settle(turns, "a", state=state_at(large), published=UNPUBLISHED, release=False)
    assert await _take(turns, "a") == Turn(head=2, published=UNPUBLISHED, known=True, state=None)


async def test_of_many_at_once_one_holds_it_at_a_time(redis: Redis):
    turns = _turns(redis)
    holding = 0

    async def hold(name: str) -> None:
        nonlocal holding
        await _granted(turns, name)
        holding += 1
        assert holding == 1
        await asyncio.sleep(0)
        holding -= 1
        await _release(turns, name)

    await asyncio.gather(*(hold(f"h{number}") for number in range(20)))
