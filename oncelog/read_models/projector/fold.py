"""From an aggregate's new events to its state: events at hand are folded, missing ones are read from the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import structlog

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.errors import LogDamaged, StoreUnavailable
from oncelog.ports import Changes, EventLog, EventReadModel, ReadModel, Snapshots
from oncelog.read_models.projector.group import Work
from oncelog.replay.stream_reader import StateCache, StreamReader

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Poison:
    """Why an aggregate cannot be folded further, and at which number; 0 where none can be told."""

    sequence_number: int
    error: Exception


class Numbered(Protocol):
    """A state of an aggregate, or its new events."""

    @property
    def sequence_number(self) -> int:
        """The version that they lead to."""
        ...


Item = TypeVar("Item", bound=Numbered)


@dataclass(frozen=True)
class Folded(Generic[Item]):
    """How far an aggregate could be folded: to its work's target, or to the event before the poison."""

    state: Item | None
    poison: Poison | None = None


class Projection(Protocol[Item]):
    """One read model as the projector drives it: work becomes items, and items are written."""

    @property
    def name(self) -> str:
        """The read model's name."""
        ...

    def at_hand(self, work: Work) -> Item | None:
        """Return the item at the work's target if that takes no reading, else None."""
        ...

    async def at(self, work: Work, sequence_number: int) -> Item:
        """Return an earlier item; raises StoreUnavailable, LogDamaged."""
        ...

    async def from_log(self, work: Work) -> Folded[Item]:
        """Return the item at the work's target, or as far as it goes. Raises StoreUnavailable only."""
        ...

    async def project(self, items: Sequence[Item]) -> Sequence[Exception | None]:
        """Write the items; return as ``ReadModel.project_states`` does."""
        ...


class EventProjection:
    """Passes the new events of each aggregate on as they are: the read model knows which it has, and reads the rest."""

    def __init__(self, read_model: EventReadModel, log: EventLog) -> None:
        self.name = read_model.name
        self.project = read_model.project_events
        self._log = log

    def at_hand(self, work: Work) -> Changes | None:
        """Return the changes through the work's target, unless only the log knows it."""
        return None if work.target_unknown else _changes(work, work.target)

    async def at(self, work: Work, sequence_number: int) -> Changes:
        """Return the changes through an earlier number."""
        return _changes(work, sequence_number)

    async def from_log(self, work: Work) -> Folded[Changes]:
        """Return the changes through the log's head; raises StoreUnavailable."""
        target = await self._log.last_sequence_number(work.aggregate_id, after=work.target)
        return Folded(_changes(work, target)) if target else Folded(None, _nothing_in_log(work.aggregate_id))


def _changes(work: Work, sequence_number: int) -> Changes:
    first = 1 if work.target_unknown else work.first
    return Changes(str(work.aggregate_id), first, sequence_number, work.events)


def _nothing_in_log(aggregate_id: AggregateId) -> Poison:
    return Poison(0, LogDamaged(f"aggregate {aggregate_id}: a message, but no event in the log"))


class Folder:
    """Folds each aggregate on its own, so that a defect of one does not touch the others."""

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

    async def at(self, work: Work, sequence_number: int) -> Instance:
        """Return an earlier state; raises StoreUnavailable, LogDamaged."""
        return await self._reader.at(work.aggregate_id, sequence_number)

    async def from_log(self, work: Work) -> Folded[Instance]:
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
            return Folded(None, _nothing_in_log(aggregate_id))
        try:
            state = await self._from_hand(work, target)
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - for any error, the log decides how far it goes, and why not on
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

    async def _from_log(self, aggregate_id: AggregateId, target: int) -> Folded[Instance]:
        """Fold the log's events one by one from the snapshot, or from the start where that does not fit."""
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

    async def _one_by_one(self, state: Instance, target: int) -> Folded[Instance]:
        aggregate_id = AggregateId.parse(state.aggregate_id)
        for number in range(state.sequence_number + 1, target + 1):
            try:
                state = evolve(state, (await self._reader.required(aggregate_id, number)).event)
            except StoreUnavailable:
                raise
            except Exception as error:  # noqa: BLE001 - a defect in reading one event must not hold up the others
                return Folded(state, Poison(number, error))
        return Folded(state)


class StateProjection(Folder):
    """The ``Projection`` of a read model of states."""

    def __init__(self, read_model: ReadModel, *, log: EventLog, snapshots: Snapshots, aggregates_max: int) -> None:
        super().__init__(log=log, snapshots=snapshots, aggregates_max=aggregates_max)
        self.name = read_model.name
        self.project = read_model.project_states
