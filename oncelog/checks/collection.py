"""Collecting: records, stream and read models are read once, and their facts spilled for the parts that judge them."""

import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

from oncelog.checks.plan import PAST_CLASS
from oncelog.checks.scope import (
    CheckMode,
    CheckPlan,
    Collected,
    CollectKind,
    CollectTask,
    FindingsReport,
    ReadTotals,
    StepReport,
)
from oncelog.checks.servers import Progress, Servers
from oncelog.checks.spill import FactKind, Router, SpillWriter
from oncelog.domain.identifiers import command_folder
from oncelog.domain.stored_names import COMMANDS, EVENTS, UNIQUE, graph_alias
from oncelog.replay_runs.files import ReplayFiles
from oncelog.verification import reading
from oncelog.verification.archive import judge_files
from oncelog.verification.audit import slot_of, weighed
from oncelog.verification.chains import ChainWalk, EntryFacts, RefusalFacts
from oncelog.verification.chunks import ChunkFacts
from oncelog.verification.containers import ContainerAudit
from oncelog.verification.findings import Code, Finding, Findings
from oncelog.verification.records import CommandFacts, RecordReader
from oncelog.verification.shown import ShownFacts, document_facts, node_facts
from oncelog.verification.stream import MessageFacts, message_facts

#: Commands with findings are looked at again once there are so many.
SUSPECTS_MAX = 200

Facts = Callable[[str, FactKind, object], None]


def _nowhere(_aggregate_id: str, _kind: FactKind, _facts: object) -> None:
    """Drop facts."""


@dataclass
class RecordSink:
    """Takes what records tell: facts go to their aggregates' parts, findings wait for a second look.

    ``suspects``: by command ID, what was found; under no ID, what is about no command.
    """

    spill: Facts = _nowhere
    covers: Callable[[str], bool] = lambda _aggregate_id: True
    suspects: dict[str, list[Finding]] = field(default_factory=dict)
    commands: dict[str, CommandFacts] = field(default_factory=dict)
    keeps_commands: bool = False

    def add_command(self, facts: CommandFacts) -> None:
        if self.keeps_commands:
            self.commands[facts.command_id] = facts
        about = facts.aggregate_id
        if about is not None and self.covers(about):
            self.spill(about, FactKind.COMMAND, facts)
        self._add_refusals(facts.refusals())

    def add_chunk(self, facts: ChunkFacts) -> None:
        for aggregate_id, part in facts.by_aggregate():
            if self.covers(aggregate_id):
                self.spill(aggregate_id, FactKind.CHUNK, part)
        self._add_refusals(facts.refusals())

    def add_entry(self, facts: EntryFacts) -> None:
        if self.covers(facts.entry.aggregate_id):
            self.spill(facts.entry.aggregate_id, FactKind.ENTRY, facts)

    def add_chain_finding(self, finding: Finding) -> None:
        self.suspects.setdefault("", []).append(finding)

    def add_finding(self, finding: Finding, command_id: str) -> None:
        self.suspects.setdefault(command_id, []).append(finding)

    def _add_refusals(self, refusals: Iterable[RefusalFacts]) -> None:
        """Spill what rejections claim about instances, which is judged where these are."""
        for refusal in refusals:
            if self.covers(refusal.holder):
                self.spill(refusal.holder, FactKind.REFUSAL, refusal)

    def take_suspects(self) -> dict[str, list[Finding]]:
        """Return the commands with findings, and forget them."""
        suspects, self.suspects = self.suspects, {}
        return suspects


