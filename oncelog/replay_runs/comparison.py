"""The work of verification: each folded state is held against its document and its node."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.errors import InputInvalid
from oncelog.ports import Document, DocumentIndices, Documents, Graph, KeptIndices
from oncelog.read_models.document import document_of, migrated
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel, node_of
from oncelog.read_models.parking import Parking
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.fold import FoldedBatch
from oncelog.replay_runs.request import ReplayCounts, ReplayEnd, ReplayFinding
from oncelog.replay_runs.work import NoWork, PartitionStep, PartitionWork, ReplayRun

#: An event that was written a moment ago is on its way to the read models still: differences are looked at again.
LOOKS = 6
LOOK_AGAIN_S = 2.0
#: For so long an operator can go back to the index before a switch.
KEPT = timedelta(days=7)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ReadModelReaders:
    """The parts that a comparison reads with."""

    documents: Documents
    indices: DocumentIndices
    graph: Graph
    class_schemas: ClassSchemas
    parked: Mapping[str, Parking]


class VerifyWork(NoWork):
    """Compares every state of a replay to the head; an aggregate that is parked is no difference.

    At its end it drops the indices of documents that readers left ``KEPT`` ago.
    """

    def __init__(
        self, readers: ReadModelReaders, kept_indices: KeptIndices, *, look_again_s: float = LOOK_AGAIN_S
    ) -> None:
        self._readers = readers
        self._kept_indices = kept_indices
        self._look_again_s = look_again_s

    async def partition(self, step: PartitionStep) -> PartitionWork:
        """Return the comparison of a partition's states."""
        for parking in self._readers.parked.values():
            await parking.refresh()
        return _ComparedPartition(self._readers, step.partition.part.class_id, self._look_again_s)

    async def end(self, run: ReplayRun, end: ReplayEnd) -> ReplayEnd:
        """Drop the indices that are kept no longer."""
        if run.request.scope.is_whole:
            dropped = await self._kept_indices.drop_left_indices(before=datetime.now(UTC) - KEPT)
            if dropped:
                log.info("kept_indices_dropped", indices=list(dropped))
        return end


class _ComparedPartition:
    def __init__(self, readers: ReadModelReaders, class_id: str, look_again_s: float) -> None:
        self._readers = readers
        self._class_id = class_id
        self._look_again_s = look_again_s

    async def add(self, batch: FoldedBatch) -> ReplayCounts:
        findings = await self._differing(DocumentsModel.name, batch.states)
        if self._class_id != CLASSES:
            findings += await self._differing(GraphModel.name, batch.states)
        return ReplayCounts(findings_count=len(findings), findings=tuple(findings))

    async def end(self) -> ReplayCounts:
        return ReplayCounts()

    async def _differing(self, read_model: str, states: Sequence[Instance]) -> list[ReplayFinding]:
        """Compare differing states again, since their events may be on the way; lasting differences are findings."""
        compare = self._documents if read_model == DocumentsModel.name else self._nodes
        left, found = list(states), dict[str, ReplayFinding]()
        for look in range(LOOKS):
            if look:
                await asyncio.sleep(self._look_again_s)
            found = await compare(left)
            left = [state for state in left if state.aggregate_id in found]
            if not left:
                return []
        parked = await self._readers.parked[read_model].waiting([AggregateId.parse(name) for name in found])
        return [finding for name, finding in found.items() if AggregateId.parse(name) not in parked]

    async def _documents(self, states: Sequence[Instance]) -> dict[str, ReplayFinding]:
        aggregate_ids = [AggregateId.parse(state.aggregate_id) for state in states]
        found = await self._readers.documents.read_documents(aggregate_ids)
        schemas: dict[AggregateId, ClassSchema | None] = {}
        findings = {}
        for state, aggregate_id, document in zip(states, aggregate_ids, found, strict=True):
            name = aggregate_id.class_name
            if name not in schemas:
                index = await self._readers.indices.current_index(name)
                schemas[name] = await self._readers.class_schemas.of_index(name, index.definition if index else None)
            if finding := document_finding(state, document, schemas[name]):
                findings[state.aggregate_id] = finding
        return findings

    async def _nodes(self, states: Sequence[Instance]) -> dict[str, ReplayFinding]:
        aggregate_ids = [AggregateId.parse(state.aggregate_id) for state in states]
        found = await self._readers.graph.read_nodes(aggregate_ids)
        findings = {}
        for state, aggregate_id, node in zip(states, aggregate_ids, found, strict=True):
            class_schema = await self._readers.class_schemas.newest(aggregate_id)
            if finding := node_finding(state, node, class_schema):
                findings[state.aggregate_id] = finding
        return findings


def document_finding(
    state: Instance, document: Document | None, class_schema: ClassSchema | None
) -> ReplayFinding | None:
    """Return how a document differs from the folded state; one of a later event is judged by a later replay.

    ``class_schema``: the schema that the documents of the class follow.
    """
    place = f"document {state.aggregate_id}"
    if document is None or document.sequence_number < state.sequence_number:
        return _behind("Document", place, state, document.sequence_number if document else 0)
    if document.sequence_number > state.sequence_number:
        return None
    if document != migrated(document_of(state), class_schema):
        return _wrong("DocumentWrong", place, state)
    return None


def node_finding(state: Instance, node: GraphNode | None, class_schema: ClassSchema | None) -> ReplayFinding | None:
    """Return how a node differs from the folded state; one of a later event is judged by a later replay."""
    place = f"node {state.aggregate_id}"
    if node is None or node.sequence_number < state.sequence_number:
        return _behind("Node", place, state, node.sequence_number if node else 0)
    if node.sequence_number > state.sequence_number:
        return None
    try:
        expected = node_of(state, class_schema)
    except InputInvalid:
        return None  # it refers to more than a node may, and is parked
    return None if node == expected else _wrong("NodeWrong", place, state)


def _behind(noun: str, place: str, state: Instance, version: int) -> ReplayFinding:
    code = f"{noun}Stale" if version else f"{noun}Missing"
    found = f"version {version}" if version else "none"
    remedy = "a consistency check writes it"
    return ReplayFinding(
        code=code, where=place, found=f"expected version {state.sequence_number}, found {found}; {remedy}"
    )


def _wrong(code: str, place: str, state: Instance) -> ReplayFinding:
    found = f"expected the fold of events 1 to {state.sequence_number}, found other; rebuild it"
    return ReplayFinding(code=code, where=place, found=found)
