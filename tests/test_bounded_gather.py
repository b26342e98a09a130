"""Many values through one step: their order, the bound, and the end after an error."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oncelog.bounded_gather import bounded_gather


class Steps:
    """Steps that wait until they are let go; ``most``: how many ran at the same time."""

    def __init__(self) -> None:
        self.running = 0
        self.most = 0
        self.cancelled: list[int] = []

    async def double(self, value: int) -> int:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            for _ in range(value % 3):
                await asyncio.sleep(0)
        finally:
            self.running -= 1
        return value * 2

    async def fail_at_3(self, value: int) -> None:
        if value == 3:
            raise LookupError("three")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.append(value)
            raise


@given(st.lists(st.integers(0, 20), max_size=30), st.integers(1, 8))
def test_outcomes_keep_the_order_of_values(values: list[int], at_once: int):
    steps = Steps()
    assert asyncio.run(bounded_gather(steps.double, values, at_once=at_once)) == [value * 2 for value in values]
    assert steps.most <= at_once


async def test_semaphore_bounds_several_calls_together():
    steps, free = Steps(), asyncio.Semaphore(3)
    both = await asyncio.gather(*(bounded_gather(steps.double, range(20), at_once=free) for _ in range(2)))
    assert both == [[value * 2 for value in range(20)]] * 2
    assert steps.most == 3


@pytest.mark.parametrize("at_once", [4, 100])
async def test_first_error_cancels_the_other_steps(at_once: int):
    steps = Steps()
    with pytest.raises(LookupError, match="three"):
        await bounded_gather(steps.fail_at_3, range(50), at_once=at_once)
    assert sorted(steps.cancelled) == [value for value in range(min(at_once, 50)) if value != 3]


async def test_cancelled_call_cancels_its_steps():
    steps = Steps()
    call = asyncio.create_task(bounded_gather(steps.fail_at_3, [1, 2], at_once=2))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sorted(steps.cancelled) == [1, 2]
