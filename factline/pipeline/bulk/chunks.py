"""One chunk of a bulk command, from its items to a definite end of each (design: rules R1, R2 and R5, for batches).

The first record of a chunk is written with the turns that are free: they are for speed, and nobody waits for all of
hundreds. What others displace is bound anew, with turns that are waited for, in the order of the aggregates' IDs, so
that two bulk commands never wait for each other.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

from factline.domain.bulk.binding import (
    bindings_of,
    bound_anew,
    by_aggregate,
    decide_each,
    fates,
    last_bindings,
    refuses_first,
)
from factline.domain.bulk.items import ItemChange, change_of
from factline.domain.bulk.records import Binding, BulkRecord, ChunkRecord, Closed, chunk_record
from factline.domain.events import Event
from factline.domain.identifiers import AggregateId
from factline.domain.instance import Instance, decide, evolve
from factline.domain.ontology.rules import Rules
from factline.domain.results import Rejection
from factline.errors import LogDamaged
from factline.pipeline.bulk.items import BulkItems
from factline.pipeline.concurrently import concurrently
from factline.pipeline.definitions import Definitions
from factline.pipeline.log_reader import LogReader, StateCache
from factline.pipeline.positions import Position, Positions
from factline.pipeline.trace import Trace
from factline.pipeline.turn_queue import TurnQueue
from factline.ports import Ports, Settlement, StoredEvent, Turn


@dataclass
class Written:
    """What a chunk did to one aggregate. ``published``: the watermark last heard of; ``state``: at its last event."""

    aggregate_id: AggregateId
    events: list[Event] = field(default_factory=list)
    state: Instance | None = None
    published: int = 0


@dataclass(frozen=True)
class ChunkEnd:
    """A chunk at its end: each item's binding, all of them definite, and what was written, by aggregate."""

    chunk: int
    bindings: Sequence[Binding]
    written: Mapping[str, Written]


@dataclass
class _Round:
    """One record of a chunk under way.

    ``rules``: what its items are decided under. ``made``: events decided on by this very attempt, under these rules.
    """

    number: int
    changes: Mapping[int, ItemChange | Rejection]
    positions: dict[str, Position] = field(default_factory=dict)
    made: dict[int, Event] = field(default_factory=dict)
    standing: dict[tuple[str, int], str] = field(default_factory=dict)
    rules: Rules | None = None

    def event_in(self, name: str, slot: int) -> str | None:
        """Return the ID of the event that was seen in a slot, or None if nobody has looked."""
        return self.standing.get((name, slot))

    @property
    def definition(self) -> int:
        """The newest definition that a state in question was made under, 0 for none."""
        known = [position.state.definition for position in self.positions.values()]
        return max((definition.sequence_number for definition in known if definition), default=0)

    @property
    def aggregate_ids(self) -> list[AggregateId]:
        """The aggregates in question, in the order in which turns on them are waited for."""
        found = {change.aggregate_id for change in self.changes.values() if isinstance(change, ItemChange)}
        return sorted(found, key=str)