class Collector:
    """Carries out the steps of collecting. ``keep_command``: takes each command, where a history needs them all."""

    def __init__(
        self,
        servers: Servers,
        plan: CheckPlan,
        files: ReplayFiles,
        *,
        progress: Progress,
        keep_command: Callable[[CommandFacts], None] | None = None,
    ) -> None:
        self._servers = servers
        self._sources = servers.sources
        self._plan = plan
        self._scope = plan.scope
        self._files = files
        self._router = Router(plan)
        self._progress = progress
        self._keep_command = keep_command
        self._findings = Findings()
        self._read = ReadTotals()

    async def run(self, task: CollectTask) -> Collected:
        """Carry out one step, and keep what it left; raises StoreUnavailable."""
        started_s = time.monotonic()
        self._findings, self._read = Findings(), ReadTotals()
        spill = SpillWriter(self._files, self._router, task.number, keeps_rest=self._scope.mode is CheckMode.FULL)
        steps = {
            CollectKind.COMMANDS: self._commands,
            CollectKind.STREAM: self._stream,
            CollectKind.DOCUMENTS: self._documents,
            CollectKind.NODES: self._nodes,
            CollectKind.ARCHIVE: self._archive,
            CollectKind.UNIQUE: self._entries,
            CollectKind.FOREIGN: self._foreign_keys,
        }
        offsets = await steps[task.kind](task, spill) or {}
        await spill.flush()
        report = StepReport(read=self._read, findings=FindingsReport.of(self._findings)).since(started_s)
        collected = Collected(files=tuple(spill.written), offsets=offsets, report=report)
        await self._files.write(collected_name(task.number), collected.model_dump_json().encode())
        return collected

    async def _commands(self, task: CollectTask, spill: SpillWriter) -> None:
        sink = RecordSink(spill.add, self._scope.covers, keeps_commands=self._keep_command is not None)
        reader = RecordReader(sink, lambda db_name: self._scope.db_name in (None, db_name))
        bucket = self._sources.bucket
        async for found in reading.objects(bucket, COMMANDS, after=task.after or None, end=task.end):
            reader.add(found.key, found.body, damage=found.damage)
            await self._results(reader, sink)
            if spill.is_full:
                await spill.flush()
            if len(sink.suspects) >= SUSPECTS_MAX:
                await self._look_again(sink)
            self._progress("commands", reader.commands)
        reader.end()
        await self._results(reader, sink)
        await self._look_again(sink)
        self._count(commands=reader.commands)
        if self._keep_command is not None:
            for facts in sink.commands.values():
                self._keep_command(facts)

    async def _results(self, reader: RecordReader, sink: RecordSink) -> None:
        for bulk in reader.finished_bulks():
            found = await reading.read_results(self._sources.bucket, bulk)
            if found:
                sink.suspects.setdefault(bulk.command_id, []).extend(found)

    async def _look_again(self, sink: RecordSink) -> None:
        """Read commands with findings once more, after Temporal was asked for those under way."""
        suspects = sink.take_suspects()
        for finding in suspects.pop("", ()):
            is_there = await reading.answered(partial(self._sources.bucket.get, finding.where)) is not None
            if is_there != (finding.code is Code.CHAIN_GAP):
                self._findings.add(finding)
        if not suspects:
            return
        self._count(second_looks=len(suspects))
        waiting = {command_id for found in suspects.values() for each in found for command_id in each.waits_for}
        running = await self._servers.in_flight(waiting) if waiting else ()
        for command_id in suspects:
            again = RecordSink(keeps_commands=False)
            reader = RecordReader(again)
            prefix = f"{COMMANDS}{command_folder(command_id)}/"
            async for found in reading.objects(self._sources.bucket, prefix):
                reader.add(found.key, found.body, damage=found.damage)
            reader.end()
            await self._results(reader, again)
            for finding in again.suspects.get(command_id, ()):
                self._findings.add(weighed(finding, running))

    async def _stream(self, _task: CollectTask, spill: SpillWriter) -> dict[int, int]:
        offsets: dict[int, int] = {}
        count = 0
        async for message in self._sources.stream.messages(after={}):
            offsets[message.partition] = message.offset
            facts = message_facts(message)
            if isinstance(facts, MessageFacts):
                if self._scope.covers(facts.aggregate_id):
                    spill.add(facts.aggregate_id, FactKind.MESSAGE, facts)
                    count += 1
            elif self._scope.db_name is None:
                self._findings.add(facts)
            if spill.is_full:
                await spill.flush()
            self._progress("messages", count)
        self._count(messages=count)
        return offsets

    async def _documents(self, _task: CollectTask, spill: SpillWriter) -> None:
        found = self._sources.scan.documents(db_name=self._scope.db_name, but=self._unreadable)
        count = await self._shown((document_facts(each) async for each in found), FactKind.DOCUMENT, spill)
        self._count(documents=count)

    async def _nodes(self, task: CollectTask, spill: SpillWriter) -> None:
        if graph_alias(task.place) in self._unreadable:
            return
        found = self._sources.graph.scan_nodes(task.place)
        count = await self._shown((node_facts(each) async for each in found), FactKind.NODE, spill)
        self._count(nodes=count)

    async def _shown(self, found: AsyncIterator[ShownFacts], kind: FactKind, spill: SpillWriter) -> int:
        """Spill the facts of what a read model shows; returns how many the scope covers."""
        count = 0
        async for facts in found:
            if self._scope.covers(facts.aggregate_id):
                spill.add(facts.aggregate_id, kind, facts)
                count += 1
            if spill.is_full:
                await spill.flush()
            self._progress(f"{kind.name.lower()}s", count)
        return count

    @property
    def _unreadable(self) -> Sequence[str]:
        containers = ContainerAudit()
        containers.add(self._plan.indices)
        return sorted(containers.unreadable)

    async def _archive(self, task: CollectTask, _spill: SpillWriter) -> None:
        db_name, class_id = task.place.split("/")
        async for finding in judge_files(self._sources.bucket, db_name, class_id):
            self._findings.add(finding)
        self._progress("archives", 1)

    async def _entries(self, task: CollectTask, spill: SpillWriter) -> None:
        """Go through the chains of a class's unique values."""
        sink = RecordSink(spill.add, self._scope.covers)
        walk = ChainWalk(sink)
        async for found in reading.objects(self._sources.bucket, f"{UNIQUE}{task.place}/"):
            walk.add(found.key, found.body, damage=found.damage)
            if spill.is_full:
                await spill.flush()
            if len(sink.suspects.get("", ())) >= SUSPECTS_MAX:
                await self._look_again(sink)
            self._progress("entries", walk.entries)
        walk.end()
        await self._look_again(sink)

    async def _foreign_keys(self, _task: CollectTask, _spill: SpillWriter) -> None:
        """Find the keys of ``events/`` that lie in no class which a partition holds; leaps over those that do."""
        bucket, folders = self._sources.bucket, {f"{EVENTS}{db}/{name}/" for db, name in self._plan.populated}
        within = f"{EVENTS}{self._scope.db_name}/" if self._scope.db_name else EVENTS
        after, more = within, True
        while more:
            listed, more = await reading.answered(partial(bucket.list_after, within, after))
            if not listed:
                return
            for item in listed:
                folder = "/".join(item.key.split("/")[:3]) + "/"
                if folder in folders:
                    after, more = folder.removesuffix("/") + PAST_CLASS, True
                    break
                after = item.key
                if slot_of(item.key) is None:
                    found = "expected an event's slot here, found a key that names none; remove it"
                    self._findings.add(Finding(Code.OBJECT_FOREIGN, item.key, found))

    def _count(self, **counts: int) -> None:
        self._read = self._read + ReadTotals(**counts)


def collected_name(number: int) -> str:
    """Return the name of the file that says what a step of collecting left."""
    return f"collected/{number:06d}.json"


async def read_collected(files: ReplayFiles, number: int) -> Collected | None:
    """Return what a step of collecting left, None if it was not carried out."""
    data = await files.read(collected_name(number))
    return None if data is None else Collected.model_validate_json(data)
