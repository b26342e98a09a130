"""The unique values and references of a chunk's items: places named in its next record, and rejections.

Each item claims for itself. Two items that want one value name the same place; one of them gets it, and the further
record rejects the other. A value that an earlier item of an aggregate lets go may be named again by a later one of
the same aggregate, in the same record (docs/protocol.md, V1 to V6). A target that must exist is there before the
record is: no item rests on an instance that another one of the same record may create.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from oncelog.bounded_gather import bounded_gather
from oncelog.bulk.chunk_attempt import ChunkAttempt
from oncelog.domain.bulk.binding import bindings_of
from oncelog.domain.bulk.items import ItemChange
from oncelog.domain.bulk.records import Binding
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.references import Reference, reference_not_found, references_brought_in
from oncelog.domain.results import Rejection
from oncelog.domain.stored_names import event_key
from oncelog.domain.unique.constraint import UniqueValue
from oncelog.domain.unique.entry import EndedBy, Place, ValueChain
from oncelog.domain.unique.holding import Held, brought_in, held_values
from oncelog.write.stream_head import StreamHead
from oncelog.write.unique.chains import ChainEnd
from oncelog.write.unique.claims import place_of, refusal_of
from oncelog.write.write_path import WritePath

#: How many aggregates are looked at before others have the event loop again: some milliseconds.
GROUPS_AT_A_STRETCH = 32

Decisions = Sequence[Event | Rejection]


@dataclass(frozen=True)
class Group:
    """One aggregate's items in a chunk, and the decisions on them, were every value free."""

    name: str
    changes: Sequence[ItemChange]
    decisions: Decisions

    @property
    def aggregate_id(self) -> AggregateId:
        return AggregateId.parse(self.name)


@dataclass
class _Seen:
    """The facts seen in S3 of the items' new values and references: the chains' ends, and the absent targets."""

    ends: dict[ValueChain, ChainEnd] = field(default_factory=dict)
    absences: dict[AggregateId, int | None] = field(default_factory=dict)


@dataclass
class _Walk:
    """One aggregate's items, one after the other: the state and the values it holds, and the decisions so far.

    ``first_held``: the values that its head holds. ``last_event``: the last one decided here. ``named``: by
    chain, the last place that an item of this walk names.
    """

    state: Instance
    held: Held
    first_held: Held
    last_event: Event | None = None
    decisions: list[Event | Rejection] = field(default_factory=list)
    places: dict[int, Sequence[Place]] = field(default_factory=dict)
    named: dict[ValueChain, int] = field(default_factory=dict)
    is_refused: bool = False
    is_outdated: bool = False

    def let_go(self, end: ChainEnd) -> ChainEnd:
        """Return the end of a chain for a value that this aggregate held at its head, and an earlier item lets go."""
        event = self.last_event
        if event is None:
            return end
        key = event_key(event.aggregate, event.sequence_number)
        return ChainEnd(n=end.n, ended_by=EndedBy(key=key, checksum=event.checksum))


