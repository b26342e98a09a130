"""The few protocols the rest is written against; each has a real server and an in-memory twin behind it.

One contract suite per port holds both to the same behaviour (``tests/contract``). Every method may raise
``StoreUnavailable``, which says nothing about whether the call took effect; all of them may be repeated. May import
the domain only.
"""

from dataclasses import dataclass

from oncelog.ports.catalogue import Extent, Inventory, KnownCommand, Page, RunningWorkflows, Settled, SweepMarks
from oncelog.ports.coordination import CommandStatus, CommandStatuses, Settlement, Stage, Turn, Turns, Waiting
from oncelog.ports.documents import (
    CURSOR_KEPT_S,
    Changed,
    Document,
    DocumentIndex,
    DocumentIndices,
    Documents,
    Form,
    IndexFacts,
    OutOfForm,
    Searches,
    SearchPage,
)
from oncelog.ports.graph import FoundNode, Graph
from oncelog.ports.log import (
    ChunkRecords,
    ClassNames,
    CommandRecords,
    DeadLetters,
    EventLog,
    LargeObjects,
    ListedLetter,
    Snapshots,
    StoredEvent,
    TopicRecords,
)
from oncelog.ports.read_models import ReadModel, Standing
from oncelog.ports.stream import (
    UNPUBLISHED,
    Delivery,
    EventPublisher,
    EventSubscription,
    FailureStream,
    Generations,
    TopicFacts,
    TopicRecord,
    Watermark,
)

__all__ = [
    "CURSOR_KEPT_S",
    "UNPUBLISHED",
    "Changed",
    "ChunkRecords",
    "ClassNames",
    "CommandRecords",
    "CommandStatus",
    "CommandStatuses",
    "DeadLetters",
    "Delivery",
    "Document",
    "DocumentIndex",
    "DocumentIndices",
    "Documents",
    "EventLog",
    "EventPublisher",
    "EventSubscription",
    "Extent",
    "FailureStream",
    "Form",
    "FoundNode",
    "Generations",
    "Graph",
    "IndexFacts",
    "Inventory",
    "KnownCommand",
    "LargeObjects",
    "ListedLetter",
    "OutOfForm",
    "Page",
    "Ports",
    "ReadModel",
    "RunningWorkflows",
    "SearchPage",
    "Searches",
    "Settled",
    "Settlement",
    "Snapshots",
    "Stage",
    "Standing",
    "StoredEvent",
    "SweepMarks",
    "TopicFacts",
    "TopicRecord",
    "TopicRecords",
    "Turn",
    "Turns",
    "Waiting",
    "Watermark",
]


@dataclass(frozen=True)
class Ports:
    """All ports of one installation, open and ready to use. ``installation``: the mark that its tokens carry."""

    installation: str
    event_log: EventLog
    records: CommandRecords
    inventory: Inventory
    marks: SweepMarks
    chunk_records: ChunkRecords
    large_objects: LargeObjects
    snapshots: Snapshots
    names: ClassNames
    turns: Turns
    statuses: CommandStatuses
    publisher: EventPublisher
    documents: Documents
    searches: Searches
    indices: DocumentIndices
    graph: Graph
    dead_letters: DeadLetters
    failures: FailureStream
