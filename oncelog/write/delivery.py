"""After the slot is written: publish the events not yet published, and project. Only forward, each step repeatable."""

import asyncio
from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass

from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.results import CommandResult
from oncelog.errors import OncelogError, ProjectionParked
from oncelog.ports import ProjectionStatus
from oncelog.read_models.batching import BatchedReadModel
from oncelog.read_models.parking import Parking, parked_error
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.replay.trace import Trace
from oncelog.write.publication import Publication


@dataclass(frozen=True)
class InlineModel:
    """A read model that commands are projected to. ``instances_only``: it has nothing of classes."""

    batched: BatchedReadModel
    parking: Parking
    instances_only: bool = False

    @property
    def name(self) -> str:
        return self.parking.read_model

    def has(self, aggregate_id: AggregateId) -> bool:
        """Return whether it has aggregates of this kind."""
        return not (self.instances_only and aggregate_id.class_id == CLASSES)

    async def projection_statuses(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[ProjectionStatus]:
        """Return how each is projected; raises StoreUnavailable, LogDamaged."""
        return await self.batched.read_model.projection_statuses(aggregate_ids)


@dataclass(frozen=True)
class Delivery:
    """A committed event on its way to stream and read models."""

    aggregate_id: AggregateId
    sequence_number: int
    published: bool

    @classmethod
    def of(cls, result: CommandResult, *, published: bool) -> "Delivery | None":
        """Return the delivery of a result's event; None for a rejected command, which has none."""
        if result.aggregate_id is None or result.sequence_number is None:
            return None
        return cls(AggregateId.parse(result.aggregate_id), result.sequence_number, published)


class _Unprojectable(Exception):
    """In some read models the state can never be projected."""

    def __init__(self, failures: Sequence[tuple[InlineModel, OncelogError]]) -> None:
        super().__init__(failures)
        self.failures = failures


class Deliverer:
    """Delivers a committed event to the stream and to the read models.

    ``inline``: whether instances are projected here; else projectors do so from the stream. Classes always are.
    """

    def __init__(
        self,
        *,
        publication: Publication,
        models: Sequence[InlineModel],
        reader: StreamReader,
        cache: StateCache,
        inline: bool = True,
    ) -> None:
        self._inline = inline
        self._publication = publication
        self._models = models
        self._reader = reader
        self._cache = cache

    def projects(self, aggregate_id: AggregateId) -> bool:
        """Return whether this process projects the aggregate."""
        return self._inline or aggregate_id.class_id == CLASSES

    async def attempt(self, delivery: Delivery, trace: Trace, *, timeout_s: float) -> dict[str, str]:
        """Publish and project at once, a quick attempt each; return by step why it did not succeed."""
        steps: dict[str, Awaitable[object]] = {}
        if self.projects(delivery.aggregate_id):
            steps["project"] = self.project_or_park(delivery.aggregate_id, delivery.sequence_number, trace)
        if not delivery.published:
            steps["publish"] = self.publish(delivery.aggregate_id, delivery.sequence_number, trace)
        failures = await asyncio.gather(*(attempted(step, timeout_s=timeout_s) for step in steps.values()))
        return {name: failure for name, failure in zip(steps, failures, strict=True) if failure}

    async def publish(self, aggregate_id: AggregateId, sequence_number: int, trace: Trace) -> None:
        """Make sure that the event and all before it are published; raises StoreUnavailable."""
        async with trace.step("publish") as step:
            step.note = await self._publication.ensure(aggregate_id, sequence_number)

    async def project_or_park(
        self, aggregate_id: AggregateId, sequence_number: int, trace: Trace, *, only: Collection[str] | None = None
    ) -> bool:
        """Project the state at the sequence number or beyond it in every read model, or ``only`` in those of these
        names.

        Where it can never be projected, the aggregate is parked: the fact stands, and its command need not wait for a
        person. Returns whether it is projected in all of them. Raises StoreUnavailable, after every model was tried.
        """
        models = [model for model in self._models if model.has(aggregate_id) and (only is None or model.name in only)]
        try:
            async with trace.step("project") as step:
                step.note = await self._project(aggregate_id, sequence_number, models)
        except _Unprojectable as error:
            async with trace.step("park") as step:
                step.note = await _park(aggregate_id, sequence_number, error.failures)
            return False
        return True

    async def _project(self, aggregate_id: AggregateId, sequence_number: int, models: Sequence[InlineModel]) -> str:
        try:
            state = self._cache.get(aggregate_id)
            if state is None or state.sequence_number < sequence_number:
                state = await self._reader.at(aggregate_id, sequence_number)
        except OncelogError as error:
            if error.retryable:
                raise
            raise _Unprojectable([(model, error) for model in models]) from error
        outcomes = await asyncio.gather(
            *(_project_to(model, aggregate_id, state) for model in models), return_exceptions=True
        )
        failures: list[tuple[InlineModel, OncelogError]] = []
        for model, outcome in zip(models, outcomes, strict=True):
            if isinstance(outcome, OncelogError) and not outcome.retryable:
                failures.append((model, outcome))
            elif outcome is not None:
                raise outcome
        if failures:
            raise _Unprojectable(failures)
        return f"{' and '.join(model.name for model in models)} at version {state.sequence_number}"


async def _project_to(model: InlineModel, aggregate_id: AggregateId, state: Instance) -> None:
    await model.parking.refuse_if_waiting(aggregate_id)
    await model.batched.project(state)


async def _park(
    aggregate_id: AggregateId, sequence_number: int, failures: Sequence[tuple[InlineModel, OncelogError]]
) -> str:
    """Let the aggregate's projection wait for a person; returns why, in words."""
    reasons: list[str] = []
    for model, error in failures:
        if isinstance(error, ProjectionParked):
            reasons.append(error.message)
        else:
            dead_letter = await model.parking.park(aggregate_id, sequence_number=sequence_number, error=error)
            reasons.append(parked_error(dead_letter).message)
    return "; ".join(dict.fromkeys(reasons))


async def attempted(step: Awaitable[object], *, timeout_s: float) -> str | None:
    """Await one quick attempt; return None, or why it did not succeed."""
    try:
        async with asyncio.timeout(timeout_s):
            await step
    except OncelogError as error:
        return f"{error.code}: {error.message}"
    except TimeoutError:
        return f"no answer within {timeout_s:g} s"
    return None
