"""Doing the same to many, some at a time."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


async def concurrently(
    free: asyncio.Semaphore, doing: Callable[[Given], Coroutine[Any, Any, Found]], values: Iterable[Given]
) -> list[Found]:
    """Do it to each value as soon as ``free`` lets it, and return what came of each, in their order.

    The first error ends the others: while a server is down, nobody waits for every one of hundreds to find that out.
    """

    async def one(value: Given) -> Found:
        async with free:
            return await doing(value)

    tasks = [asyncio.create_task(one(value)) for value in values]
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
