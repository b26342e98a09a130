"""Waiting for a lease on an aggregate: in this process first, then among processes (docs/protocol.md, R5).

A command that waits inside a process holds one of the worker's slots, so few of one aggregate do. The others learn when
to come back, and wait in Temporal, where they hold nothing. So a hot aggregate holds up no other one.
"""

import asyncio
import random
import time
from bisect import bisect_left, insort
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from weakref import WeakValueDictionary

import structlog

from oncelog import metrics
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import AggregateBusy, StoreUnavailable
from oncelog.ports import Lease, Leases, StreamProgress

POLL_S = 0.005
POLL_S_MAX = 0.1

#: How many commands of one aggregate are inside a process at once: enough that its lease is never free for want of one.
PLACES_MAX = 8
#: How soon a command that found no place is tried again: by its rank and the pace, within these bounds.
RETRY_S_MIN = 0.1
RETRY_S_MAX = 120.0
#: A command that has not come back for so long after it was due is gone: committed elsewhere, or terminated.
GRACE_S = 10.0
#: The pace until it is measured, and its bounds: seconds from one command's end to the next one's.
PACE_S, PACE_S_MIN, PACE_S_MAX = 0.03, 0.002, 0.2

log = structlog.get_logger(__name__)


@dataclass
class _Crowd:
    """The commands of one aggregate in this process. ``inside``: holders of a place.

    ``waiting``: those sent away, by the time they were accepted; ``timers``: when each of them is forgotten.
    ``pace_s``: how fast places become free; ``full_since_s``: the last end of a command, if all places were taken.
    """

    inside: int = 0
    waiting: list[tuple[str, str]] = field(default_factory=list)
    timers: dict[tuple[str, str], asyncio.TimerHandle] = field(default_factory=dict)
    pace_s: float = PACE_S
    full_since_s: float | None = None

    def ended(self, now_s: float) -> None:
        """Learn the pace from a command's end: measured while all places are taken, else commands come too slowly."""
        full = self.inside == PLACES_MAX
        if full and self.full_since_s is not None:
            self.pace_s += (min(now_s - self.full_since_s, PACE_S_MAX) - self.pace_s) / PLACES_MAX
        elif not full:
            self.pace_s = max(self.pace_s * 0.9, PACE_S_MIN)
        self.full_since_s = now_s if full else None

    def forget(self, command: tuple[str, str]) -> None:
        """Count a command as waiting no longer."""
        if timer := self.timers.pop(command, None):
            timer.cancel()
            del self.waiting[bisect_left(self.waiting, command)]


class LeaseQueue:
    """Hands out leases one at a time, first come first served within a process, so that few ask Redis at once."""

    def __init__(
        self, leases: Leases, *, grace_s: float = GRACE_S, clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._leases = leases
        self._grace_s = grace_s
        self._clock_s = clock_s
        self._locks: WeakValueDictionary[AggregateId, asyncio.Lock] = WeakValueDictionary()
        self._crowds: dict[AggregateId, _Crowd] = {}

    @property
    def busy_aggregates(self) -> int:
        """How many aggregates something is remembered of."""
        return len(self._crowds)

    @contextmanager
    def place(self, aggregate_id: AggregateId, command_id: str, *, accepted_at: str) -> Iterator[None]:
        """Hold one of the aggregate's places, which a command needs before it does anything that takes long.

        ``accepted_at``: RFC 3339 UTC; of the commands that wait, the first accepted one is to come back first. Raises
        AggregateBusy if all places are taken.
        """
        crowd = self._crowds.setdefault(aggregate_id, _Crowd())
        command = (accepted_at, command_id)
        crowd.forget(command)
        if crowd.inside >= PLACES_MAX:
            raise self._busy(aggregate_id, crowd, command)
        crowd.inside += 1
        try:
            yield
            crowd.ended(self._clock_s())
        finally:  # a failure says nothing of the pace: after an outage no command is to wait for longer than it lasted
            crowd.inside -= 1
            self._drop(aggregate_id, crowd)

    @asynccontextmanager
    async def lease(self, aggregate_id: AggregateId, holder: str) -> AsyncIterator[Lease]:
        """Hold a lease. The caller releases it through ``Leases.settle``; if the caller fails, it is released here."""
        lock = self._locks.setdefault(aggregate_id, asyncio.Lock())
        asked_s = time.monotonic()
        async with lock:
            try:
                lease = await self._acquire(aggregate_id, holder)
                metrics.LEASE_WAIT_SECONDS.observe(time.monotonic() - asked_s)
                yield lease
            except BaseException:
                await self._release(aggregate_id, holder)
                raise

    def _busy(self, aggregate_id: AggregateId, crowd: _Crowd, command: tuple[str, str]) -> AggregateBusy:
        """Remember a command as waiting, until some time after it is due, and return when that is."""
        metrics.AGGREGATES_BUSY.inc()
        rank = bisect_left(crowd.waiting, command)
        insort(crowd.waiting, command)
        due_s = min(max((rank + 1) * crowd.pace_s, RETRY_S_MIN), RETRY_S_MAX)
        due_s *= random.uniform(0.8, 1.2)  # noqa: S311 - so that not all come at once
        loop = asyncio.get_running_loop()
        crowd.timers[command] = loop.call_later(due_s + self._grace_s, self._forget, aggregate_id, crowd, command)
        return AggregateBusy(
            str(aggregate_id), places=PLACES_MAX, waiting=len(crowd.waiting), retry_after_s=round(due_s, 3)
        )

    def _forget(self, aggregate_id: AggregateId, crowd: _Crowd, command: tuple[str, str]) -> None:
        crowd.forget(command)
        self._drop(aggregate_id, crowd)

    def _drop(self, aggregate_id: AggregateId, crowd: _Crowd) -> None:
        if not crowd.inside and not crowd.waiting:
            self._crowds.pop(aggregate_id, None)

    async def _acquire(self, aggregate_id: AggregateId, holder: str) -> Lease:
        while True:
            (answer,) = await self._leases.acquire_leases([aggregate_id], holder)
            if isinstance(answer, Lease):
                return answer
            await asyncio.sleep(min(POLL_S * answer.position, POLL_S_MAX))

    async def _release(self, aggregate_id: AggregateId, holder: str) -> None:
        try:
            await self._leases.save_progress([StreamProgress(aggregate_id, release=True)], holder)
        except StoreUnavailable as error:  # the lease runs out by itself; the first error is reported
            log.warning("lease_not_released", aggregate_id=str(aggregate_id), holder=holder, reason=error.message)
