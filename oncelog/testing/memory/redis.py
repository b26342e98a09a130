"""Redis' twin: the same steps on dictionaries, under a clock that a test may set."""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.limits import CACHED_STATE_BYTES_MAX
from oncelog.domain.unique.entry import ValueChain
from oncelog.errors import StoreUnavailable
from oncelog.ports import CommandStatus, Generations, Lease, Stage, StreamProgress, Waiting, Watermark
from oncelog.stores.redis.leases import PATIENCE_MS
from oncelog.stores.sealed_state import seal_state
from oncelog.testing.memory.pause import Pause, let_others

Value = TypeVar("Value")


class _Expiring(Generic[Value]):
    """A dictionary with entries that expire."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.entries: dict[str, tuple[Value, float]] = {}

    def get(self, key: str) -> Value | None:
        value, until_s = self.entries.get(key, (None, 0.0))
        return value if self.clock() < until_s else None

    def put(self, key: str, value: Value, *, ttl_s: float) -> None:
        self.entries[key] = (value, self.clock() + ttl_s)

    def drop(self, key: str) -> None:
        self.entries.pop(key, None)

    def clear(self) -> None:
        self.entries.clear()


@dataclass(frozen=True)
class _Known:
    """The known progress of a stream; ``head`` None where only its watermarks are. ``published``: one by generation."""

    head: int | None = None
    published: Mapping[int, int] = field(default_factory=dict)
    state: Instance | None = None

    def watermark(self, generation: int) -> Watermark | None:
        through = self.published.get(generation)
        return None if through is None else Watermark(generation, through)


class MemoryRedis:
    """The contents of one Redis. ``clock`` gives seconds; ``flush`` empties it, as FLUSHALL does.

    ``available`` False plays an outage. ``before`` and ``after`` interrupt a step before it takes effect, and after it
    did but before it is answered; ``pause`` lets other callers go first.
    """

    def __init__(self, *, memory_s: float = 7 * 24 * 3600, clock: Callable[[], float] = time.monotonic) -> None:
        self.memory_s = memory_s
        self.clock = clock
        self.calls: Counter[str] = Counter()
        self.available = True
        self.before: Callable[[str], None] = _none
        self.after: Callable[[str], None] = _none
        self.pause: Pause = let_others
        self.leases: _Expiring[str] = _Expiring(clock)
        self.queues: dict[str, dict[str, float]] = {}  # holders in order of arrival, and when each asked last
        self.known: _Expiring[_Known] = _Expiring(clock)
        self.statuses: _Expiring[CommandStatus] = _Expiring(clock)
        self.last_places: _Expiring[int] = _Expiring(clock)

    def flush(self) -> None:
        self.leases.clear()
        self.queues.clear()
        self.known.clear()
        self.statuses.clear()
        self.last_places.clear()

    async def run(self, step: str, effect: Callable[[], Value]) -> Value:
        """Take one step whole, as a script does; others go first, so that concurrent ones interleave."""
        self.calls[step] += 1
        await self.pause()
        if not self.available:
            raise StoreUnavailable("Redis in memory", step, "made unavailable")
        self.before(step)
        answer = effect()
        self.after(step)
        return answer


def _none(_step: str) -> None:
    """Let it pass."""


class MemoryLeases:
    """``Leases`` in memory. ``generations`` gives the current generations of the topics."""

    def __init__(
        self,
        redis: MemoryRedis,
        *,
        generations: Callable[[], Awaitable[Generations]],
        lease_ms: int,
        patience_ms: int = PATIENCE_MS,
    ) -> None:
        self._redis = redis
        self._generations = generations
        self._lease_s = lease_ms / 1000
        self._patience_s = patience_ms / 1000

    async def acquire_leases(
        self, aggregate_ids: Sequence[AggregateId], holder: str, *, queueing: bool = True
    ) -> list[Lease | Waiting]:
        generations = await self._generations()
        wanted = [(str(aggregate_id), generations.of(aggregate_id)) for aggregate_id in aggregate_ids]
        return await self._redis.run(
            "take_turn", lambda: [self._take(key, generation, holder, queueing=queueing) for key, generation in wanted]
        )

    async def save_progress(self, progress: Sequence[StreamProgress], holder: str) -> None:
        generations = await self._generations()

        def effect() -> None:
            for each in progress:
                key = str(each.aggregate_id)
                published = each.published or Watermark(generations.of(each.aggregate_id), 0)
                self._raise(key, each.state, published)
                if each.release:
                    self._release(key, holder)

        await self._redis.run("settle_turn", effect)

    async def published(self, aggregate_ids: Sequence[AggregateId]) -> list[Watermark | None]:
        generations = await self._generations()
        return [
            None if known is None else known.watermark(generations.of(aggregate_id))
            for aggregate_id, known in zip(aggregate_ids, await self._known(aggregate_ids), strict=True)
        ]

    async def heads(self, aggregate_ids: Sequence[AggregateId]) -> list[int | None]:
        return [None if known is None else known.head for known in await self._known(aggregate_ids)]

    async def _known(self, aggregate_ids: Sequence[AggregateId]) -> list[_Known | None]:
        return await self._redis.run("hget", lambda: [self._redis.known.get(str(name)) for name in aggregate_ids])

    async def forget_stream(self, aggregate_id: AggregateId) -> None:
        await self._redis.run("delete", lambda: self._redis.known.drop(str(aggregate_id)))

    def _take(self, key: str, generation: int, holder: str, *, queueing: bool) -> Lease | Waiting:
        redis, now_s = self._redis, self._redis.clock()
        queue = {
            name: seen_s for name, seen_s in redis.queues.get(key, {}).items() if seen_s > now_s - self._patience_s
        }
        redis.queues[key] = queue
        current = redis.leases.get(key)
        if current == holder or (current is None and next(iter(queue), holder) == holder):
            redis.leases.put(key, holder, ttl_s=self._lease_s)
            queue.pop(holder, None)
            return _turn(redis.known.get(key), generation)
        if not queueing:
            return Waiting(position=len(queue) + (current is not None))
        queue[holder] = now_s  # a holder that is there already keeps its place
        return Waiting(position=list(queue).index(holder) + (current is not None))

    def _raise(self, key: str, state: Instance | None, published: Watermark) -> None:
        known = self._redis.known.get(key) or _Known()
        if state is not None and state.sequence_number >= (known.head or 0):
            kept = state if len(seal_state(state)) <= CACHED_STATE_BYTES_MAX else None
            known = replace(known, head=state.sequence_number, state=kept)
        generation, through = published
        if (state is not None or through) and through >= known.published.get(generation, 0):
            known = replace(known, published={**known.published, generation: through})
        if known != _Known():
            self._redis.known.put(key, known, ttl_s=self._redis.memory_s)

    def _release(self, key: str, holder: str) -> None:
        if self._redis.leases.get(key) == holder:
            self._redis.leases.drop(key)
        self._redis.queues.get(key, {}).pop(holder, None)


def _turn(known: _Known | None, generation: int) -> Lease:
    watermark = known.watermark(generation) if known else None
    head = known.head if known else None
    if known is None or head is None or watermark is None:
        return Lease(head=head or 0, published=Watermark(generation, 0), known=False, state=None)
    return Lease(head=head, published=watermark, known=True, state=known.state)


class MemoryChainHints:
    """``ChainHints`` in memory."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis

    async def last_places(self, chains: Sequence[ValueChain]) -> list[int | None]:
        return await self._redis.run("mget", lambda: [self._redis.last_places.get(str(chain)) for chain in chains])

    async def save_last_places(self, places: Sequence[tuple[ValueChain, int]]) -> None:
        def effect() -> None:
            for chain, n in places:
                self._redis.last_places.put(str(chain), n, ttl_s=self._redis.memory_s)

        await self._redis.run("set", effect)


