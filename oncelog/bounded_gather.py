"""``asyncio.gather`` with a bound: the one way in which many values go through the same step (decision 28)."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, TypeVar

#: Tasks of one call that wait for a semaphore of others: a task costs more than many of the operations on one value.
TASKS_MAX = 64

Given = TypeVar("Given")
Found = TypeVar("Found")


async def bounded_gather(
    step: Callable[[Given], Coroutine[Any, Any, Found]], values: Iterable[Given], *, at_once: int | asyncio.Semaphore
) -> list[Found]:
    """Take each value through the step and return the outcomes in the order of the values.

    ``at_once``: how many steps run at the same time, or a semaphore that several calls share. The first error cancels
    the other steps and is raised: while a server is down, the caller does not wait for each of hundreds to find out.
    """
    given = list(values)
    shared: AbstractAsyncContextManager[Any] = nullcontext() if isinstance(at_once, int) else at_once
    if len(given) == 1:
        async with shared:
            return [await step(given[0])]
    found: dict[int, Found] = {}
    tasks_max = at_once if isinstance(at_once, int) else TASKS_MAX
    left = iter(enumerate(given))
    tasks = [asyncio.create_task(_work(step, left, found, shared)) for _ in range(min(len(given), tasks_max))]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return [found[place] for place in range(len(given))]


async def _work(
    step: Callable[[Given], Coroutine[Any, Any, Found]],
    left: Iterator[tuple[int, Given]],
    found: dict[int, Found],
    shared: AbstractAsyncContextManager[Any],
) -> None:
    """Take one value after the other that no other task has taken."""
    for place, value in left:
        async with shared:
            found[place] = await step(value)