class ChunkClaims:
    """Binds items of classes with unique constraints or references that must exist, aggregates side by side."""

    def __init__(self, path: WritePath, *, requests: asyncio.Semaphore) -> None:
        self._claims = path.claims
        self._references = path.references
        self._stream_heads = path.stream_heads
        self._judge = path.judge
        self._requests = requests

    async def bind(
        self, attempt: ChunkAttempt, groups: Sequence[Group], *, class_schema: ClassSchema, occurred_at: str
    ) -> list[list[Binding]]:
        """Return the bindings of each aggregate's items."""
        chains: list[ValueChain] = []
        targets: dict[AggregateId, None] = {}
        for number, group in enumerate(groups):
            if number % GROUPS_AT_A_STRETCH == 0:
                await asyncio.sleep(0)
            state = attempt.heads[group.name].state
            values, references = await self._brought_in(state, group.decisions, class_schema)
            chains += [ValueChain.of(group.aggregate_id, value.key) for value in values]
            targets |= dict.fromkeys(reference.target for reference in references)
        ends = await self._ends(chains, hopeful=attempt.number == 1)
        absences = await self._references.absences(targets, at_once=self._requests)

        async def bind(group: Group) -> list[Binding]:
            return await self._bind_aggregate(attempt, group, class_schema, occurred_at, _Seen(dict(ends), absences))

        return await bounded_gather(bind, groups, at_once=self._requests)

    async def _brought_in(
        self, state: Instance, decisions: Decisions, class_schema: ClassSchema
    ) -> tuple[list[UniqueValue], list[Reference]]:
        values: list[UniqueValue] = []
        references: list[Reference] = []
        held = await self._claims.held(state)
        for decision in decisions:
            if isinstance(decision, Event):
                after = evolve(state, decision)
                held_after = held_values(after, class_schema)
                values += brought_in(held, held_after)
                references += references_brought_in(state, after, class_schema)
                state, held = after, held_after
        return values, references

    async def _ends(self, chains: Iterable[ValueChain], *, hopeful: bool) -> dict[ValueChain, ChainEnd]:
        """Return where chains end, each looked at once, with one question to Redis for all of them."""
        distinct = list(dict.fromkeys(chains))
        hints = await self._claims.hints(distinct) if hopeful else [None] * len(distinct)

        async def end(pair: tuple[ValueChain, int | None]) -> ChainEnd:
            return await self._claims.end(*pair, hopeful=hopeful)

        found = await bounded_gather(end, zip(distinct, hints, strict=True), at_once=self._requests)
        return dict(zip(distinct, found, strict=True))

    async def _bind_aggregate(
        self,
        attempt: ChunkAttempt,
        group: Group,
        class_schema: ClassSchema,
        occurred_at: str,
        seen: _Seen,
    ) -> list[Binding]:
        """Bind one aggregate's items; where one is refused, on a head that S3 showed after holders and targets (V5)."""
        decisions: Decisions | None = group.decisions
        while True:
            head = attempt.heads[group.name]
            walk = await self._walk(head, group, decisions, class_schema, occurred_at, seen)
            now = await self._head_now(head, group, walk)
            attempt.heads[group.name] = now
            if not walk.is_outdated and now.state.sequence_number == head.state.sequence_number:
                break
            decisions, seen = None, _Seen()  # all of it is looked at again, from where the aggregate is now
        for change, decision in zip(group.changes, walk.decisions, strict=True):
            if isinstance(decision, Event):
                attempt.decided[change.index] = decision
        await asyncio.sleep(0)  # mostly nothing was asked of a server: others have their turn on the event loop
        return bindings_of(group.name, group.changes, walk.decisions, walk.places)

    async def _head_now(self, head: StreamHead, group: Group, walk: _Walk) -> StreamHead:
        """Return the head again, as S3 shows it after all that the walk saw, where the walk rests on that."""
        if walk.is_outdated:
            return await self._stream_heads.reloaded(group.aggregate_id)
        if walk.is_refused:
            return await self._stream_heads.verified(group.aggregate_id, replace(head, is_verified=False))
        if isinstance(walk.decisions[0], Rejection):
            return await self._stream_heads.verified(group.aggregate_id, head)
        return head

    async def _walk(
        self,
        head: StreamHead,
        group: Group,
        decisions: Decisions | None,
        class_schema: ClassSchema,
        occurred_at: str,
        seen: _Seen,
    ) -> _Walk:
        """Go through one aggregate's items. ``decisions``: decisions made before, up to the first refusal."""
        held = await self._claims.held(head.state)
        walk = _Walk(head.state, held, held)
        for position, change in enumerate(group.changes):
            if decisions is not None and not walk.is_refused:
                decision = decisions[position]
            else:
                decision = await self._judge.decide(
                    walk.state, change, occurred_at=occurred_at, class_schema=class_schema
                )
            if isinstance(decision, Event):
                after = evolve(walk.state, decision)
                refusal = await self._reference_refusal(walk, after, class_schema, seen)
                decision = refusal or await self._claimed(walk, change, decision, after, class_schema, seen.ends)
            walk.decisions.append(decision)
            if walk.is_outdated:
                break
        return walk

    async def _reference_refusal(
        self, walk: _Walk, after: Instance, class_schema: ClassSchema, seen: _Seen
    ) -> Rejection | None:
        """Return why an item's event is refused for a reference that it brings in. ``after``: the state after it."""
        references = references_brought_in(walk.state, after, class_schema)
        unseen = [reference.target for reference in references if reference.target not in seen.absences]
        seen.absences |= await self._references.absences(unseen)
        refusal = reference_not_found(walk.state, references, seen.absences)
        walk.is_refused = walk.is_refused or refusal is not None
        return refusal

    async def _claimed(
        self,
        walk: _Walk,
        change: ItemChange,
        event: Event,
        after: Instance,
        class_schema: ClassSchema,
        ends: dict[ValueChain, ChainEnd],
    ) -> Event | Rejection:
        """Go on to the state after an item's event, or return why it is refused a value that it brings in."""
        held = held_values(after, class_schema)
        places: list[Place] = []
        values = brought_in(walk.held, held)
        chains = [ValueChain.of(change.aggregate_id, value.key) for value in values]
        for value, chain in zip(values, chains, strict=True):
            if chain in walk.named:  # by an earlier item, and let go since: its entry is written before this one's
                end = walk.let_go(ChainEnd(n=walk.named[chain] + 1))
            else:
                end = ends[chain] = ends.get(chain) or await self._claims.end(chain, None, hopeful=False)
            if end.holder is not None and end.holder.aggregate_id == walk.state.aggregate_id:
                walk.is_outdated = walk.is_outdated or value.key not in walk.first_held
                end = walk.let_go(end)
            elif refusal := refusal_of(walk.state, value, end, class_schema):
                walk.is_refused = True
                return refusal
            places.append(place_of(value, end))
        walk.places[change.index] = places
        walk.named |= {chain: place.n for chain, place in zip(chains, places, strict=True)}
        walk.state, walk.held, walk.last_event = after, held, event
        return event
