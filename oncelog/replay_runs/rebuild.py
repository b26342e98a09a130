"""The work of rebuilds: documents are filled into an index beside the live one, nodes are written where they lie."""

from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.errors import InputInvalid
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.index_rebuild import IndexRebuild, RebuildTarget
from oncelog.read_models.rebuild import StateProjection
from oncelog.replay.fold import FoldedBatch
from oncelog.replay_runs.digests import read_digests
from oncelog.replay_runs.plan import read_classes
from oncelog.replay_runs.request import ReplayCounts, ReplayEnd
from oncelog.replay_runs.work import NoPartitionWork, NoWork, PartitionStep, PartitionWork, ReplayRun

CLASS_LIST = "rebuild/classes.txt"


class RebuildWork(NoWork):
    """Rebuilds the read model that the request names."""

    def __init__(self, index_rebuild: IndexRebuild, graph: StateProjection) -> None:
        self._index_rebuild = index_rebuild
        self._graph = graph

    async def begin(self, run: ReplayRun) -> None:
        """Make the new indices and keep their rebuild targets, once: a repeated attempt goes on with the same."""
        if run.request.read_model == GraphModel.name:
            return
        for db_name, class_id in run.classes:
            name = _target_name(db_name, class_id)
            if await run.files.read(name) is None:
                target = await self._index_rebuild.begin(_class_aggregate(db_name, class_id), name=run.name)
                await run.files.write(name, target.model_dump_json().encode())
        listed = "".join(f"{db_name}/{class_id}\n" for db_name, class_id in run.classes)
        await run.files.write(CLASS_LIST, listed.encode())

    async def partition(self, step: PartitionStep) -> PartitionWork:
        """Return the work that fills the class's new index, or writes its nodes."""
        db_name, class_id = step.partition.part.db_name, step.partition.part.class_id
        if step.run.request.read_model == GraphModel.name:
            return NoPartitionWork() if class_id == CLASSES else _NodePartition(self._graph)
        return _IndexPartition(self._index_rebuild, await _target(step.run, db_name, class_id))

    async def end(self, run: ReplayRun, end: ReplayEnd) -> ReplayEnd:
        """Let each new index follow, class by class."""
        partitions = await read_classes(run.files, run.partitions)
        switched = [
            await self._index_rebuild.finish(
                await _target(run, *name.split("/")), read_digests(run.files, partitions.get(name, ()))
            )
            async for name in run.files.lines(CLASS_LIST)
        ]
        return end.model_copy(update={"switched": tuple(switched)})


class _IndexPartition:
    def __init__(self, index_rebuild: IndexRebuild, target: RebuildTarget) -> None:
        self._index_rebuild = index_rebuild
        self._target = target

    async def add(self, batch: FoldedBatch) -> ReplayCounts:
        done = await self._index_rebuild.fill(self._target, batch)
        return ReplayCounts(projected=done.projected, parked=done.parked)

    async def end(self) -> ReplayCounts:
        return ReplayCounts()


class _NodePartition:
    def __init__(self, graph: StateProjection) -> None:
        self._graph = graph

    async def add(self, batch: FoldedBatch) -> ReplayCounts:
        done = await self._graph.project(batch)
        return ReplayCounts(projected=done.projected, parked=done.parked)

    async def end(self) -> ReplayCounts:
        return ReplayCounts()


async def _target(run: ReplayRun, db_name: str, class_id: str) -> RebuildTarget:
    found = await run.files.read(_target_name(db_name, class_id))
    if found is None:
        raise InputInvalid(
            f"replay {run.files.folder}: expected the rebuild of {db_name}/{class_id} to have begun, found nothing of "
            "it; start another rebuild"
        )
    return RebuildTarget.model_validate_json(found)


def _target_name(db_name: str, class_id: str) -> str:
    return f"rebuild/{db_name}/{class_id}.json"


def _class_aggregate(db_name: str, class_id: str) -> AggregateId:
    return AggregateId(db_name, CLASSES, class_id)
