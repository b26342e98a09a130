"""Leases in Redis, and each stream's head and watermark as Redis knows them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.limits import CACHED_STATE_BYTES_MAX
from oncelog.errors import LogDamaged
from oncelog.ports import Generations, Lease, StreamProgress, Waiting, Watermark
from oncelog.ports.stream import FIRST_GENERATION
from oncelog.stores.redis.server import RedisServer
from oncelog.stores.sealed_state import open_state, seal_state

_log = structlog.get_logger()

PATIENCE_MS = 2_000  # an attempt that has not asked for its lease for so long has left the queue


class RedisLeases:
    """``Leases`` in Redis. ``lease_ms``: the duration of a lease that is neither released nor renewed.

    ``generations`` gives the current generations of the topics. Each generation's watermark is a field of its own.
    """

    def __init__(
        self,
        server: RedisServer,
        *,
        generations: Callable[[], Awaitable[Generations]],
        lease_ms: int,
        patience_ms: int = PATIENCE_MS,
    ) -> None:
        self._server = server
        self._generations = generations
        self._lease_ms = lease_ms
        self._patience_ms = patience_ms

    async def acquire_leases(
        self, aggregate_ids: Sequence[AggregateId], holder: str, *, queueing: bool = True
    ) -> list[Lease | Waiting]:
        generations = await self._generations()
        arguments = (holder, self._lease_ms, self._patience_ms, int(queueing))
        calls = [(self._keys(name), (*arguments, _watermark_field(generations.of(name)))) for name in aggregate_ids]
        answers = await self._server.run_each("take_turn", calls)
        return [
            _lease(aggregate_id, generations.of(aggregate_id), *found) if granted else Waiting(position=found[0])
            for aggregate_id, (granted, *found) in zip(aggregate_ids, answers, strict=True)
        ]

    async def save_progress(self, progress: Sequence[StreamProgress], holder: str) -> None:
        generations = await self._generations()
        calls = [
            (self._keys(one.aggregate_id), self._arguments(one, holder, generations.of(one.aggregate_id)))
            for one in progress
        ]
        await self._server.run_each("settle_turn", calls)

    def _arguments(self, each: StreamProgress, holder: str, generation: int) -> tuple[Any, ...]:
        state, published = each.state, each.published or Watermark(generation, 0)
        sealed = b"" if state is None else seal_state(state)
        return (
            holder,
            "" if state is None else state.sequence_number,
            sealed if len(sealed) <= CACHED_STATE_BYTES_MAX else b"",
            published.through,
            int(each.release),
            self._server.memory_s,
            _watermark_field(published.generation),
        )

    async def published(self, aggregate_ids: Sequence[AggregateId]) -> list[Watermark | None]:
        generations = await self._generations()
        fields = [(self._key(name, "head"), _watermark_field(generations.of(name))) for name in aggregate_ids]
        numbers = await self._numbers(fields, aggregate_ids)
        return [
            None if number is None else Watermark(generations.of(aggregate_id), number)
            for aggregate_id, number in zip(aggregate_ids, numbers, strict=True)
        ]

    async def heads(self, aggregate_ids: Sequence[AggregateId]) -> list[int | None]:
        return await self._numbers([(self._key(name, "head"), "head") for name in aggregate_ids], aggregate_ids)

    async def forget_stream(self, aggregate_id: AggregateId) -> None:
        await self._server.delete(self._key(aggregate_id, "head"))

    async def _numbers(
        self, fields: Sequence[tuple[str, str]], aggregate_ids: Sequence[AggregateId]
    ) -> list[int | None]:
        answers = await self._server.field_each(fields)
        return [_number(*pair) for pair in zip(answers, aggregate_ids, strict=True)]

    def _keys(self, aggregate_id: AggregateId) -> list[str]:
        return [self._key(aggregate_id, name) for name in ("turn", "waiting", "seen", "head")]

    def _key(self, aggregate_id: AggregateId, name: str) -> str:
        return f"{self._server.prefix}{{{aggregate_id}}}:{name}"


def _watermark_field(generation: int) -> str:
    """Return the field of a generation's watermark; the first one's field is older than generations."""
    return "published" if generation == FIRST_GENERATION else f"published.{generation}"


def _lease(
    aggregate_id: AggregateId, generation: int, head: bytes | None, published: bytes | None, state: bytes | None
) -> Lease:
    """Return the fields that can be read; the others are unknown, and never guessed."""
    head_number, published_number = _number(head, aggregate_id), _number(published, aggregate_id)
    if head_number is None or published_number is None:
        return Lease(head=head_number or 0, published=Watermark(generation, 0), known=False, state=None)
    found = None
    if state is not None:
        try:
            found = open_state(state, aggregate_id=str(aggregate_id))
        except LogDamaged as error:
            _log.warning("cached_state_damaged", aggregate_id=str(aggregate_id), reason=error.message)
    if found is not None and found.sequence_number != head_number:
        _log.warning("cached_state_not_of_head", aggregate_id=str(aggregate_id), head=head_number)
        found = None
    return Lease(head=head_number, published=Watermark(generation, published_number), known=True, state=found)


def _number(text: bytes | None, aggregate_id: AggregateId) -> int | None:
    if text is None:
        return None
    if text.isdigit():
        return int(text)
    _log.warning("cached_number_damaged", aggregate_id=str(aggregate_id), found=text[:40])
    return None
