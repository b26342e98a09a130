"""A read model from the log alone: every instance of a class is folded and projected again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import OncelogError, StoreUnavailable
from oncelog.ports import EventLog, ListedStream, LogCatalogue, ReadModel, Snapshots
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.parking import Parking
from oncelog.replay.stream_reader import StateCache, StreamReader

AT_ONCE = 100


@dataclass
class Rebuilt:
    """The result of a rebuild: instances projected at their head or beyond, and those that cannot be, which are
    parked.
    """

    shown: int = 0
    parked: int = 0


class Rebuilding:
    """Rebuilds one read model. An aggregate that is projected already is projected again, which changes
    nothing; live writes may go on.
    """

    def __init__(
        self, *, log: EventLog, snapshots: Snapshots, catalogue: LogCatalogue, read_model: ReadModel, parking: Parking
    ) -> None:
        self._log = log
        self._snapshots = snapshots
        self._catalogue = catalogue
        self._read_model = read_model
        self._parking = parking

    async def rebuild(
        self, db_name: str, class_id: str, *, after_batch: Callable[[Rebuilt], None] = lambda _: None
    ) -> Rebuilt:
        """Project all instances of a class; may be repeated. Raises StoreUnavailable, with what was projected left
        so.
        """
        done = Rebuilt()
        after: str | None = ""
        while after is not None:
            page = await self._catalogue.listed_streams(after=after, db_name=db_name, class_id=class_id)
            for start in range(0, len(page.items), AT_ONCE):
                await self._project(page.items[start : start + AT_ONCE], done)
                after_batch(done)
            after = page.position
        return done

    async def _project(self, listed_streams: Sequence[ListedStream], done: Rebuilt) -> None:
        folded = await bounded_gather(self._state_at, listed_streams, at_once=AT_ONCE)
        states = [state for state in folded if isinstance(state, Instance)]
        outcomes = dict(
            zip((state.aggregate_id for state in states), await self._read_model.project_states(states), strict=True)
        )
        for listed_stream, found in zip(listed_streams, folded, strict=True):
            outcome = found if isinstance(found, Exception) else outcomes[str(listed_stream.aggregate_id)]
            if isinstance(outcome, StoreUnavailable):
                raise outcome
            if outcome is None:
                done.shown += 1
            else:
                await self._parking.park(listed_stream.aggregate_id, sequence_number=listed_stream.head, error=outcome)
                done.parked += 1

    async def _state_at(self, listed_stream: ListedStream) -> Instance | Exception:
        reader = StreamReader(log=self._log, snapshots=self._snapshots, cache=StateCache(aggregates_max=1))
        try:
            return await reader.at(listed_stream.aggregate_id, listed_stream.head)
        except OncelogError as error:
            return error


class GraphRebuilder:
    """Brings the nodes of classes under their newest definition. Each event that comes meanwhile does so by itself."""

    def __init__(self, graph: GraphModel, rebuilding: Rebuilding) -> None:
        self._graph = graph
        self._rebuilding = rebuilding

    async def run(self, class_name: AggregateId, *, progress: Callable[[int], None] = lambda _: None) -> str:
        """Project all instances of the class to the graph anew; returns what was done, in words.

        ``progress`` receives the number of nodes written so far, after each batch. Raises StoreUnavailable.
        """
        db_name, class_id = class_name.db_name, class_name.instance_key
        done = await self._rebuilding.rebuild(db_name, class_id, after_batch=lambda so_far: progress(so_far.shown))
        await self._graph.refresh(db_name)
        return f"{done.shown} nodes" + (f", {done.parked} parked" if done.parked else "")
