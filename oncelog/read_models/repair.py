"""The repair of wrong documents and nodes at the right version: the log is folded and projected over it."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from oncelog.archive.log_reader import LogReader
from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import ContainerUnusable, LogDamaged, SchemaUnsupported, StoreUnavailable
from oncelog.ports import StaleIndex
from oncelog.replay.fold import Fold, folded

#: Aggregates that are folded side by side, and written by one request.
AGGREGATES_AT_ONCE = 16

log = structlog.get_logger(__name__)


class ReplaceableModel(Protocol):
    """A read model that can replace its state at the same version."""

    async def replace_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Project each state, also over the one projected at its version, never over a later one."""
        ...


class ProjectionRepair:
    """Projects aggregates anew, from their first event on, over their states in one read model.

    Safe beside live writes: a projection of a later event stays, and all that is written follows from the log.
    ``reader``: of slots only, since the archive is derived from them.
    """

    def __init__(self, model: ReplaceableModel, reader: LogReader) -> None:
        self._model = model
        self._reader = reader

    async def run(self, aggregate_ids: Sequence[AggregateId]) -> None:
        """Project aggregates again; raises StoreUnavailable.

        An aggregate stays as it is, and is logged, if its log or its class's is damaged, if its document or node is
        refused, or if its index takes no writes.
        """
        for start in range(0, len(aggregate_ids), AGGREGATES_AT_ONCE):
            some = aggregate_ids[start : start + AGGREGATES_AT_ONCE]
            states = await bounded_gather(self._state, some, at_once=AGGREGATES_AT_ONCE)
            await self._replace([state for state in states if state is not None])

    async def _state(self, aggregate_id: AggregateId) -> Instance | None:
        """Return the fold of all events; None where they cannot be folded to the last."""
        newest = None
        async for batch in folded(self._reader.stream(aggregate_id), Fold()):
            for damage in batch.damages:
                log.warning("repair_refused", aggregate_id=str(aggregate_id), reason=damage.error.message)
            newest = batch.states[-1] if batch.states else newest
        return newest

    async def _replace(self, states: Sequence[Instance]) -> None:
        try:
            outcomes = await self._model.replace_states(states) if states else ()
        except (LogDamaged, SchemaUnsupported) as error:  # in the log of their class
            outcomes = [error] * len(states)
        for state, outcome in zip(states, outcomes, strict=True):
            if isinstance(outcome, StoreUnavailable) and not isinstance(outcome, StaleIndex | ContainerUnusable):
                raise outcome
            if outcome is None:
                log.info("projection_repaired", aggregate_id=state.aggregate_id, version=state.sequence_number)
            else:
                log.warning("repair_refused", aggregate_id=state.aggregate_id, reason=str(outcome))
