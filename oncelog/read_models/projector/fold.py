"""From an aggregate's new events to its state: what is at hand is folded, what is missing is read from the log."""

from dataclasses import dataclass

import structlog

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.errors import LogDamaged, StoreUnavailable
from oncelog.ports import EventLog, Snapshots
from oncelog.read_models.projector.group import Work
from oncelog.replay.stream_reader import StateCache, StreamReader

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Poison:
    """Why an aggregate cannot be folded further, and at which number; 0 where none can be told."""

    sequence_number: int
    error: Exception


@dataclass(frozen=True)
class Folded:
    """How far an aggregate could be folded: to its work's target, or to what comes before the poison."""

    state: Instance | None
    poison: Poison | None = None


class Folder:
    """Folds each aggregate on its own, so that what is wrong with one does not touch the others."""

    def __init__(self, *, log: EventLog, snapshots: Snapshots, aggregates_max: int) -> None:
        self._log = log
        self._snapshots = snapshots
        self._cache = StateCache(aggregates_max=aggregates_max)
        self._reader = StreamReader(log=log, snapshots=snapshots, cache=self._cache)

    def at_hand(self, work: Work) -> Instance | None:
        """Return the state at the work's target if that takes no reading, else None."""
        known = self._cache.get(work.aggregate_id) or Instance(aggregate_id=str(work.aggregate_id))
        if work.target_unknown:
            return None
        numbers = range(known.sequence_number + 1, work.target + 1)
        if not all(number in work.events for number in numbers):
            return None
        try:
            for number in numbers:
                known = evolve(known, work.events[number])
        except Exception as error:  # noqa: BLE001 - the log decides how far it goes, and why not on
            log.warning("events_do_not_fit", aggregate_id=str(work.aggregate_id), reason=str(error))
            return None
        self._cache.put(work.aggregate_id, known)
        return known

    async def at(self, aggregate_id: AggregateId, sequence_number: int) -> Instance:
        """Return an earlier state; raises StoreUnavailable, LogDamaged."""
        return await self._reader.at(aggregate_id, sequence_number)

    async def from_log(self, work: Work) -> Folded:
        """Return the state at the work's target, or as far as it goes. Raises StoreUnavailable only.

        Events at hand and states in memory only save reads: where they do not fit together, the log alone counts.
        """
        aggregate_id = work.aggregate_id
        target = (
            await self._log.last_sequence_number(aggregate_id, after=work.target)
            if work.target_unknown
            else work.target
        )
        if target == 0:
            return Folded(None, Poison(0, LogDamaged(f"aggregate {aggregate_id}: a message, but no event in the log")))
        try:
            state = await self._from_hand(work, target)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the log decides how far it goes, and why not on
            log.warning("folded_from_log", aggregate_id=str(aggregate_id), target=target, reason=str(error))
            return await self._from_log(aggregate_id, target)
        self._cache.put(aggregate_id, state)
        return Folded(state)

    async def _from_hand(self, work: Work, target: int) -> Instance:
        known = self._cache.get(work.aggregate_id) or Instance(aggregate_id=str(work.aggregate_id))
        if known.sequence_number >= target:
            return known
        first = target + 1
        while first - 1 > known.sequence_number and first - 1 in work.events:
            first -= 1
        state = known
        if first - 1 > known.sequence_number:  # a gap: it is read from the log, never skipped
            state = await self._reader.at(work.aggregate_id, first - 1)
        for number in range(first, target + 1):
            state = evolve(state, work.events[number])
        return state

    async def _from_log(self, aggregate_id: AggregateId, target: int) -> Folded:
        """Fold what the log has, one by one, from the snapshot, or from the start where that does not fit."""
        self._cache.drop(aggregate_id)
        nothing = Instance(aggregate_id=str(aggregate_id))
        start = await self._snapshots.latest_snapshot(aggregate_id) or nothing
        if start.sequence_number > target:
            start = nothing
        folded = await self._one_by_one(start, target)
        if folded.poison and folded.state == start != nothing:
            folded = await self._one_by_one(nothing, target)
        if folded.state == nothing:
            return Folded(None, folded.poison)
        if folded.state and not folded.poison:
            self._cache.put(aggregate_id, folded.state)
        return folded

    async def _one_by_one(self, state: Instance, target: int) -> Folded:
        aggregate_id = AggregateId.parse(state.aggregate_id)
        for number in range(state.sequence_number + 1, target + 1):
            try:
                state = evolve(state, (await self._reader.required(aggregate_id, number)).event)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - a defect in reading one event must not hold up the others
                return Folded(state, Poison(number, error))
        return Folded(state)
