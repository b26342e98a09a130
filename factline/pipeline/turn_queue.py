"""Waiting for a turn on an aggregate: in this process first, then among processes (design: rule R5)."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

import structlog

from factline.domain.identifiers import AggregateId
from factline.errors import StoreUnavailable
from factline.ports import Settlement, Turn, Turns

POLL_S = 0.005
POLL_S_MAX = 0.1

log = structlog.get_logger(__name__)


class TurnQueue:
    """Hands out turns one at a time, first come first served within a process, so that few ask Redis at once."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._locks: WeakValueDictionary[AggregateId, asyncio.Lock] = WeakValueDictionary()

    @asynccontextmanager
    async def turn(self, aggregate_id: AggregateId, holder: str) -> AsyncIterator[Turn]:
        """Hold a turn. Who is done says so through ``Turns.settle``; if it fails instead, the turn is given up here."""
        lock = self._locks.setdefault(aggregate_id, asyncio.Lock())
        async with lock:
            try:
                yield await self._take(aggregate_id, holder)
            except BaseException:
                await self._give_up(aggregate_id, holder)
                raise

    async def _take(self, aggregate_id: AggregateId, holder: str) -> Turn:
        while True:
            (answer,) = await self._turns.take([aggregate_id], holder)
            if isinstance(answer, Turn):
                return answer
            await asyncio.sleep(min(POLL_S * answer.position, POLL_S_MAX))

    async def _give_up(self, aggregate_id: AggregateId, holder: str) -> None:
        try:
            await self._turns.settle([Settlement(aggregate_id, release=True)], holder)
        except StoreUnavailable as error:  # the lease runs out by itself; what went wrong first is what counts
            log.warning("turn_not_given_up", aggregate_id=str(aggregate_id), holder=holder, reason=error.message)
