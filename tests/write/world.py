"""Servers in memory, any number of worker processes on them, and what must hold of what they leave behind."""

import asyncio
from dataclasses import dataclass, field

from oncelog.composition.pipeline import Pipeline, assemble
from oncelog.domain.commands import Command
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import AggregateBusy
from oncelog.ports import FoundNode, Ports
from oncelog.replay.trace import AfterStep, Trace, nothing_after
from oncelog.settings import Settings
from oncelog.testing import MemoryServers
from oncelog.testing.memory.workflows import MemoryWorkflows
from oncelog.verification.audit import Audit
from oncelog.write.completion import final_status
from tests import promises

NOON = "2026-01-01T12:00:00.000000Z"


@dataclass
class World(MemoryServers):
    """All servers of one installation, and Temporal as far as reconciliation asks."""

    settings: Settings = field(default_factory=lambda: Settings(snapshot_interval_events=10))
    workflows: MemoryWorkflows = field(default_factory=MemoryWorkflows)

    def process(self) -> "Process":
        """Start a worker process: one with an empty cache."""
        ports = self.ports()
        return Process(ports, assemble(ports, self.settings))

    def logs(self) -> promises.Logs:
        """Read every aggregate's log from the objects alone."""
        return promises.logs_of({key: stored.body for key, stored in self.bucket.objects.items()})

    def audit(self) -> Audit:
        """Go through everything that lies in the servers."""
        return promises.audit_of(
            {key: stored.body for key, stored in self.bucket.objects.items()},
            self.publisher.messages,
            (document for index in self.documents.indices.values() for document in index.values()),
            (FoundNode(aggregate_id, node.version, node) for aggregate_id, node in self.graph.nodes.items()),
        )

    def check(self, *, published: bool = True) -> promises.Logs:
        """Hold the promises of log, commands and stream against what lies in the servers, and return the logs."""
        audit = self.audit()
        found = [*audit.judge_log(), *audit.commands.judge(), *audit.judge_unique(), *audit.judge_holders()]
        promises.hold(found, audit.stream.judge(), published=published)
        return self.logs()

    def check_document(self, aggregate_id: AggregateId) -> None:
        """Hold the document to be the fold of the log."""
        where = f"document {aggregate_id}"
        found = [finding for finding in self.audit().documents.judge() if finding.where == where]
        assert not found

    def check_shown(self) -> None:
        """Hold every read model to show the fold of the log of every aggregate."""
        audit = self.audit()
        promises.hold(audit.documents.judge(), audit.nodes.judge())


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

    async def run(self, command: Command, *, occurred_at: str = NOON) -> CommandResult:
        """Commit, again and again while its aggregate is busy, and deliver."""
        while True:
            try:
                result = await self.commit(command, occurred_at=occurred_at)
                break
            except AggregateBusy:
                await asyncio.sleep(0)
        if result.outcome is Outcome.APPLIED:
            assert result.aggregate_id is not None
            assert result.sequence_number is not None
            place = AggregateId.parse(result.aggregate_id), result.sequence_number
            await self.pipeline.deliverer.publish(*place, Trace())
            await self.pipeline.deliverer.project_or_park(*place, Trace())
        return result

    async def complete(self, command: Command) -> CommandResult:
        """Commit, deliver, and keep the result as the command's status, as its workflow does at the end."""
        result = await self.run(command)
        await self.ports.statuses.complete_command(final_status(result, command_type=command.command_type, steps=[]))
        return result
