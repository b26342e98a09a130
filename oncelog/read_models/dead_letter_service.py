"""The dead-letter service, for operators: try again from the log, skip, pause, resume. Each is itself a dead letter.

Ending a wait goes in three steps: a dead letter says that a catch-up begins (from then on new events flow again), the
log's head is read after that and projected, and a dead letter says that it is done. If the process dies in between, the
second dead letter is missing, which is visible, and the next projector finishes it.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

import structlog

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.dead_letters import DeadLetter, DeadLetterKind
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import ContainerUnusable, InputInvalid, StoreUnavailable
from oncelog.ports import Changes, EventLog, EventReadModel, ReadModel, Snapshots
from oncelog.read_models.parking import Parking, is_set_aside
from oncelog.replay.stream_reader import StateCache, StreamReader

#: Of a class with a container that can be used again.
RETRIES_AT_ONCE_MAX = 16

#: Projects an aggregate as the log has it now, and returns why it cannot be projected, or None. The number is the
#: version that is parked, 0 where none is known. Raises StoreUnavailable and errors of reading the log.
ProjectNewest = Callable[[AggregateId, int], Awaitable[Exception | None]]

log = structlog.get_logger(__name__)


class DeadLetterService:
    """Ends the waits of one read model's aggregates."""

    def __init__(self, *, log: EventLog, project_newest: ProjectNewest, parking: Parking) -> None:
        self._log = log
        self._project_newest = project_newest
        self._parking = parking

    async def retry(self, aggregate_id: AggregateId, *, by: str, reason: str = "retry") -> DeadLetter:
        """Read and fold the log anew and project it; returns RESOLVED, or PARKED with why it failed again.

        Raises InputInvalid where nothing is parked, and StoreUnavailable: repeat it then.
        """
        return await self.finish(await self._parking.write(DeadLetterKind.RETRYING, aggregate_id, by=by, reason=reason))

    async def resume(self, aggregate_id: AggregateId, *, by: str, reason: str = "resume") -> DeadLetter:
        """End a pause: as ``retry``."""
        return await self.retry(aggregate_id, by=by, reason=reason)

    async def skip(self, aggregate_id: AggregateId, *, by: str, reason: str) -> DeadLetter:
        """Give up projecting the version that is parked, for good; later versions are projected, if they can be.

        Nothing is folded past a damaged event: a later event parks the aggregate again.
        """
        return await self.finish(await self._parking.write(DeadLetterKind.SKIPPED, aggregate_id, by=by, reason=reason))

    async def pause(self, aggregate_id: AggregateId, *, by: str, reason: str) -> DeadLetter:
        """Let the aggregate's projection wait until ``resume``; takes effect within a refresh of the programs."""
        return await self._parking.write(DeadLetterKind.PAUSED, aggregate_id, by=by, reason=reason)

    async def redrive(self, dead_letters: Sequence[DeadLetter], *, by: str) -> int:
        """Retry the aggregates that wait for a container, where it can be used again; returns how many are projected.

        One aggregate of each class is projected first: while that fails, no dead letter is written. Raises
        StoreUnavailable for a server that every aggregate needs.
        """
        by_class: defaultdict[tuple[str, str], list[DeadLetter]] = defaultdict(list)
        for dead_letter in dead_letters:
            by_class[dead_letter.aggregate.db_name, dead_letter.aggregate.class_id].append(dead_letter)
        done = 0
        retry = partial(self._retry_alone, by=by)
        for some in by_class.values():
            if not await self._takes(some[0]):
                continue
            for start in range(0, len(some), RETRIES_AT_ONCE_MAX):
                started = some[start : start + RETRIES_AT_ONCE_MAX]
                ended = await bounded_gather(retry, started, at_once=RETRIES_AT_ONCE_MAX)
                done += sum(dead_letter is not None and not dead_letter.waits for dead_letter in ended)
                if any(dead_letter is not None and is_set_aside(dead_letter) for dead_letter in ended):
                    break  # its container cannot be used after all
        return done

    async def _retry_alone(self, dead_letter: DeadLetter, *, by: str) -> DeadLetter | None:
        """Retry an aggregate unless another program was faster; raises StoreUnavailable."""
        try:
            return await self.retry(dead_letter.aggregate, by=by, reason="its container can be used again")
        except InputInvalid as error:
            log.info("redrive_left", aggregate_id=dead_letter.aggregate_id, reason=error.message)
            return None

    async def _takes(self, dead_letter: DeadLetter) -> bool:
        """Return whether the container of an aggregate can be used; raises StoreUnavailable for its server."""
        try:
            await self._project(dead_letter)
        except ContainerUnusable as error:
            if error.shared:
                raise
            return False
        except StoreUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 - of this one aggregate: its retry parks it, with the reason
            log.info("redrive_of_a_damaged_one", aggregate_id=dead_letter.aggregate_id, reason=str(error))
        return True

    async def finish(self, dead_letter: DeadLetter) -> DeadLetter:
        """Catch up from the log after a RETRYING or SKIPPED dead letter; may be repeated, by any program."""
        aggregate_id = dead_letter.aggregate
        given_up = dead_letter.given_up_through
        head = await self._log.last_sequence_number(aggregate_id)
        try:
            if head > given_up or dead_letter.kind is DeadLetterKind.RETRYING:
                await self._project(dead_letter)
        except StoreUnavailable as error:
            if not isinstance(error, ContainerUnusable) or error.shared:
                raise
            return await self._parking.park(aggregate_id, sequence_number=head, error=error)
        except Exception as error:  # noqa: BLE001 - any error that prevents projecting it is why it waits again
            number = getattr(error, "details", {}).get("sequence_number") or head
            parked = await self._parking.park(aggregate_id, sequence_number=number, wanted=head, error=error)
            if parked.waits:
                return parked
        shown = f"shown through version {head}" if head > given_up else f"version {given_up} need not be shown"
        return await self._parking.write(DeadLetterKind.RESOLVED, aggregate_id, by=dead_letter.by, reason=shown)

    async def _project(self, dead_letter: DeadLetter) -> None:
        """Project the head of the log, which is read anew, past everything that this process remembers."""
        outcome = await self._project_newest(dead_letter.aggregate, dead_letter.sequence_number)
        if outcome is not None:
            raise outcome


def newest_state(log: EventLog, snapshots: Snapshots, read_model: ReadModel) -> ProjectNewest:
    """Return a function that projects the state at the log's head."""

    async def project(aggregate_id: AggregateId, _: int) -> Exception | None:
        reader = StreamReader(log=log, snapshots=snapshots, cache=StateCache(aggregates_max=1))
        state, _watermark = await reader.latest(aggregate_id)
        (outcome,) = await read_model.project_states([state])
        return outcome

    return project


def newest_events(log: EventLog, read_model: EventReadModel) -> ProjectNewest:
    """Return a function that applies all events from the parked one, if known, to the log's head."""

    async def project(aggregate_id: AggregateId, parked: int) -> Exception | None:
        head = await log.last_sequence_number(aggregate_id)
        (outcome,) = await read_model.project_events([Changes(str(aggregate_id), max(parked, 1), head, {})])
        return outcome

    return project
