"""Showing that an activity is alive, and how far it has come, while its work takes long."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from temporalio import activity


@asynccontextmanager
async def heartbeats(so_far: Callable[[], Any], *, every_s: float) -> AsyncIterator[None]:
    """Report every so often how far it has come; the worker throttles these reports."""

    async def beat() -> None:
        while True:
            await asyncio.sleep(every_s)
            activity.heartbeat(so_far())

    beating = asyncio.create_task(beat())
    try:
        yield
    finally:
        beating.cancel()