class MemoryCommandStatuses:
    """``CommandStatuses`` in memory."""

    def __init__(self, redis: MemoryRedis) -> None:
        self._redis = redis

    async def claim_command(self, status: CommandStatus) -> CommandStatus | None:
        def effect() -> CommandStatus | None:
            existing = self._redis.statuses.get(status.command_id)
            if existing is None:
                self._put(status, status.history)
            return existing

        return await self._redis.run("claim_command", effect)

    async def complete_command(self, status: CommandStatus) -> None:
        def effect() -> None:
            existing = self._redis.statuses.get(status.command_id)
            earlier = existing.history if existing and existing.command_hash == status.command_hash else ()
            self._put(status, (*earlier, *status.history))

        await self._redis.run("complete_command", effect)

    async def read_status(self, command_id: str) -> CommandStatus | None:
        return await self._redis.run("hgetall", lambda: self._redis.statuses.get(command_id))

    def _put(self, status: CommandStatus, history: Sequence[tuple[Stage, str]]) -> None:
        times = dict(reversed(history))  # of two times of one stage, the first
        stage = max((status.stage, *times), key=list(Stage).index)
        kept = replace(status, stage=stage, history=tuple((stage, times[stage]) for stage in Stage if stage in times))
        self._redis.statuses.put(status.command_id, kept, ttl_s=self._redis.memory_s)