class ChunkCommitter:
    """Commits chunks. Any number of attempts of one command may run at once, in any number of processes."""

    def __init__(
        self,
        ports: Ports,
        *,
        items: BulkItems,
        positions: Positions,
        definitions: Definitions,
        queue: TurnQueue,
        reader: LogReader,
        cache: StateCache,
        free: asyncio.Semaphore,
    ) -> None:
        self._log = ports.event_log
        self._records = ports.chunk_records
        self._turns = ports.turns
        self._items = items
        self._positions = positions
        self._definitions = definitions
        self._queue = queue
        self._reader = reader
        self._cache = cache
        self._free = free

    async def commit(self, record: BulkRecord, chunk: int, *, trace: Trace) -> ChunkEnd | Closed:
        """Bring every item of a chunk to its end, or return why the command ends before it; may be repeated.

        The chunk before must be at its end, so that items of one aggregate keep their order.
        """
        changes = _changes(record, await self._items.of_chunk(record, chunk))
        records: list[ChunkRecord] = []
        written: dict[str, Written] = {}
        left = sorted(changes)
        while left:
            at_hand = _Round(len(records) + 1, {index: changes[index] for index in left})
            bound = await self._records.read(record.command_id, chunk, at_hand.number)
            async with AsyncExitStack() as turns:
                if bound is None:
                    await trace.step("bulk_allocate", self._allocate(record, at_hand, turns))
                    bound = await trace.step("bulk_record", self._bind(record, chunk, at_hand))
                if bound.closed is not None:
                    await self._give_up(record, at_hand)
                    return bound.closed
                _check_binds(bound, left)
                await trace.step("bulk_persist", self._persist(record, bound, at_hand, written))
            records.append(bound)
            left = bound_anew(fates(bound, at_hand.event_in))
            if left:  # before turns are waited for, those at hand are given up: nobody waits for what he blocks
                await self._give_up(record, at_hand, written)
        return ChunkEnd(chunk, last_bindings(records), written)

    async def _allocate(self, record: BulkRecord, at_hand: _Round, turns: AsyncExitStack) -> None:
        """Find the position of every aggregate in question: in its turn, where that is free or waited for."""
        aggregate_ids, holder = at_hand.aggregate_ids, record.command_id
        if not aggregate_ids:
            return
        if at_hand.number > 1:
            for aggregate_id in aggregate_ids:
                await turns.enter_async_context(self._queue.turn(aggregate_id, holder))
        answers = await self._turns.take(aggregate_ids, holder, queueing=False)
        creating = record.bulk.command_type.creates

        async def position(pair: tuple[AggregateId, Any]) -> Position:
            aggregate_id, answer = pair
            if isinstance(answer, Turn) and at_hand.number == 1:
                return await self._positions.of(aggregate_id, answer, creating=creating)
            return await self._positions.latest(aggregate_id)

        pairs = list(zip(aggregate_ids, answers, strict=True))
        found = await concurrently(self._free, position, pairs)
        at_hand.positions = {str(name): position for name, position in zip(aggregate_ids, found, strict=True)}

    async def _bind(self, record: BulkRecord, chunk: int, at_hand: _Round) -> ChunkRecord:
        """Decide on every item, and write the next record; what then stands under its number binds (R2)."""
        groups: dict[str, list[ItemChange]] = {}
        refused: list[Binding] = []
        for index, change in at_hand.changes.items():
            if isinstance(change, Rejection):
                refused.append(Binding(index=index, rejection=change))
            else:
                groups.setdefault(str(change.aggregate_id), []).append(change)

        found = await self._decide(record, at_hand, groups)
        bindings = sorted((*refused, *found), key=lambda binding: binding.index)
        definition = at_hand.rules.reference if at_hand.rules else None
        return await self._records.write(chunk_record(record, chunk, at_hand.number, bindings, definition=definition))

    async def _decide(
        self, record: BulkRecord, at_hand: _Round, groups: Mapping[str, list[ItemChange]]
    ) -> list[Binding]:
        """Return what the items are bound to, all under the same rules: the newest, and at least those of any state."""
        known = -1
        found: list[list[Binding]] = []

        async def bind(name: str) -> list[Binding]:
            return await self._bind_aggregate(name, groups[name], record.occurred_at, at_hand)

        while groups and known < at_hand.definition:  # a state may turn out to be newer while it is bound
            known = at_hand.definition
            at_hand.rules = await self._definitions.newest(at_hand.aggregate_ids[0], at_least=known)
            at_hand.made.clear()
            found = await concurrently(self._free, bind, groups)
        return [binding for bindings in found for binding in bindings]

    async def _bind_aggregate(
        self, name: str, changes: list[ItemChange], occurred_at: str, at_hand: _Round
    ) -> list[Binding]:
        position, rules = at_hand.positions[name], at_hand.rules
        decisions = decide_each(position.state, changes, occurred_at=occurred_at, rules=rules)
        bindings = bindings_of(name, changes, decisions)
        if refuses_first(bindings) and not position.seen_as_head:
            position = await self._positions.proven(AggregateId.parse(name), position)
            at_hand.positions[name] = position
            decisions = decide_each(position.state, changes, occurred_at=occurred_at, rules=rules)
            bindings = bindings_of(name, changes, decisions)
        for change, decision in zip(changes, decisions, strict=True):
            if isinstance(decision, Event):
                at_hand.made[change.index] = decision
        return bindings

    async def _persist(
        self, record: BulkRecord, bound: ChunkRecord, at_hand: _Round, written: dict[str, Written]
    ) -> None:
        """Write each aggregate's events into the slots that the record names, in order, aggregates side by side."""
        groups = by_aggregate(bound.bindings)
        if not groups:
            return
        if bound.definition != (at_hand.rules.reference if at_hand.rules else None):  # another attempt bound them
            at_hand.rules = await self._definitions.at(at_hand.aggregate_ids[0], bound.definition)
            at_hand.made.clear()
        await self._learn_watermarks(list(groups), at_hand, written)

        async def write(name: str) -> None:
            await self._write(record, groups[name], at_hand, written[name])

        await concurrently(self._free, write, groups)

    async def _learn_watermarks(self, names: list[str], at_hand: _Round, written: dict[str, Written]) -> None:
        unknown = [name for name in names if name not in at_hand.positions]
        found: Mapping[str, int | None] = {}
        if unknown:  # an earlier attempt bound them
            asked = await self._turns.published([AggregateId.parse(name) for name in unknown])
            found = dict(zip(unknown, asked, strict=True))
        for name in names:
            known = written.setdefault(name, Written(AggregateId.parse(name)))
            position = at_hand.positions.get(name)
            known.published = max(known.published, position.published if position else found[name] or 0)

    async def _write(self, record: BulkRecord, bindings: list[Binding], at_hand: _Round, written: Written) -> None:
        """Write one aggregate's events up to the first slot that another command's event stands in (R1)."""
        name = str(written.aggregate_id)
        position = at_hand.positions.get(name)
        state = position.state if position else None
        for binding in bindings:
            if binding.slot is None:
                continue
            change = at_hand.changes[binding.index]
            assert isinstance(change, ItemChange)  # what is not valid is bound to no slot
            stored, state = await self._stored(change, binding.slot, record, at_hand, state, written.published)
            at_hand.standing[name, binding.slot] = stored.event.event_id
            if stored.event.event_id != change.event_id:
                return  # displaced, and all that follows is void
            follows = state is not None and state.sequence_number == binding.slot - 1
            state = evolve(state, stored.event) if follows and state else None
            written.events.append(stored.event)
            written.state = state
        if written.events:
            written.state = written.state or await self._reader.at(
                written.aggregate_id, written.events[-1].sequence_number
            )
            self._cache.put(written.aggregate_id, written.state)

    async def _stored(
        self,
        change: ItemChange,
        slot: int,
        record: BulkRecord,
        at_hand: _Round,
        state: Instance | None,
        published: int,
    ) -> tuple[StoredEvent, Instance | None]:
        """Return what stands in the slot, once it is certain, and the state before it as far as it is known."""
        if state is None or state.sequence_number != slot - 1:  # bound by another attempt: others may have gone on
            stored = await self._log.read(change.aggregate_id, slot)
            if stored:
                return stored, state
            state = await self._reader.at(change.aggregate_id, slot - 1)
        made = at_hand.made.get(change.index)
        event: Event | Rejection | None = None
        if made is not None and made.previous_checksum == state.checksum:
            event = made
        if event is None:
            event = decide(state, change, occurred_at=record.occurred_at, rules=at_hand.rules, accepted=True)
        if isinstance(event, Rejection):
            raise LogDamaged(
                f"command {record.command_id}, item {change.index}: bound to slot {slot} of {change.aggregate_id}, but "
                f"there it would be rejected: {event.message}; a release changed what commands decide, run the one "
                "that accepted it",
                command_id=record.command_id,
            )
        stored = await self._log.append(event, published_through=min(published, slot - 1))
        return stored, state

    async def _give_up(self, record: BulkRecord, at_hand: _Round, written: Mapping[str, Written] | None = None) -> None:
        """Give up the turns at hand, telling what is known of the heads by now."""
        settlements = []
        for aggregate_id in at_hand.aggregate_ids:
            known = (written or {}).get(str(aggregate_id)) or Written(aggregate_id)
            settlements.append(Settlement(aggregate_id, known.state, known.published, release=True))
        if settlements:
            await self._turns.settle(settlements, record.command_id)


def _changes(record: BulkRecord, items: Mapping[int, Any]) -> dict[int, ItemChange | Rejection]:
    bulk = record.bulk
    return {index: change_of(bulk, index, value) for index, value in items.items()}


def _check_binds(bound: ChunkRecord, wanted: list[int]) -> None:
    found = [binding.index for binding in bound.bindings]
    if found != wanted:
        raise LogDamaged(
            f"command {bound.command_id}: record {bound.number} of chunk {bound.chunk} binds other items than those "
            "that were left; it was altered, run a consistency check",
            command_id=bound.command_id,
        )
