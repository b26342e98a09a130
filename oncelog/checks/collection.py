"""Collecting: records, stream and read models are read once, and their facts spilled for the parts that judge them."""

import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from oncelog.checks.chain_audit import CHAINS_AT_ONCE, ChainAudit
from oncelog.checks.chain_keys import ListedChain, is_chosen, listed_chains
from oncelog.checks.foreign_keys import foreign_event_keys, foreign_unique_keys
from oncelog.checks.looks import Looks
from oncelog.checks.record_sink import RecordSink
from oncelog.checks.scope import CheckMode, CheckPlan, Collected, CollectKind, CollectTask, ProofScope
from oncelog.checks.servers import Progress, Servers
from oncelog.checks.spill import RECORD_FACTS, FactKind, Router, SpillWriter
from oncelog.checks.step_report import FindingsReport, ReadTotals, StepReport
from oncelog.domain.identifiers import command_folder
from oncelog.domain.stored_names import COMMANDS, UNIQUE, graph_alias
from oncelog.replay_runs.files import ReplayFiles
from oncelog.stores.s3 import ListedObject
from oncelog.verification import reading
from oncelog.verification.archive import judge_files
from oncelog.verification.audit import weighed
from oncelog.verification.chains import ChainWalk
from oncelog.verification.containers import ContainerAudit
from oncelog.verification.findings import Code, Findings
from oncelog.verification.records import RECORD_KEY, CommandFacts, RecordReader
from oncelog.verification.shown import ShownFacts, document_facts, node_facts
from oncelog.verification.stream import MessageFacts, message_facts

#: Commands with findings are looked at again once there are so many.
SUSPECTS_MAX = 200


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
        self._findings, self._chains = Findings(), Findings()
        self._read = ReadTotals()

    async def run(self, task: CollectTask) -> Collected:
        """Carry out one step, and keep its results; raises StoreUnavailable."""
        started_s = time.monotonic()
        self._findings, self._chains, self._read = Findings(), Findings(), ReadTotals()
        keeps_rest = {CheckMode.FULL: tuple(FactKind), CheckMode.INCREMENTAL: RECORD_FACTS, CheckMode.SAMPLED: ()}
        spill = SpillWriter(self._files, self._router, task.number, keeps_rest=keeps_rest[self._scope.mode])
        steps = {
            CollectKind.COMMANDS: self._commands,
            CollectKind.STREAM: self._stream,
            CollectKind.DOCUMENTS: self._documents,
            CollectKind.NODES: self._nodes,
            CollectKind.ARCHIVE: self._archive,
            CollectKind.UNIQUE: self._entries if self._scope.mode is CheckMode.FULL else self._chosen_chains,
            CollectKind.FOREIGN: self._foreign_keys,
        }
        offsets = await steps[task.kind](task, spill) or {}
        await spill.flush()
        report = StepReport(read=self._read, findings=FindingsReport.of(self._findings)).since(started_s)
        chains = FindingsReport.of(self._chains)
        collected = Collected(files=tuple(spill.written), offsets=offsets, report=report, chains=chains)
        await self._files.write(collected_name(task.number), collected.model_dump_json().encode())
        return collected

    async def _commands(self, task: CollectTask, spill: SpillWriter) -> None:
        sink = RecordSink(spill.add, self._scope.covers, keeps_commands=self._keep_command is not None)
        reader = RecordReader(sink, lambda db_name: self._scope.db_name in (None, db_name))
        async for found in self._records(task):
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

    async def _records(self, task: CollectTask) -> AsyncIterator[reading.ReadObject]:
        """Yield the records of some commands; of an incremental check those of commands that have a new one."""
        bucket = self._sources.bucket
        listing = reading.listed_objects(bucket, COMMANDS, after=task.after or None, end=task.end)
        if self._scope.since is not None:
            listing = _with_news(listing, self._scope)
        async for found in reading.read_ahead(bucket, listing):
            yield found

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
        """Spill the facts of a read model's documents or nodes; returns how many the scope covers."""
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
        self._count(entries=walk.entries)
        await self._look_again(sink)

    async def _chosen_chains(self, task: CollectTask, _spill: SpillWriter) -> None:
        """Go through the keys of a class's chains, and audit those that are drawn, or that have new entries."""
        sink = RecordSink()
        walk = ChainWalk(sink)
        audit = ChainAudit(self._servers, self._plan, Looks(self._servers, self._plan, {}))
        chosen: list[ListedChain] = []
        async for chain in listed_chains(self._sources.bucket, f"{UNIQUE}{task.place}/", self._scope, walk):
            if is_chosen(self._scope, chain):
                chosen.append(chain)
            if len(chosen) >= CHAINS_AT_ONCE:
                await audit.audit(chosen)
                chosen = []
            if len(sink.suspects.get("", ())) >= SUSPECTS_MAX:
                await self._look_again(sink)
            self._progress("entries", walk.entries)
        await audit.audit(chosen)
        await self._look_again(sink)
        self._chains = audit.findings
        self._read = self._read + audit.read
        self._count(entries_listed=walk.entries)

    async def _foreign_keys(self, task: CollectTask, _spill: SpillWriter) -> None:
        """Find the keys of ``events/`` or ``unique/`` that lie in no class."""
        bucket, db_name = self._sources.bucket, self._scope.db_name
        if task.place == UNIQUE:
            found = foreign_unique_keys(bucket, db_name)
        else:
            found = foreign_event_keys(bucket, db_name, self._plan.populated)
        async for finding in found:
            self._findings.add(finding)

    def _count(self, **counts: int) -> None:
        self._read = self._read + ReadTotals(**counts)


async def _with_news(listing: AsyncIterator[ListedObject], scope: ProofScope) -> AsyncIterator[ListedObject]:
    """Yield the objects of the commands of which one was written since the last check."""
    folder, some, is_new = "", list[ListedObject](), False
    async for listed in listing:
        match = RECORD_KEY.fullmatch(listed.key)
        name = match["command_id"] if match else listed.key
        if name != folder:
            for each in some if is_new else ():
                yield each
            folder, some, is_new = name, [], False
        some.append(listed)
        is_new = is_new or not scope.is_old(listed.written_at)
    for each in some if is_new else ():
        yield each


def collected_name(number: int) -> str:
    """Return the name of the file with the results of a step of collecting."""
    return f"collected/{number:06d}.json"


async def read_collected(files: ReplayFiles, number: int) -> Collected | None:
    """Return the results of a step of collecting, None if it was not carried out."""
    data = await files.read(collected_name(number))
    return None if data is None else Collected.model_validate_json(data)
