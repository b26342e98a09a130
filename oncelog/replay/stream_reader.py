"""From the log to a state: this process's cached states of aggregates, and the reads that bring them up to date."""

from collections.abc import AsyncIterator

from cachetools import LRUCache

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.json_size import weight
from oncelog.errors import LogDamaged
from oncelog.ports import UNPUBLISHED, EventLog, Snapshots, StoredEvent, Watermark

READS_IN_FLIGHT_MAX = 16
#: Events that are read one after the other on the way to the head, before S3 is asked where that is.
READS_ONWARD_MAX = 3


#: Of all states in one cache.
MEMORY_BYTES_MAX = 256 * 1024 * 1024
#: A state is looked through up to this weight; a heavier one counts for as much as the largest permitted one takes.
WEIGHED_BYTES = 64 * 1024
LARGEST_STATE_BYTES = 32 * 1024 * 1024
#: An object of one short key weighs 12 bytes, and takes 232 in memory.
MEMORY_FACTOR = 20


class StateCache:
    """States this process itself read or wrote, so that rule R1 counts them as read; the least recently used go first.

    Slots never change, so a state that was true at its sequence number stays true; it may only be out of date. Their
    memory is bounded as well as their number: each counts for an equal share of it, a larger one for as much as it may
    take.
    """

    def __init__(self, *, aggregates_max: int) -> None:
        share_bytes = max(1, MEMORY_BYTES_MAX // aggregates_max)
        self._states: LRUCache[AggregateId, Instance] = LRUCache(
            share_bytes * aggregates_max, getsizeof=lambda state: max(share_bytes, _memory_bytes(state))
        )

    def get(self, aggregate_id: AggregateId) -> Instance | None:
        return self._states.get(aggregate_id)

    def put(self, aggregate_id: AggregateId, state: Instance) -> None:
        """Keep the state unless a later one is there."""
        known = self._states.get(aggregate_id)
        if known is not None and known.sequence_number > state.sequence_number:
            return
        self._states[aggregate_id] = state

    def __len__(self) -> int:
        """Return how many states are kept."""
        return len(self._states)

    def drop(self, aggregate_id: AggregateId) -> None:
        """Forget the aggregate, because its cached state does not fit to the log."""
        self._states.pop(aggregate_id, None)


def _memory_bytes(state: Instance) -> int:
    """Return how many bytes of memory a state may take, in a time that its size does not add to."""
    weight_bytes = weight(state.data, up_to_bytes=WEIGHED_BYTES)
    return LARGEST_STATE_BYTES if weight_bytes > WEIGHED_BYTES else MEMORY_FACTOR * weight_bytes


class StreamReader:
    """Folds the log into states, from the nearest thing known: this process, Redis' cached state, a snapshot."""

    def __init__(self, *, log: EventLog, snapshots: Snapshots, cache: StateCache) -> None:
        self._log = log
        self._snapshots = snapshots
        self._cache = cache

    async def latest(self, aggregate_id: AggregateId) -> tuple[Instance, Watermark]:
        """Return state and watermark at the head as S3 has them, regardless of every other store."""
        known = self._cache.get(aggregate_id) or await self._snapshot(aggregate_id)
        head = await self._log.last_sequence_number(aggregate_id, after=known.sequence_number)
        if head == 0:
            return known, UNPUBLISHED
        state = await self.at(aggregate_id, head, start=known)
        stored = await self.required(aggregate_id, head)
        if stored.event.checksum != state.checksum:  # only a snapshot or a cache can say so: folded events are linked
            raise LogDamaged(
                f"aggregate {aggregate_id}: expected checksum {state.checksum} in slot {head}, found "
                f"{stored.event.checksum}; drop the aggregate's snapshot and run oncelog verify",
                aggregate_id=str(aggregate_id),
                sequence_number=head,
            )
        return state, stored.published_through.at_most(head)

    async def onward(self, aggregate_id: AggregateId, *, start: int) -> AsyncIterator[Instance]:
        """Yield states as S3 shows them, from slot ``start`` or a later one on, up to the head; none if it is empty.

        The next events are read one by one, for most instances have few; then it skips to the head.
        """
        state = self._cache.get(aggregate_id)
        if state is None or state.sequence_number < start:
            stored = await self._log.read_event(aggregate_id, start)
            if stored is None:
                return
            before = await self.at(aggregate_id, start - 1) if start > 1 else Instance(aggregate_id=str(aggregate_id))
            state = self._went_on(before, stored)
        yield state
        for _ in range(READS_ONWARD_MAX):
            stored = await self._log.read_event(aggregate_id, state.sequence_number + 1)
            if stored is None:
                return
            state = self._went_on(state, stored)
            yield state
        state, _ = await self.latest(aggregate_id)
        self._cache.put(aggregate_id, state)
        yield state

    def _went_on(self, before: Instance, stored: StoredEvent) -> Instance:
        state = evolve(before, stored.event)
        self._cache.put(AggregateId.parse(state.aggregate_id), state)
        return state

    async def at(self, aggregate_id: AggregateId, sequence_number: int, *, start: Instance | None = None) -> Instance:
        """Return the state at a sequence number that is known to be taken.

        ``start``: an earlier state to go on from. Raises LogDamaged if an event is missing or out of chain.
        """
        state = self._nearest(aggregate_id, sequence_number, start)
        if sequence_number - state.sequence_number > 1:
            snapshot = await self._snapshot(aggregate_id)
            if state.sequence_number < snapshot.sequence_number <= sequence_number:
                state = snapshot
        while state.sequence_number < sequence_number:
            last = min(sequence_number, state.sequence_number + READS_IN_FLIGHT_MAX)
            for event in await self.events(aggregate_id, range(state.sequence_number + 1, last + 1)):
                state = evolve(state, event)
        self._cache.put(aggregate_id, state)
        return state

    async def required(self, aggregate_id: AggregateId, sequence_number: int) -> StoredEvent:
        """Return the event of a slot that must be taken; raises LogDamaged if it is not."""
        stored = await self._log.read_event(aggregate_id, sequence_number)
        if stored is None:
            raise LogDamaged(
                f"aggregate {aggregate_id}: slot {sequence_number} was taken and is now missing; "
                "restore the object from its versions and run oncelog verify",
                aggregate_id=str(aggregate_id),
                sequence_number=sequence_number,
            )
        return stored

    async def events(self, aggregate_id: AggregateId, numbers: range) -> list[Event]:
        """Return the events of slots that must be taken, in order; raises LogDamaged."""

        async def read(number: int) -> Event:
            return (await self.required(aggregate_id, number)).event

        return await bounded_gather(read, numbers, at_once=READS_IN_FLIGHT_MAX)

    def _nearest(self, aggregate_id: AggregateId, sequence_number: int, start: Instance | None) -> Instance:
        candidates = (self._cache.get(aggregate_id), start, Instance(aggregate_id=str(aggregate_id)))
        fitting = [state for state in candidates if state and state.sequence_number <= sequence_number]
        return max(fitting, key=lambda state: state.sequence_number)

    async def _snapshot(self, aggregate_id: AggregateId) -> Instance:
        return await self._snapshots.latest_snapshot(aggregate_id) or Instance(aggregate_id=str(aggregate_id))
