"""``Turns``: one holder, first come first served, and what is known only grows."""

import asyncio

from factline.domain.identifiers import AggregateId
from factline.ports import Turn, Turns, Waiting
from factline.stores.redis import CACHED_STATE_BYTES_MAX
from tests.contract.chains import PLACE, chain, state_at
from tests.contract.conftest import Redis

UNKNOWN = Turn(head=0, published=0, known=False, state=None)
LONG_MS = 60_000
SHORT_MS = 50


def _turns(redis: Redis, lease_ms: int = LONG_MS, patience_ms: int = LONG_MS) -> Turns:
    return redis.turns(lease_ms=lease_ms, patience_ms=patience_ms)


async def _granted(turns: Turns, holder: str) -> Turn:
    """Ask until it is granted, as whoever waits does."""
    async with asyncio.timeout(10):
        while isinstance(answer := await turns.take(PLACE, holder), Waiting):
            await asyncio.sleep(0.005)
        return answer


async def _release(turns: Turns, holder: str) -> None:
    await turns.settle(PLACE, holder, state=None, published=0, release=True)


async def test_one_holds_the_turn_and_may_ask_again(redis: Redis):
    turns = _turns(redis)
    assert await turns.take(PLACE, "a") == UNKNOWN
    assert await turns.take(PLACE, "b") == Waiting(position=1)
    assert await turns.take(PLACE, "a") == UNKNOWN
    await _release(turns, "a")
    assert await turns.take(PLACE, "b") == UNKNOWN


async def test_who_came_first_is_served_first(redis: Redis):
    turns = _turns(redis)
    await turns.take(PLACE, "a")
    assert [await turns.take(PLACE, name) for name in "bcd"] == [Waiting(1), Waiting(2), Waiting(3)]
    assert [await turns.take(PLACE, name) for name in "dcb"] == [Waiting(3), Waiting(2), Waiting(1)]
    for holder, following in ("ab", "bc", "cd"):
        await _release(turns, holder)
        for later in (name for name in "bcde" if name > following):
            assert isinstance(await turns.take(PLACE, later), Waiting)
        assert await turns.take(PLACE, following) == UNKNOWN


async def test_who_only_waited_may_leave_the_queue(redis: Redis):
    turns = _turns(redis)
    for name in "abc":
        await turns.take(PLACE, name)
    await _release(turns, "b")
    await _release(turns, "a")
    assert await turns.take(PLACE, "c") == UNKNOWN


async def test_giving_up_what_one_does_not_hold_takes_it_from_nobody(redis: Redis):
    turns = _turns(redis)
    await turns.take(PLACE, "a")
    await _release(turns, "b")
    assert await turns.take(PLACE, "c") == Waiting(position=1)


async def test_a_lease_runs_out(redis: Redis):
    turns = _turns(redis, lease_ms=SHORT_MS)
    await turns.take(PLACE, "a")
    assert isinstance(await turns.take(PLACE, "b"), Waiting)
    assert await _granted(turns, "b") == UNKNOWN


async def test_who_stops_asking_loses_the_place(redis: Redis):
    turns = _turns(redis, patience_ms=SHORT_MS)
    await turns.take(PLACE, "a")
    await turns.take(PLACE, "b")
    await _release(turns, "a")
    assert await _granted(turns, "c") == UNKNOWN


async def test_aggregates_do_not_wait_for_each_other(redis: Redis):
    turns = _turns(redis)
    assert await turns.take(PLACE, "a") == UNKNOWN
    assert await turns.take(AggregateId.parse("shop/Product/p2"), "b") == UNKNOWN


async def test_the_next_one_knows_what_was_settled(redis: Redis):
    turns = _turns(redis)
    state = state_at(chain(3))
    await turns.take(PLACE, "a")
    await turns.settle(PLACE, "a", state=state, published=2, release=True)
    assert await turns.take(PLACE, "b") == Turn(head=3, published=2, known=True, state=state)
    assert await turns.published(PLACE) == 2


async def test_what_is_known_is_never_lowered(redis: Redis):
    turns = _turns(redis)
    events = chain(3)
    await turns.settle(PLACE, "a", state=state_at(events), published=3, release=False)
    await turns.settle(PLACE, "b", state=state_at(events[:1]), published=1, release=False)
    assert await turns.take(PLACE, "c") == Turn(head=3, published=3, known=True, state=state_at(events))


async def test_a_watermark_alone_makes_no_head(redis: Redis):
    turns = _turns(redis)
    await turns.settle(PLACE, "", state=None, published=2, release=False)
    assert await turns.published(PLACE) == 2
    assert await turns.take(PLACE, "a") == UNKNOWN


async def test_what_was_never_settled_is_not_known(redis: Redis):
    assert await _turns(redis).published(PLACE) is None


async def test_forgetting_leaves_the_turn(redis: Redis):
    turns = _turns(redis)
    await turns.take(PLACE, "a")
    await turns.settle(PLACE, "a", state=state_at(chain(1)), published=1, release=False)
    await turns.forget(PLACE)
    assert await turns.published(PLACE) is None
    assert await turns.take(PLACE, "b") == Waiting(position=1)
    assert await turns.take(PLACE, "a") == UNKNOWN


async def test_a_large_state_is_left_to_the_log(redis: Redis):
    turns = _turns(redis)
    small, large = chain(1), chain(2, text="x" * CACHED_STATE_BYTES_MAX)
    await turns.settle(PLACE, "a", state=state_at(small), published=0, release=False)
    await turns.settle(PLACE, "a", state=state_at(large), published=0, release=False)
    assert await turns.take(PLACE, "a") == Turn(head=2, published=0, known=True, state=None)


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
