"""How servers in memory let callers interleave: each waits for a pause before its request takes effect."""

import asyncio
from collections.abc import Awaitable, Callable

Pause = Callable[[], Awaitable[None]]


async def let_others() -> None:
    """Let another ready caller take a step."""
    await asyncio.sleep(0)
