"""One chunk of a bulk command, from its items to a definite end of each (docs/protocol.md, rules for bulk)."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

from structlog.contextvars import bound_contextvars

from oncelog import metrics
from oncelog.bounded_gather import bounded_gather
from oncelog.bulk.chunk_attempt import ChunkAttempt
from oncelog.bulk.chunk_planner import ChunkPlanner
from oncelog.domain.bulk.binding import (
    by_aggregate,
    conflict_outcomes,
    last_bindings,
    to_retry,
)
from oncelog.domain.bulk.items import ItemChange
from oncelog.domain.bulk.records import Binding, BulkRecord, ChunkRecord, Closed
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.results import Rejection
from oncelog.domain.unique.entry import UniqueEntry
from oncelog.errors import LogDamaged
from oncelog.ports import UNPUBLISHED, StoredEvent, StreamProgress, Watermark
from oncelog.replay.trace import Trace
from oncelog.write.event_writer import accepted_event
from oncelog.write.name_collision import claim_name
from oncelog.write.write_path import WritePath

#: In place of the event ID in a slot that this command can never take.
NO_EVENT = ""

BeforeWaiting = Callable[[], Awaitable[None]]


@dataclass
class Written:
    """The result of a chunk for one aggregate. ``published``: the last known watermark; ``state``: at its
    last event.
    """

    aggregate_id: AggregateId
    events: list[Event] = field(default_factory=list)
    state: Instance | None = None
    published: Watermark = UNPUBLISHED


@dataclass(frozen=True)
class ChunkEnd:
    """A chunk at its end: each item's binding, all of them definite, and the written events, by aggregate."""

    chunk: int
    bindings: Sequence[Binding]
    written: Mapping[str, Written]


