"""Plans one record of a chunk: leases, stream heads and decisions, before anything is written.

All of it may be planned while the chunk before is still being written, as long as the two share no aggregate, and no
item has to refer to an instance that the chunk before may create: then no decision here rests on the events of
that one. Only the record binds, once it is written.

The first record of a chunk is made with the leases that are free: they are for speed, and waiting for all of hundreds
would cost more than it saves. Items in conflict are bound again under leases that are waited for, in the order of the
aggregates' IDs, so that two bulk commands never wait for each other.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import structlog

from oncelog.bounded_gather import bounded_gather
from oncelog.bulk.chunk_attempt import Changes, ChunkAttempt
from oncelog.bulk.chunk_claims import ChunkClaims, Group
from oncelog.bulk.items import BulkItems
from oncelog.domain.bulk.binding import bindings_of
from oncelog.domain.bulk.items import ItemChange, change_of, shortened
from oncelog.domain.bulk.records import Binding, BulkRecord, ChunkRecord, chunk_record
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.json_size import weighs_more
from oncelog.domain.ontology.class_schema import LONG_BYTES, ClassSchema
from oncelog.domain.results import Rejection
from oncelog.errors import StoreUnavailable
from oncelog.ports import Lease, StreamProgress
from oncelog.replay.trace import Trace
from oncelog.write.name_collision import find_collision
from oncelog.write.stream_head import StreamHead
from oncelog.write.write_path import WritePath

#: How many items are looked at before others have the event loop again: some milliseconds.
ITEMS_AT_A_STRETCH = 32

log = structlog.get_logger(__name__)


class ChunkPlanner:
    """Plans the bindings of a chunk's next record; writes only to Redis."""

    def __init__(self, path: WritePath, *, items: BulkItems, requests: asyncio.Semaphore) -> None:
        self._records = path.ports.chunk_records
        self._leases = path.ports.leases
        self._names = path.ports.names
        self._stream_heads = path.stream_heads
        self._class_schemas = path.class_schemas
        self._lease_queue = path.lease_queue
        self._judge = path.judge
        self._chunk_claims = ChunkClaims(path, requests=requests)
        self._items = items
        self._requests = requests

    async def prepare(
        self, record: BulkRecord, chunk: int, *, after: ChunkAttempt | None, trace: Trace
    ) -> ChunkAttempt:
        """Read and validate a chunk's items, and propose its first record, unless it must wait for that of ``after``.

        ``after``: the first round of the chunk before, if that is not at its end yet.
        """
        first = ChunkAttempt(chunk, 1, await self._changes(record, chunk))
        if after is None or not set(after.aggregate_ids) & set(first.aggregate_ids):
            async with AsyncExitStack() as leases:  # stays empty: leases on a first record are not waited for
                await self._learn(record, first, leases, trace=trace)
            if first.planned is None and (after is None or not _creates_targets(record, first.class_schema)):
                await self._propose(record, first, trace=trace)
        return first

    async def plan(
        self, record: BulkRecord, attempt: ChunkAttempt, leases: AsyncExitStack, *, trace: Trace
    ) -> ChunkRecord:
        """Return the stored record, or else the one to be written; items of earlier records are at their end."""
        if not attempt.heads:  # else it was prepared so far
            await self._learn(record, attempt, leases, trace=trace)
        return attempt.planned or await self._propose(record, attempt, trace=trace)

    async def _learn(self, record: BulkRecord, attempt: ChunkAttempt, leases: AsyncExitStack, *, trace: Trace) -> None:
        """Read the stored record, or else the inputs of a decision: heads, and the class schema."""
        attempt.planned = await self._records.read_chunk_record(record.command_id, attempt.chunk, attempt.number)
        if attempt.planned is None:
            async with trace.step("bulk_allocate"):
                await self._allocate(record, attempt, leases)

    async def _propose(self, record: BulkRecord, attempt: ChunkAttempt, *, trace: Trace) -> ChunkRecord:
        async with trace.step("bulk_decide"):
            attempt.planned = await self._bind(record, attempt)
        return attempt.planned

    async def accept_stored(self, record: BulkRecord, attempt: ChunkAttempt, indices: Sequence[int]) -> None:
        """Take items that a record binds to slots for accepted, though today's rules for input would refuse them."""
        if not indices:
            return
        values = await self._items.of_chunk(record, attempt.chunk)
        changes = {index: change_of(record.bulk, index, values[index], stored=True) for index in indices}
        attempt.changes = {**attempt.changes, **changes}

    async def release(self, record: BulkRecord, attempt: ChunkAttempt) -> None:
        """Release the leases of a chunk that is not gone on with here; leases that Redis is not asked to release
        expire.
        """
        progress = [StreamProgress(aggregate_id, release=True) for aggregate_id in attempt.aggregate_ids]
        if not progress or not attempt.heads:
            return
        try:
            await self._leases.save_progress(progress, record.command_id)
        except StoreUnavailable as error:
            log.warning("leases_not_released", command_id=record.command_id, chunk=attempt.chunk, reason=error.message)

    async def _changes(self, record: BulkRecord, chunk: int) -> Changes:
        bulk, changes = record.bulk, {}
        for index, value in (await self._items.of_chunk(record, chunk)).items():
            if weighs_more(value, than_bytes=LONG_BYTES):
                changes[index] = await asyncio.to_thread(change_of, bulk, index, value)
            else:
                changes[index] = change_of(bulk, index, value)
            if index % ITEMS_AT_A_STRETCH == 0:
                await asyncio.sleep(0)
        return changes

    async def _allocate(self, record: BulkRecord, attempt: ChunkAttempt, leases: AsyncExitStack) -> None:
        """Find the stream head of every aggregate in question: in its lease, where that is free or waited for."""
        aggregate_ids, holder = attempt.aggregate_ids, record.command_id
        if not aggregate_ids:
            return
        if attempt.number > 1:
            for aggregate_id in aggregate_ids:
                await leases.enter_async_context(self._lease_queue.lease(aggregate_id, holder))
        answers = await self._leases.acquire_leases(aggregate_ids, holder, queueing=False)
        creates = record.bulk.command_type.creates

        async def head(pair: tuple[AggregateId, Any]) -> StreamHead:
            aggregate_id, answer = pair
            if isinstance(answer, Lease) and attempt.number == 1:
                return await self._stream_heads.of(aggregate_id, answer, may_be_first=creates)
            return await self._stream_heads.latest(aggregate_id)

        pairs = list(zip(aggregate_ids, answers, strict=True))
        found = await bounded_gather(head, pairs, at_once=self._requests)
        attempt.heads = {str(name): head for name, head in zip(aggregate_ids, found, strict=True)}
        attempt.class_schema = await self._class_schemas.newest(aggregate_ids[0], at_least=attempt.definition)

    async def _bind(self, record: BulkRecord, attempt: ChunkAttempt) -> ChunkRecord:
        """Decide on every item, and return the record to be written."""
        collision = await find_collision(self._names, record.bulk.db_name, record.bulk.class_id)
        groups: dict[str, list[ItemChange]] = {}
        refused: list[Binding] = []
        for index, change in attempt.changes.items():
            if isinstance(change, Rejection):
                refused.append(Binding(index=index, rejection=change))
            elif collision:
                name = str(change.aggregate_id)
                refused.append(Binding(index=index, aggregate_id=name, rejection=shortened(collision)))
            else:
                groups.setdefault(str(change.aggregate_id), []).append(change)

        found = await self._decide(record, attempt, groups)
        bindings = sorted((*refused, *found), key=lambda binding: binding.index)
        definition = attempt.class_schema.reference if attempt.class_schema and groups else None
        return chunk_record(record, attempt.chunk, attempt.number, bindings, definition=definition)

    async def _decide(
        self, record: BulkRecord, attempt: ChunkAttempt, groups: Mapping[str, list[ItemChange]]
    ) -> list[Binding]:
        """Return the items' bindings, all under the same class schema: the newest, and at least that of any state."""

        async def decide(name: str) -> Group:
            return await self._decide_aggregate(name, groups[name], record.occurred_at, attempt)

        while groups:
            known, class_schema = attempt.definition, attempt.class_schema
            attempt.decided.clear()
            decided = await bounded_gather(decide, groups, at_once=self._requests)
            if class_schema is not None and class_schema.rests_on_others:
                found = await self._chunk_claims.bind(
                    attempt, decided, class_schema=class_schema, occurred_at=record.occurred_at
                )
            else:
                found = [bindings_of(group.name, group.changes, group.decisions) for group in decided]
            if attempt.definition <= known:
                return [binding for bindings in found for binding in bindings]
            # A state turned out to be newer while it was bound.
            attempt.class_schema = await self._class_schemas.newest(
                attempt.aggregate_ids[0], at_least=attempt.definition
            )
        return []

    async def _decide_aggregate(
        self, name: str, changes: list[ItemChange], occurred_at: str, attempt: ChunkAttempt
    ) -> Group:
        head, class_schema = attempt.heads[name], attempt.class_schema
        decisions = await self._judge.decide_each(
            head.state, changes, occurred_at=occurred_at, class_schema=class_schema
        )
        if isinstance(decisions[0], Rejection) and not head.is_verified:
            head = await self._stream_heads.verified(AggregateId.parse(name), head)
            attempt.heads[name] = head
            decisions = await self._judge.decide_each(
                head.state, changes, occurred_at=occurred_at, class_schema=class_schema
            )
        for change, decision in zip(changes, decisions, strict=True):
            if isinstance(decision, Event):
                attempt.decided[change.index] = decision
        await asyncio.sleep(0)  # mostly nothing was asked of a server: others have their turn on the event loop
        return Group(name, changes, decisions)


def _creates_targets(record: BulkRecord, class_schema: ClassSchema | None) -> bool:
    """Return whether a chunk may create instances that items of a later one have to refer to."""
    if class_schema is None or not record.bulk.command_type.creates:
        return False
    relationships = class_schema.definition.relationships
    names = class_schema.required_relationships
    return any(relationships[name].target_class == record.bulk.class_id for name in names)
