"""A read model from the log alone: states are projected again; an aggregate that cannot be projected is parked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader
from oncelog.archive.stretch import EventOrigin, StreamDamage
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import StoreUnavailable
from oncelog.ports import ReadModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.parking import Parking
from oncelog.replay.fold import Fold, FoldedBatch, folded


@dataclass(frozen=True)
class Projected:
    """How many aggregates are projected at their head or beyond, and how many cannot be and are parked."""

    projected: int = 0
    parked: int = 0

    def __add__(self, other: "Projected") -> "Projected":
        return Projected(self.projected + other.projected, self.parked + other.parked)


def damaged_streams(damages: Sequence[StreamDamage]) -> Sequence[StreamDamage]:
    """Return the damages of the log itself: a stream that the archive is to blame for is folded from its slots."""
    return [damage for damage in damages if damage.origin is not EventOrigin.ARCHIVE]


class StateProjection:
    """Projects folded states to one read model as it is. An aggregate that is projected already stays as it is."""

    def __init__(self, read_model: ReadModel, parking: Parking) -> None:
        self.read_model = read_model
        self._parking = parking

    async def project(self, batch: FoldedBatch) -> Projected:
        """Project the states of a batch, and park the others of its aggregates; may be repeated.

        Raises StoreUnavailable, with the states projected by then left so.
        """
        outcomes = await self.read_model.project_states(batch.states) if batch.states else ()
        refused = {state.aggregate_id: (state.sequence_number, error) for state, error in _failed(batch, outcomes)}
        for error in (error for _, error in refused.values() if isinstance(error, StoreUnavailable)):
            raise error
        return Projected(len(batch.states) - len(refused), await self.park(batch, refused))

    async def park(self, batch: FoldedBatch, refused: dict[str, tuple[int, Exception]]) -> int:
        """Park aggregates that cannot be projected: by ID the sequence number and the reason, and damaged streams."""
        damaged: dict[str, tuple[int, Exception]] = {
            damage.aggregate_id: (damage.sequence_number, damage.error) for damage in damaged_streams(batch.damages)
        }
        for name, (number, error) in (damaged | refused).items():
            await self._parking.park(AggregateId.parse(name), sequence_number=number, error=error)
        return len(damaged | refused)


def _failed(batch: FoldedBatch, outcomes: Sequence[Exception | None]) -> list[tuple[Instance, Exception]]:
    pairs = zip(batch.states, outcomes, strict=True) if batch.states else ()
    return [(state, outcome) for state, outcome in pairs if outcome is not None]


class GraphRebuilder:
    """Brings the nodes of classes under their newest definition. Each event that comes meanwhile does so by itself."""

    def __init__(self, graph: GraphModel, parking: Parking, reader: LogReader) -> None:
        self._graph = graph
        self._projection = StateProjection(graph, parking)
        self._reader = reader

    async def run(self, class_name: AggregateId, *, progress: Callable[[int], None] = lambda _: None) -> str:
        """Project all instances of the class to the graph anew; returns a summary in words.

        ``progress`` receives the number of nodes written so far, after each batch. Raises StoreUnavailable.
        """
        part = LogPart(db_name=class_name.db_name, class_id=class_name.instance_key)
        done = Projected()
        async for batch in folded(self._reader.batches(part), Fold()):
            done += await self._projection.project(batch)
            progress(done.projected)
        await self._graph.refresh(class_name.db_name)
        return f"{done.projected} nodes" + (f", {done.parked} parked" if done.parked else "")
