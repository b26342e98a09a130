"""The repair of what a read model shows wrongly at the right version: the log is folded and projected over it."""

from collections.abc import Sequence
from typing import Protocol

import structlog

from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import StoreUnavailable
from oncelog.replay.fold import Fold, folded

log = structlog.get_logger(__name__)


class ReplaceableModel(Protocol):
    """A read model that can write over what it shows at the same version."""

    async def replace_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Project each state, also over what is shown at its version, never over a later one."""
        ...


class ProjectionRepair:
    """Projects aggregates anew, from their first event on, over what one read model shows of them.

    Safe beside live writes: what is shown of a later event stays, and all that is written follows from the log.
    """

    def __init__(self, model: ReplaceableModel, reader: LogReader) -> None:
        self._model = model
        self._reader = reader

    async def run(self, aggregate_ids: Sequence[AggregateId]) -> None:
        """Project them again. One whose log is damaged, or that is refused, stays as it is; raises StoreUnavailable."""
        for aggregate_id in aggregate_ids:
            async for batch in folded(self._reader.batches(LogPart.of_stream(aggregate_id)), Fold()):
                for outcome in await self._model.replace_states(batch.states) if batch.states else ():
                    if isinstance(outcome, StoreUnavailable):
                        raise outcome
                    log.info("projection_repaired", aggregate_id=str(aggregate_id), refused=outcome and str(outcome))
