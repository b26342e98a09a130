"""Many small writes to a read model become few large ones, without a delay for the sake of it.

While a batch is under way, new writes wait; as soon as a batch is acknowledged, all of them go together. So a single
write leaves at once, and under load the batches grow by themselves.
"""

import asyncio
from dataclasses import dataclass, field

from oncelog.domain.instance import Instance
from oncelog.errors import StoreUnavailable
from oncelog.ports import ReadModel


@dataclass(eq=False)
class _Waiting:
    """One caller's state, and where it waits for the outcome."""

    state: Instance
    outcome: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def sequence_number(self) -> int:
        return self.state.sequence_number


class BatchedReadModel:
    """Projects single states through shared batches; belongs to one event loop.

    Of several waiting states of one aggregate only the newest is sent, since it carries the events of the others.
    ``states_max`` bounds a batch (the read model bounds its requests), ``in_flight_max`` how many are under way at
    once.
    """

    def __init__(self, read_model: ReadModel, *, states_max: int = 500, in_flight_max: int = 2) -> None:
        self.read_model = read_model
        self._states_max = states_max
        self._in_flight_max = in_flight_max
        self._waiting: dict[str, list[_Waiting]] = {}  # in order of arrival
        self._in_flight: set[asyncio.Task[None]] = set()
        self._closed = False

    async def project(self, state: Instance) -> None:
        """Project the state unless a newer one is projected.

        Raises the error that ``ReadModel.project_states`` returns for it; RuntimeError after ``close``.
        """
        if self._closed:
            raise RuntimeError(f"{self.read_model.name}: closed; open another one to write on")
        waiting = _Waiting(state)
        self._enqueue(waiting)
        await waiting.outcome

    async def close(self) -> None:
        """Take no more states, and return when all that wait have their outcome."""
        self._closed = True
        while self._in_flight:
            await asyncio.wait(self._in_flight)

    def _enqueue(self, waiting: _Waiting) -> None:
        self._waiting.setdefault(waiting.state.aggregate_id, []).append(waiting)
        if len(self._in_flight) < self._in_flight_max:
            task = asyncio.create_task(self._send_batches())  # begins after all states ready now have been enqueued
            self._in_flight.add(task)

    async def _send_batches(self) -> None:
        batch: list[list[_Waiting]] = []
        try:
            while batch := self._take_batch():
                await self._apply(batch)
        finally:
            # At once, not when the task is seen to be done: a state enqueued in between would find no task.
            self._in_flight.discard(asyncio.current_task())
            for waiting in (waiting for group in batch for waiting in group):  # cancelled: no caller waits forever
                waiting.outcome.cancel()

    def _take_batch(self) -> list[list[_Waiting]]:
        """Take the longest waiting states, up to the batch limit: per aggregate its callers, the newest state last."""
        batch: list[list[_Waiting]] = []
        while self._waiting and len(batch) < self._states_max:
            arrived = self._waiting.pop(next(iter(self._waiting)))
            group = sorted((one for one in arrived if not one.outcome.done()), key=lambda one: one.sequence_number)
            if group:
                batch.append(group)
        return batch

    async def _apply(self, batch: list[list[_Waiting]]) -> None:
        try:
            outcomes = await self.read_model.project_states([group[-1].state for group in batch])
        except Exception as error:  # noqa: BLE001 - a defect of the store reaches every caller that it concerns
            outcomes = [error] * len(batch)
        for group, outcome in zip(batch, outcomes, strict=True):
            self._resolve(group, outcome)

    def _resolve(self, group: list[_Waiting], outcome: Exception | None) -> None:
        newest = group[-1].sequence_number
        for waiting in group:
            if waiting.outcome.done():
                continue
            if outcome is None:
                waiting.outcome.set_result(None)
            elif waiting.sequence_number == newest or isinstance(outcome, StoreUnavailable):
                waiting.outcome.set_exception(outcome)
            else:  # the newest can never be projected, which says nothing about the one before
                self._enqueue(waiting)
