"""Servers in memory, any number of worker processes on them, and what must hold of what they leave behind."""

from dataclasses import dataclass, field

from factline.domain.commands import Command
from factline.domain.identifiers import AggregateId
from factline.domain.results import CommandResult, Outcome
from factline.pipeline.assembly import Pipeline, assemble
from factline.pipeline.trace import AfterStep, Trace, nothing_after
from factline.ports import Ports
from factline.settings import Settings
from factline.stores.memory.elasticsearch import MemoryDocuments
from factline.stores.memory.graph import MemoryGraph
from factline.stores.memory.kafka import MemoryPublisher
from factline.stores.memory.redis import MemoryCommandStatuses, MemoryRedis, MemoryTurns
from factline.stores.memory.s3 import (
    MemoryBucket,
    MemoryClassNames,
    MemoryCommandRecords,
    MemoryEventLog,
    MemoryInventory,
    MemorySnapshots,
)
from tests import promises

NOON = "2026-01-01T12:00:00.000000Z"


@dataclass
class World:
    """All servers of one installation."""

    settings: Settings = field(default_factory=lambda: Settings(snapshot_interval_events=10))
    bucket: MemoryBucket = field(default_factory=MemoryBucket)
    redis: MemoryRedis = field(default_factory=MemoryRedis)
    publisher: MemoryPublisher = field(default_factory=MemoryPublisher)
    documents: MemoryDocuments = field(default_factory=MemoryDocuments)
    graph: MemoryGraph = field(default_factory=MemoryGraph)

    def process(self) -> "Process":
        """Start a worker process: one that knows nothing yet."""
        event_log = MemoryEventLog(self.bucket)
        ports = Ports(
            event_log=event_log,
            records=MemoryCommandRecords(self.bucket),
            inventory=MemoryInventory(self.bucket, event_log),
            snapshots=MemorySnapshots(self.bucket),
            names=MemoryClassNames(self.bucket),
            turns=MemoryTurns(self.redis, lease_ms=self.settings.turn_lease_ms),
            statuses=MemoryCommandStatuses(self.redis),
            publisher=self.publisher,
            documents=self.documents,
            graph=self.graph,
        )
        return Process(ports, assemble(ports, self.settings))

    def logs(self) -> promises.Logs:
        """Read every aggregate's log from the objects alone."""
        return promises.logs_of({key: stored.body for key, stored in self.bucket.objects.items()})

    def check(self, *, published: bool = True) -> promises.Logs:
        """Hold the promises against what lies in the servers, and return the logs."""
        logs = self.logs()
        promises.check_logs(logs)
        messages = ((message.key, message.value) for message in self.publisher.messages)
        promises.check_stream(logs, messages, all_of_it=published)
        return logs

    def check_document(self, aggregate_id: AggregateId) -> None:
        """Hold the document to be the fold of the log."""
        found = self.documents.indices[f"{aggregate_id.db_name}.{aggregate_id.class_id}".lower()]
        promises.check_document(self.logs()[str(aggregate_id)], found.get(aggregate_id.instance_key))


@dataclass(frozen=True)
class Process:
    """One worker process, as far as the command path is concerned."""

    ports: Ports
    pipeline: Pipeline

    async def commit(
        self, command: Command, *, after_step: AfterStep = nothing_after, occurred_at: str = NOON, publish: bool = True
    ) -> CommandResult:
        committed = await self.pipeline.committer.commit(
            command, occurred_at=occurred_at, trace=Trace(after_step), publish=publish
        )
        return committed.result

    async def run(self, command: Command) -> CommandResult:
        """Commit and deliver."""
        result = await self.commit(command)
        if result.outcome is Outcome.APPLIED:
            assert result.aggregate_id is not None
            assert result.sequence_number is not None
            place = AggregateId.parse(result.aggregate_id), result.sequence_number
            await self.pipeline.deliverer.publish(*place)
            await self.pipeline.deliverer.project(*place)
        return result
