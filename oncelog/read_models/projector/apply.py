"""Projecting a batch: states are written, only failed ones again; states that can never be projected are parked."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Generic

import structlog
from cachetools import LRUCache

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.dead_letters import DeadLetter
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import ContainerUnusable, OncelogError, StoreUnavailable
from oncelog.ports import Delivery, FailureStream
from oncelog.read_models.parking import Parking
from oncelog.read_models.projector.fold import Folded, Item, Poison, Projection
from oncelog.read_models.projector.group import GroupedBatch, Work
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.read_models.projector.retry import Backoff

AT_ONCE_MAX = 16
FOLDS_BETWEEN_YIELDS = 50
REMEMBERED_MAX = 100_000
UNROUTABLE_BYTES_MAX = 1_000
UNROUTABLE = "MessageStray"
#: How often an unusable container is tried before its aggregates are set aside: an index that follows another is
#: closed for a moment only.
CONTAINER_TRIES_MAX = 5

log = structlog.get_logger(__name__)


@dataclass
class Prepared(Generic[Item]):
    """A batch sorted and folded: per aggregate an item to be projected, or why it cannot be folded further, or both."""

    found: GroupedBatch
    states: dict[AggregateId, Item] = field(default_factory=dict)
    poison: dict[AggregateId, Poison] = field(default_factory=dict)

    def add(self, aggregate_id: AggregateId, folded: Folded[Item]) -> None:
        """Take the outcome of folding an aggregate."""
        if folded.state:
            self.states[aggregate_id] = folded.state
        if folded.poison:
            self.poison[aggregate_id] = folded.poison


class ProjectedVersions:
    """Through which number aggregates are known to be projected; the least recently projected are forgotten first."""

    def __init__(self, *, aggregates_max: int = REMEMBERED_MAX) -> None:
        self._numbers: LRUCache[AggregateId, int] = LRUCache(aggregates_max)

    def number(self, aggregate_id: AggregateId) -> int:
        """Return the number, 0 where none is known."""
        return self._numbers.get(aggregate_id, 0)

    def put(self, aggregate_id: AggregateId, number: int) -> None:
        """Remember that the aggregate is projected through this number at least."""
        self._numbers[aggregate_id] = max(number, self._numbers.get(aggregate_id, 0))


class BatchProjection(Generic[Item]):
    """Folds and has batches in one read model. A state that it returns is final: projected, parked, waiting or
    announced.
    """

    def __init__(
        self,
        *,
        projection: Projection[Item],
        parking: Parking,
        failures: FailureStream,
        metrics: ProjectorMetrics,
        backoff: Backoff,
    ) -> None:
        self.projected = ProjectedVersions()
        self._unusable: set[AggregateId] = set()  # classes with containers that could not be used when last tried
        self._projection = projection
        self._parking = parking
        self._failures = failures
        self._metrics = metrics
        self._backoff = backoff

    async def prepare(self, found: GroupedBatch) -> Prepared[Item]:
        """Fold events at hand at once, and look up the rest, several at a time; aggregates that may wait, not yet."""
        prepared: Prepared[Item] = Prepared(found)
        lookups: list[Work] = []
        for index, (aggregate_id, work) in enumerate(found.work.items()):
            if index % FOLDS_BETWEEN_YIELDS == 0:
                await asyncio.sleep(0)  # the batch before is in flight meanwhile
            if self._parking.may_wait(aggregate_id):
                continue
            state = self._projection.at_hand(work)
            if state:
                prepared.states[aggregate_id] = state
            else:
                lookups.append(work)
        await self._look_up(prepared, lookups)
        return prepared

    async def project(self, prepared: Prepared[Item]) -> None:
        """Project the aggregates that do not wait; adds those that never can be to the poison. Raises Stopped."""
        work = prepared.found.work
        waiting = await self._backoff.until_done(partial(self._parking.waiting, work))
        for aggregate_id, dead_letter in waiting.items():
            prepared.states.pop(aggregate_id, None)
            prepared.poison.pop(aggregate_id, None)
            await self._leave(work[aggregate_id], dead_letter)
        known = {*prepared.states, *prepared.poison, *waiting}
        await self._look_up(prepared, [each for each in work.values() if each.aggregate_id not in known])
        refused = await self._write(prepared.states)
        processed = 0
        for aggregate_id, state in prepared.states.items():
            if aggregate_id in refused:
                if not isinstance(refused[aggregate_id].error, ContainerUnusable):
                    await self._step_back(work[aggregate_id], state)
                continue
            self.projected.put(aggregate_id, state.sequence_number)
            if aggregate_id not in prepared.poison:
                processed += work[aggregate_id].messages
        prepared.poison.update(refused)
        self._metrics.processed.inc(processed)
        self._metrics.skipped.inc(prepared.found.skipped)

    async def park(self, prepared: Prepared[Item]) -> None:
        """Park the poisoned aggregates, and report unroutable messages. Raises Stopped."""
        work = prepared.found.work
        await bounded_gather(
            lambda found: self._park(work[found[0]], found[1]), prepared.poison.items(), at_once=AT_ONCE_MAX
        )
        await bounded_gather(self._announce_unroutable, prepared.found.unroutable, at_once=AT_ONCE_MAX)

    async def _look_up(self, prepared: Prepared[Item], lookups: Sequence[Work]) -> None:
        async def look_up(work: Work) -> None:
            folded = await self._backoff.until_done(partial(self._projection.from_log, work))
            prepared.add(work.aggregate_id, folded)

        self._metrics.lookups.inc(len(lookups))
        await bounded_gather(look_up, lookups, at_once=AT_ONCE_MAX)

    async def _leave(self, work: Work, dead_letter: DeadLetter) -> None:
        """Leave a waiting aggregate alone. The process that parked it may have died before it announced it, if this is
        its event.
        """
        self._metrics.waiting.inc(work.messages)
        if dead_letter.sequence_number == work.target or dead_letter.sequence_number in work.events:
            await self._backoff.until_done(partial(self._parking.announce, dead_letter))

    async def _write(self, states: Mapping[AggregateId, Item]) -> dict[AggregateId, Poison]:
        """Write the states, those that a server did not take now again; return those that can never be projected."""
        refused: dict[AggregateId, Poison] = {}
        pending = dict(states)
        pause = self._backoff.pauses()
        tries = 0
        while pending:
            tries += 1
            outcomes = await self._outcomes(list(pending.values()))
            again: dict[AggregateId, Item] = {}
            reasons: list[str] = []
            for (aggregate_id, state), outcome in zip(pending.items(), outcomes, strict=True):
                if isinstance(outcome, ContainerUnusable):
                    self._metrics.container_refused(outcome)
                if isinstance(outcome, ContainerUnusable) and self._is_set_aside(aggregate_id, outcome, tries):
                    refused[aggregate_id] = Poison(state.sequence_number, outcome)
                elif isinstance(outcome, StoreUnavailable):
                    again[aggregate_id] = state
                    reasons.append(outcome.message)
                elif outcome is not None:
                    refused[aggregate_id] = Poison(_number_of(outcome) or state.sequence_number, outcome)
                else:
                    self._unusable.discard(aggregate_id.class_name)
            if again:
                await pause(f"{len(again)} of {len(pending)} not written: {reasons[0]}")
            pending = again
        return refused

    def _is_set_aside(self, aggregate_id: AggregateId, error: ContainerUnusable, tries: int) -> bool:
        """Return whether the aggregate is set aside now: after some tries, or at once where its class is already."""
        if error.shared or not (tries >= CONTAINER_TRIES_MAX or aggregate_id.class_name in self._unusable):
            return False
        self._unusable.add(aggregate_id.class_name)
        return True

    async def _outcomes(self, states: Sequence[Item]) -> Sequence[Exception | None]:
        """Apply all at once; where a defect lets that fail as a whole, one by one, so that it hits its own only."""
        try:
            return await self._projection.project(states)
        except StoreUnavailable as error:
            return [error] * len(states)
        except Exception as error:  # noqa: BLE001 - it becomes the reason why its aggregate is parked
            if len(states) == 1:
                return [error]
            return [outcome for state in states for outcome in await self._outcomes([state])]

    async def _step_back(self, work: Work, refused: Item) -> None:
        """Project the newest version of this batch before the refused one that can be projected, if there is any."""
        for number in sorted((each for each in work.events if each < refused.sequence_number), reverse=True):
            earlier = await self._backoff.until_done(partial(self._projection.at, work, number))
            if not await self._write({work.aggregate_id: earlier}):
                self.projected.put(work.aggregate_id, number)
                return

    async def _park(self, work: Work, poison: Poison) -> None:
        aggregate_id = work.aggregate_id
        parking = partial(
            self._parking.park,
            aggregate_id,
            sequence_number=poison.sequence_number,
            wanted=work.target,
            error=poison.error,
        )
        dead_letter = await self._backoff.until_done(parking)
        if not dead_letter.waits:
            log.info("skipped_version_left_out", aggregate_id=str(aggregate_id), version=poison.sequence_number)
            return
        self._metrics.failed(dead_letter.code or dead_letter.kind)
        log.error("aggregate_parked", aggregate_id=str(aggregate_id), code=dead_letter.code, reason=dead_letter.reason)

    async def _announce_unroutable(self, delivery: Delivery) -> None:
        body = {
            "code": UNROUTABLE,
            "reason": "its key names no aggregate, so that it can be nobody's event",
            "partition": delivery.partition,
            "offset": delivery.offset,
            "key": (delivery.key or b"")[:UNROUTABLE_BYTES_MAX].decode(errors="replace"),
            "value": (delivery.value or b"")[:UNROUTABLE_BYTES_MAX].decode(errors="replace"),
        }
        log.error("message_of_no_aggregate", **body)
        await self._backoff.until_done(partial(self._failures.announce, "", body))
        self._metrics.failed(UNROUTABLE)


def _number_of(error: Exception) -> int:
    """Return the event that an error of a read model of events is about, 0 where it names none."""
    details = error.details if isinstance(error, OncelogError) else {}
    number = details.get("sequence_number")
    return number if isinstance(number, int) else 0
