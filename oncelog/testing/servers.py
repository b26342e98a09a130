"""All servers of one installation, in memory."""

from dataclasses import dataclass, field

from oncelog.ports import Ports
from oncelog.settings import Settings
from oncelog.testing.memory.elasticsearch import MemoryDocuments
from oncelog.testing.memory.graph import MemoryGraph
from oncelog.testing.memory.kafka import MemoryFailures, MemoryPublisher, MemoryStream, MemoryTopics
from oncelog.testing.memory.redis import MemoryChainHints, MemoryCommandStatuses, MemoryLeases, MemoryRedis
from oncelog.testing.memory.s3 import (
    MemoryArchives,
    MemoryBucket,
    MemoryCheckpoints,
    MemoryChunkRecords,
    MemoryClassNames,
    MemoryCommandRecords,
    MemoryDeadLetters,
    MemoryEventLog,
    MemoryLargeObjects,
    MemoryLogCatalogue,
    MemorySnapshots,
    MemoryUniqueEntries,
)
from oncelog.testing.memory.scan import MemoryScan
from oncelog.testing.memory.searches import MemorySearches
from oncelog.verification.reading import Sources


def _default_settings() -> Settings:
    """Return the defaults, in spite of variables of a test's shell: building a model by parts reads none."""
    return Settings.model_construct()


@dataclass
class MemoryServers:
    """The servers; each has ``available``, which a test sets to False for an outage.

    ``bucket.objects`` holds S3's objects, ``publisher.messages`` the stream, ``documents.indices`` the documents by
    alias, ``graph.nodes`` the nodes. ``redis.flush()`` empties Redis. ``settings``: the defaults unless they are given;
    variables of the shell do not count.
    """

    settings: Settings = field(default_factory=_default_settings)
    bucket: MemoryBucket = field(default_factory=MemoryBucket)
    redis: MemoryRedis = field(default_factory=MemoryRedis)
    publisher: MemoryPublisher = field(default_factory=MemoryPublisher)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    graph: MemoryGraph = field(default_factory=MemoryGraph)
    topics: MemoryTopics = field(default_factory=MemoryTopics)
    failures: MemoryFailures = field(default_factory=MemoryFailures)

    @property
    def sources(self) -> Sources:
        """Where everything lies, for a verification."""
        return Sources(
            bucket=self.bucket,
            stream=MemoryStream(self.publisher),
            scan=MemoryScan(self.documents),
            documents=self.documents,
            graph=self.graph,
            large_objects=MemoryLargeObjects(self.bucket),
            statuses=MemoryCommandStatuses(self.redis),
        )

    def ports(self) -> Ports:
        """Return new ports on these servers, as a process that has just started has them."""
        event_log = MemoryEventLog(self.bucket)
        return Ports(
            installation=self.settings.installation,
            event_log=event_log,
            records=MemoryCommandRecords(self.bucket),
            catalogue=MemoryLogCatalogue(self.bucket, event_log),
            archives=MemoryArchives(self.bucket),
            checkpoints=MemoryCheckpoints(self.bucket),
            chunk_records=MemoryChunkRecords(self.bucket),
            large_objects=MemoryLargeObjects(self.bucket),
            snapshots=MemorySnapshots(self.bucket),
            names=MemoryClassNames(self.bucket),
            unique_entries=MemoryUniqueEntries(self.bucket),
            leases=MemoryLeases(self.redis, generations=self.publisher.generations, lease_ms=self.settings.lease_ms),
            chain_hints=MemoryChainHints(self.redis),
            statuses=MemoryCommandStatuses(self.redis),
            publisher=self.publisher,
            topics=self.topics,
            documents=self.documents,
            searches=MemorySearches(self.documents),
            indices=self.documents,
            index_contents=self.documents,
            kept_indices=self.documents,
            graph=self.graph,
            graphs=self.graph,
            dead_letters=MemoryDeadLetters(self.bucket),
            failures=self.failures,
        )