class ChunkCommitter:
    """Commits chunks. Any number of attempts of one command may run at once, in any number of processes."""

    def __init__(self, path: WritePath, *, chunk_planner: ChunkPlanner, requests: asyncio.Semaphore) -> None:
        self._log = path.ports.event_log
        self._records = path.ports.chunk_records
        self._leases = path.ports.leases
        self._names = path.ports.names
        self._class_schemas = path.class_schemas
        self._reader = path.reader
        self._cache = path.cache
        self._judge = path.judge
        self._claims = path.claims
        self._chunk_planner = chunk_planner
        self._requests = requests

    async def commit(
        self, record: BulkRecord, first: ChunkAttempt, *, trace: Trace, before_waiting: BeforeWaiting
    ) -> ChunkEnd | Closed:
        """Bring every item of a chunk to its end, or return why the command ends before it; may be repeated.

        ``first``: the chunk as it was prepared. The one before must be at its end, so that items of one aggregate keep
        their order. ``before_waiting``: releases this command's other leases, for leases are about to be waited for.
        """
        records: list[ChunkRecord] = []
        written: dict[str, Written] = {}
        attempt, left = first, sorted(first.changes)
        while left:
            async with AsyncExitStack() as leases:
                planned = attempt.planned or await self._chunk_planner.plan(record, attempt, leases, trace=trace)
                async with trace.step("bulk_record"):
                    bound = await self._records.write_chunk_record(planned)  # the stored record binds (R2)
                if bound.closed is not None:
                    await self._chunk_planner.release(record, attempt)
                    return bound.closed
                _check_binds(bound, left)
                await self._chunk_planner.accept_stored(record, attempt, _refused_today(bound, attempt))
                async with trace.step("bulk_persist"):
                    await self._persist(record, bound, attempt, written)
            records.append(bound)
            left = to_retry(conflict_outcomes(bound, attempt.event_in, attempt.is_own))
            if left:  # before leases are waited for, those at hand are given up: so no attempt waits for itself
                await self._release(record, attempt, written)
                await before_waiting()
                changes = {index: first.changes[index] for index in left}
                attempt = ChunkAttempt(first.chunk, len(records) + 1, changes)
        return ChunkEnd(first.chunk, last_bindings(records), written)

    async def _persist(
        self, record: BulkRecord, bound: ChunkRecord, attempt: ChunkAttempt, written: dict[str, Written]
    ) -> None:
        """Write each aggregate's events into the slots that the record names, in order, aggregates side by side."""
        groups = by_aggregate(bound.bindings)
        if not groups:
            return
        slots = [(str(each.aggregate_id), each.slot) for each in bound.bindings if each.slot is not None]
        if slots and await claim_name(self._names, record.bulk.db_name, record.bulk.class_id):
            # No attempt was granted the name: none ever writes into these slots, and the next record rejects the items.
            attempt.occupied.update(dict.fromkeys(slots, NO_EVENT))
            return
        if bound.definition != (
            attempt.class_schema.reference if attempt.class_schema else None
        ):  # another attempt bound them
            attempt.class_schema = await self._class_schemas.at(attempt.aggregate_ids[0], bound.definition)
            attempt.decided.clear()
        await self._learn_watermarks(list(groups), attempt, written)

        async def write(name: str) -> None:
            with bound_contextvars(aggregate_id=name):
                await self._write(record, bound, groups[name], attempt, written[name])

        await bounded_gather(write, groups, at_once=self._requests)
        entries = [entry for binding in bound.bindings for entry in bound.entries_of(binding)]
        await self._claims.remember([entry for entry in entries if attempt.is_own(entry)])

    async def _learn_watermarks(self, names: list[str], attempt: ChunkAttempt, written: dict[str, Written]) -> None:
        unknown = [name for name in names if name not in attempt.heads]
        found: Mapping[str, Watermark | None] = {}
        if unknown:  # an earlier attempt bound them
            asked = await self._leases.published([AggregateId.parse(name) for name in unknown])
            found = dict(zip(unknown, asked, strict=True))
        for name in names:
            known = written.setdefault(name, Written(AggregateId.parse(name)))
            head = attempt.heads.get(name)
            known.published = max(known.published, head.published if head else found[name] or UNPUBLISHED)

    async def _write(
        self,
        record: BulkRecord,
        bound: ChunkRecord,
        bindings: list[Binding],
        attempt: ChunkAttempt,
        written: Written,
    ) -> None:
        """Write one aggregate's entries and events, up to the first slot or place that is another's (R1, V3).

        An item's entries are written only here, once the slot before holds the event its record decided on.
        """
        name = str(written.aggregate_id)
        head = attempt.heads.get(name)
        state = head.state if head else None
        for binding in bindings:
            if binding.slot is None:
                continue
            change = attempt.changes[binding.index]
            assert isinstance(change, ItemChange)  # an invalid item is bound to no slot
            if not await self._claim(bound.entries_of(binding), attempt):
                return  # conflicted, which invalidates all that follows
            stored, state = await self._stored(change, binding.slot, record, attempt, state, written.published)
            attempt.occupied[name, binding.slot] = stored.event.event_id
            if stored.event.event_id != change.event_id:
                return  # conflicted, which invalidates all that follows
            follows = state is not None and state.sequence_number == binding.slot - 1
            state = evolve(state, stored.event) if follows and state else None
            written.events.append(stored.event)
            written.state = state
        if written.events:
            written.state = written.state or await self._reader.at(
                written.aggregate_id, written.events[-1].sequence_number
            )
            self._cache.put(written.aggregate_id, written.state)

    async def _claim(self, entries: list[UniqueEntry], attempt: ChunkAttempt) -> bool:
        """Write an item's entries in their order; return False at the first place that is another's."""
        for entry in entries:
            own = await self._claims.write([entry])
            attempt.claimed[entry.key, entry.item] = own
            if not own:
                metrics.UNIQUE_CONFLICTS.inc()
                return False
        return True

    async def _stored(
        self,
        change: ItemChange,
        slot: int,
        record: BulkRecord,
        attempt: ChunkAttempt,
        state: Instance | None,
        published: Watermark,
    ) -> tuple[StoredEvent, Instance | None]:
        """Return the slot's event, once it is certain, and the state before it as far as it is known."""
        if state is None or state.sequence_number != slot - 1:  # bound by another attempt: others may have gone on
            stored = await self._log.read_event(change.aggregate_id, slot)
            if stored:
                return stored, state
            state = await self._reader.at(change.aggregate_id, slot - 1)
        decided = attempt.decided.get(change.index)
        event = decided if decided is not None and decided.previous_checksum == state.checksum else None
        if event is None:
            decision = await self._judge.decide(
                state, change, occurred_at=record.occurred_at, class_schema=attempt.class_schema, accepted=True
            )
            event = accepted_event(decision, change, state)
        stored = await self._log.append_event(event, published_through=published.at_most(slot - 1))
        return stored, state

    async def _release(self, record: BulkRecord, attempt: ChunkAttempt, written: Mapping[str, Written]) -> None:
        """Release the leases at hand, and save the heads as they are known by now."""
        progress = []
        for aggregate_id in attempt.aggregate_ids:
            known = written.get(str(aggregate_id)) or Written(aggregate_id)
            progress.append(StreamProgress(aggregate_id, known.state, known.published, release=True))
        if progress:
            await self._leases.save_progress(progress, record.command_id)


def _refused_today(bound: ChunkRecord, attempt: ChunkAttempt) -> list[int]:
    """Return the items that are bound to slots, but refused by the rules for input of this release."""
    slots = [binding.index for binding in bound.bindings if binding.slot is not None]
    return [index for index in slots if isinstance(attempt.changes[index], Rejection)]


def _check_binds(bound: ChunkRecord, planned: list[int]) -> None:
    found = [binding.index for binding in bound.bindings]
    if found != planned:
        raise LogDamaged(
            f"command {bound.command_id}: record {bound.number} of chunk {bound.chunk} binds other items than those "
            "that were left; it was altered, run oncelog verify",
            command_id=bound.command_id,
        )
