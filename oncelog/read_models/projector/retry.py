"""How the projector waits for servers: for as long as an outage lasts, unless it stops."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from oncelog.errors import ContainerUnusable, StoreUnavailable

FIRST_S = 0.1
LONGEST_S = 10.0

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Stopped(Exception):
    """Work was given up because the projector stops; the next owner does it again from the last commit."""


class Backoff:
    """Repeats calls that a server gave no answer to.

    ``stopping``: when it is set, failing work is abandoned at once; ``refused``: receives each unusable container.
    """

    def __init__(self, stopping: asyncio.Event, *, refused: Callable[[ContainerUnusable], None]) -> None:
        self._stopping = stopping
        self._refused = refused

    async def until_done(self, doing: Callable[[], Awaitable[T]]) -> T:
        """Return its result in the end; raises Stopped, and all its errors but StoreUnavailable."""
        pauses = self.pauses()
        while True:
            try:
                return await doing()
            except StoreUnavailable as error:
                if isinstance(error, ContainerUnusable):
                    self._refused(error)
                await pauses(error.message)

    def pauses(self) -> Callable[[str], Awaitable[None]]:
        """Return a function that takes the reason and waits, longer at each call; it raises Stopped."""
        pause_s = FIRST_S

        async def pause(reason: str) -> None:
            nonlocal pause_s
            log.warning("projector_waits", reason=reason, seconds=round(pause_s, 2))
            if not self._stopping.is_set():
                await _either(self._stopping, pause_s * random.uniform(0.5, 1.5))  # noqa: S311 - so that many do not come at once
            if self._stopping.is_set():
                raise Stopped(reason)
            pause_s = min(pause_s * 2, LONGEST_S)

        return pause


async def _either(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return
