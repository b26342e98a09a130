"""A class whose definition changed what its instances refer to: their nodes follow."""

from collections.abc import Callable

from oncelog.domain.identifiers import AggregateId
from oncelog.ports import Ports
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.parking import Parking
from oncelog.read_models.rebuild import Rebuilding

#: Told after each batch how many nodes were shown so far.
Progress = Callable[[int], None]


class GraphRebuilder:
    """Brings the nodes of classes under their newest definition. Each event that comes meanwhile does so by itself."""

    def __init__(self, ports: Ports, graph: GraphModel, parking: Parking) -> None:
        self._graph = graph
        self._rebuilding = Rebuilding(
            log=ports.event_log,
            snapshots=ports.snapshots,
            catalogue=ports.catalogue,
            read_model=graph,
            parking=parking,
        )

    async def run(self, class_name: AggregateId, *, progress: Progress = lambda _: None) -> str:
        """Show all instances of the class in the graph anew, and let them be found; returns what was done, in words.

        Raises StoreUnavailable.
        """
        db_name, class_id = class_name.db_name, class_name.instance_key
        done = await self._rebuilding.rebuild(db_name, class_id, after_batch=lambda so_far: progress(so_far.shown))
        await self._graph.refresh(db_name)
        return f"{done.shown} nodes" + (f", {done.parked} parked" if done.parked else "")
