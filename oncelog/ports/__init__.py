"""The few protocols the rest is written against; each has a real server and an in-memory twin behind it.

One contract suite per port holds both to the same behaviour (``tests/contract``). Every method may raise
``StoreUnavailable``, which says nothing about whether the call took effect; all of them may be repeated. May import
the domain only.
"""

from dataclasses import dataclass

from oncelog.ports.archive import Archives, ListedFile, NewestManifest
from oncelog.ports.catalogue import (
    Checkpoints,
    KnownCommand,
    ListedStream,
    LogCatalogue,
    LogCheckpoint,
    Page,
    RunningWorkflows,
)
from oncelog.ports.coordination import (
    ChainHints,
    CommandStatus,
    CommandStatuses,
    Lease,
    Leases,
    Stage,
    StreamProgress,
    Waiting,
)
from oncelog.ports.documents import (
    CURSOR_KEPT_S,
    Changed,
    Document,
    DocumentIndex,
    DocumentIndices,
    Documents,
    IndexContents,
    IndexFacts,
    IndexSchema,
    KeptIndex,
    KeptIndices,
    Searches,
    SearchPage,
    StaleIndex,
)
from oncelog.ports.graph import FoundNode, Graph, GraphCatalogue, WholeGraph
from oncelog.ports.log import (
    ChunkRecords,
    ClassNames,
    CommandRecords,
    DeadLetters,
    EventLog,
    LargeObjects,
    ListedDeadLetter,
    Snapshots,
    StoredEvent,
    TopicRecords,
    UniqueEntries,
    last_numbers,
)
from oncelog.ports.read_models import Changes, EventReadModel, ProjectionStatus, ReadModel
from oncelog.ports.stream import (
    UNPUBLISHED,
    Delivery,
    EventFeed,
    EventPublisher,
    EventSubscription,
    FailureStream,
    Generations,
    TopicFacts,
    TopicOffsets,
    TopicPublisher,
    TopicRecord,
    Watermark,
)

__all__ = [
    "CURSOR_KEPT_S",
    "UNPUBLISHED",
    "Archives",
    "ChainHints",
    "Changed",
    "Changes",
    "Checkpoints",
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
    "EventFeed",
    "EventLog",
    "EventPublisher",
    "EventReadModel",
    "EventSubscription",
    "FailureStream",
    "FoundNode",
    "Generations",
    "Graph",
    "GraphCatalogue",
    "IndexContents",
    "IndexFacts",
    "IndexSchema",
    "KeptIndex",
    "KeptIndices",
    "KnownCommand",
    "LargeObjects",
    "Lease",
    "Leases",
    "ListedDeadLetter",
    "ListedFile",
    "ListedStream",
    "LogCatalogue",
    "LogCheckpoint",
    "NewestManifest",
    "Page",
    "Ports",
    "ProjectionStatus",
    "ReadModel",
    "RunningWorkflows",
    "SearchPage",
    "Searches",
    "Snapshots",
    "Stage",
    "StaleIndex",
    "StoredEvent",
    "StreamProgress",
    "TopicFacts",
    "TopicOffsets",
    "TopicPublisher",
    "TopicRecord",
    "TopicRecords",
    "UniqueEntries",
    "Waiting",
    "Watermark",
    "WholeGraph",
    "last_numbers",
]


@dataclass(frozen=True)
class Ports:
    """All ports of one installation, open and ready to use. ``installation``: the mark that its tokens carry."""

    installation: str
    event_log: EventLog
    records: CommandRecords
    catalogue: LogCatalogue
    archives: Archives
    checkpoints: Checkpoints
    chunk_records: ChunkRecords
    large_objects: LargeObjects
    snapshots: Snapshots
    names: ClassNames
    unique_entries: UniqueEntries
    leases: Leases
    chain_hints: ChainHints
    statuses: CommandStatuses
    publisher: EventPublisher
    topics: TopicPublisher
    documents: Documents
    searches: Searches
    indices: DocumentIndices
    index_contents: IndexContents
    kept_indices: KeptIndices
    graph: Graph
    graphs: GraphCatalogue
    dead_letters: DeadLetters
    failures: FailureStream
