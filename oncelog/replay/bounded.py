"""Doing the same to many, some at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

#: A task costs more than much of what is done to one value, so a few go through all of them.
TASKS_MAX = 64

Given = TypeVar("Given")
Found = TypeVar("Found")


async def concurrently(
    free: asyncio.Semaphore, doing: Callable[[Given], Coroutine[Any, Any, Found]], values: Iterable[Given]
) -> list[Found]:
    """Do it to each value as soon as ``free`` lets it, and return what came of each, in their order.

    The first error ends the others: while a server is down, the caller does not wait for each of hundreds to find that
    out.
    """
    given = list(values)
    found: dict[int, Found] = {}
    left = iter(enumerate(given))

    async def work() -> None:
        for place, value in left:
            async with free:
                found[place] = await doing(value)

    tasks = [asyncio.create_task(work()) for _ in range(min(len(given), TASKS_MAX))]
    try:
        await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
    return [found[place] for place in range(len(given))]
