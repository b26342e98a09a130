"""One part of a check: its log is folded once, in batches, and held against the facts that were collected about it.

Memory follows the batch, not the part: only facts about the aggregates of one batch are held, and of an event less than
a kilobyte, however much data it has.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from oncelog.archive.listing import listed_streams
from oncelog.checks.chain_audit import ChainAudit
from oncelog.checks.claims import judge_claims
from oncelog.checks.dangling import DanglingReferences
from oncelog.checks.holders import HolderLines
from oncelog.checks.known_facts import KnownFacts, add_fact
from oncelog.checks.looks import Looks
from oncelog.checks.repair import Repairs
from oncelog.checks.scope import CheckMode, CheckPlan, Collected
from oncelog.checks.second_look import SecondLook
from oncelog.checks.servers import Servers
from oncelog.checks.slots import REMEDY, ArchivedPart, SlotBatch, archived_part, read_slots
from oncelog.checks.spill import RECORD_FACTS, Fact, FactKind, SpilledFacts, fact_order, read_spilled
from oncelog.checks.step_report import FindingsReport, ReadTotals, StepReport
from oncelog.replay_runs.files import ReplayFiles, partition_name
from oncelog.replay_runs.partitions import Partition
from oncelog.stores.s3 import S3EventLog, S3LogCatalogue
from oncelog.verification.archive import newest_manifest
from oncelog.verification.audit import Audit, ClassLogs, slot_of
from oncelog.verification.findings import Code, Finding, Findings
from oncelog.verification.reading import PatientBucket, ReadObject

#: A batch is judged once it has so many events, at the end of an aggregate.
BATCH_EVENTS = 1_000

Counted = Callable[[ReadTotals], None]

#: Takes an audit after its last look, where a history needs all facts.
Keep = Callable[[Audit], None]


@dataclass
class Batch:
    """Some aggregates in the order of their keys, and the facts collected about them."""

    facts: list[Fact] = field(default_factory=list)
    shown: dict[str, set[int]] = field(default_factory=dict)
    covered: set[str] = field(default_factory=set)
    forged: list[str] = field(default_factory=list)
    events: int = 0

    def add(self, fact: Fact) -> None:
        """Take facts; of a document or node, note the version, so that the fold is digested there."""
        self.facts.append(fact)
        self.covered.add(fact.aggregate_id)
        if fact.kind in (FactKind.DOCUMENT, FactKind.NODE):
            self.shown.setdefault(fact.aggregate_id, set()).add(fact.value.sequence_number)


class PartCheck:
    """Checks one part of a plan. ``keep``: takes each audit after its last look; without it, digests are few.

    ``repair``: make the safe repairs.
    """

    def __init__(
        self,
        servers: Servers,
        plan: CheckPlan,
        files: ReplayFiles,
        *,
        collected: Collected,
        counted: Counted = lambda _: None,
        keep: Keep | None = None,
        repair: bool = False,
    ) -> None:
        self._servers = servers
        self._plan = plan
        self._files = files
        self._spilled = collected.files
        self._looks = Looks(servers, plan, collected.offsets)
        self._chains = ChainAudit(servers, plan, self._looks)
        self._dangling = DanglingReferences(servers.sources.bucket)
        self._second = SecondLook(servers, plan, self._looks)
        self._repairs = Repairs(servers, self._second) if repair else None
        self._counted = counted
        self._keep = keep
        self._findings = Findings()
        self._lines: list[str] = []
        self._holders = HolderLines()
        self._read = ReadTotals()
        self._classes = ClassLogs()

    async def run(self, number: int, *, started_s: float) -> StepReport:
        """Check a part, and keep its digests; raises StoreUnavailable. ``started_s``: of ``time.monotonic``."""
        facts = await read_spilled(self._files, self._spilled, number)
        if number == len(self._plan.partitions):
            await self._rest(facts)
            self._lines.clear()  # digests are kept in the order of their keys: the next check has a partition for these
        elif self._plan.scope.mode is CheckMode.FULL:
            await self._full(self._plan.partitions[number], facts)
        else:
            await self._selected(self._plan.partitions[number], facts)
        await self._files.write(partition_name(number, "digests", "txt"), "".join(self._lines).encode())
        await self._holders.write(self._files, number)
        chains = FindingsReport.of(self._chains.findings)
        await self._files.write(partition_name(number, "chains", "json"), chains.model_dump_json().encode())
        report = StepReport(
            read=self._read + self._chains.read,
            findings=FindingsReport.of(self._findings),
            unattended=tuple(self._second.unattended),
        ).since(started_s)
        await self._files.write(partition_name(number, "findings", "json"), report.model_dump_json().encode())
        return report

    async def _full(self, partition: Partition, facts: SpilledFacts) -> None:
        """Go through all slots of the part in the order of their keys."""
        part = partition.part
        self._classes = await self._looks.class_logs(part.db_name, part.class_id)
        batch, audit = self._begin()
        opened = ""
        archived = await self._archived(partition)
        async for slots in read_slots(self._servers.sources.bucket, part, archived):
            for aggregate_id, start, stop in _stretches(slots):
                if aggregate_id and aggregate_id != opened:
                    if batch.events >= BATCH_EVENTS:
                        await self._end(batch, audit)
                        batch, audit = self._begin()
                    opened = aggregate_id
                    batch.covered.add(aggregate_id)
                    for fact in facts.through(fact_order(aggregate_id)):
                        batch.add(fact)
                await asyncio.to_thread(self._add, audit, slots.objects[start:stop])
                batch.events += stop - start
            batch.forged += slots.forged
            self._read = self._read + ReadTotals(archived=slots.archived)
        for fact in facts.through(None):
            batch.add(fact)
        await self._end(batch, audit)
        for finding in archived.findings if archived else ():
            self._findings.add(finding)

    async def _archived(self, partition: Partition) -> ArchivedPart | None:
        large_objects, part = self._servers.sources.large_objects, partition.part
        if large_objects is None or self._plan.scope.slots_only:
            return None
        newest = await newest_manifest(self._servers.sources.bucket, part.db_name, part.class_id)
        return archived_part(large_objects, newest.manifest.files, part) if newest.manifest.files else None

    def _begin(self) -> tuple[Batch, Audit]:
        batch = Batch()
        shown = None if self._keep is not None else batch.shown
        return batch, self._looks.new_audit(self._classes, covers=batch.covered, shown=shown)

    def _add(self, audit: Audit, objects: Sequence[ReadObject]) -> None:
        for found in objects:
            due = self._plan.scope.is_due(found.written_at)
            audit.add_object(found.key, found.body, damage=found.damage, watermark=found.watermark, is_due=due)

    async def _end(self, batch: Batch, audit: Audit) -> None:
        """Judge a batch, and look again at the suspects in it."""
        audit.end_log()
        for fact in batch.facts:
            add_fact(audit, fact)
        await self._looks.resolve(audit, batch.covered)
        found = [*audit.judge_aggregates(), *await judge_claims(self._servers.sources.statuses, audit)]
        self._count(audit)
        self._findings.extend(await self._dangling.findings(audit))
        if found:
            audit = await self._look_again(batch, audit, found)
        self._findings.extend(self._forged(batch, audit))
        self._end_audit(audit)

    def _end_audit(self, audit: Audit) -> None:
        """Take from an audit, after its last look, the facts that need no further one."""
        self._findings.extend(audit.unique.uncovered())
        self._holders.add(audit.logs.values())
        if self._keep is not None:
            self._keep(audit)

    async def _look_again(self, batch: Batch, audit: Audit, found: Sequence[Finding]) -> Audit:
        foreign = [finding for finding in found if finding.code is Code.OBJECT_FOREIGN]
        about = {name for finding in found for name in finding.aggregate_ids}
        suspects = sorted(about & (batch.covered | set(audit.logs)))
        if not suspects:
            for finding in found:
                self._findings.add(finding)
            return audit
        self._read = self._read + ReadTotals(second_looks=len(suspects))
        known = KnownFacts.of(fact for fact in batch.facts if fact.aggregate_id in about)
        settled, again = await self._second.look(suspects, known, found)
        if self._repairs is not None:
            settled, again = await self._repairs.run(suspects, known, settled, again)
        for finding in (*foreign, *settled):
            self._findings.add(finding)
        audit.logs.update(again.logs)
        audit.commands.commands.update(again.commands.commands)
        return audit

    def _forged(self, batch: Batch, audit: Audit) -> list[Finding]:
        """Return archived rows that are not the event of their slot; a damaged slot is found as that."""
        findings = []
        for key in batch.forged:
            slot = slot_of(key)
            log = audit.logs.get(slot[0]) if slot else None
            if slot and log and slot[1] in log.taken and slot[1] not in log.events:
                continue
            found = f"expected the very bytes of the slot, found others, or no such event in the log; {REMEDY}"
            findings.append(Finding(Code.ARCHIVE_FORGED, key, found))
        return findings

    async def _selected(self, partition: Partition, facts: SpilledFacts) -> None:
        """Look directly at the aggregates that are drawn, or that are new since the last check, by event or record."""
        bucket, scope = PatientBucket(self._servers.sources.bucket), self._plan.scope
        catalogue = S3LogCatalogue(bucket, S3EventLog(bucket))
        chosen: dict[str, list[Fact]] = {}
        events = 0
        async for stream in listed_streams(catalogue, partition.part):
            name = str(stream.aggregate_id)
            known = _grouped(facts.through(fact_order(name)))
            if scope.covers(name) and not scope.is_old(stream.written_at):
                chosen[name] = known.pop(name, [])
                events += stream.head
            chosen |= self._named(known)
            if events + len(chosen) >= BATCH_EVENTS:
                await self._direct(chosen)
                chosen, events = {}, 0
        await self._direct(chosen | self._named(_grouped(facts.through(None))))

    def _named(self, known: Mapping[str, list[Fact]]) -> dict[str, list[Fact]]:
        """Return the aggregates that new records are about, whether they have new events or not; none of a sample."""
        if self._plan.scope.mode is not CheckMode.INCREMENTAL:
            return {}
        return {name: facts for name, facts in known.items() if any(fact.kind in RECORD_FACTS for fact in facts)}

    async def _rest(self, facts: SpilledFacts) -> None:
        """Look directly at aggregates that something is known of, and that no partition holds."""
        chosen: dict[str, list[Fact]] = {}
        for fact in facts.through(None):
            if fact.aggregate_id not in chosen and len(chosen) >= BATCH_EVENTS:
                await self._direct(chosen)
                chosen = {}
            chosen.setdefault(fact.aggregate_id, []).append(fact)
        await self._direct(chosen)

    async def _direct(self, chosen: Mapping[str, Sequence[Fact]]) -> None:
        """Judge aggregates by a direct look, and look again at the suspects among them."""
        for by_class in _by_class(chosen):
            batch = Batch(covered=set(by_class))
            for name in by_class:
                for fact in chosen[name]:
                    batch.add(fact)
            audit = await self._looks.direct(by_class, KnownFacts.of(batch.facts))
            found = [*audit.judge_aggregates(), *await judge_claims(self._servers.sources.statuses, audit)]
            self._count(audit)
            self._findings.extend(await self._dangling.findings(audit))
            if found:
                audit = await self._look_again(batch, audit, found)
            if self._plan.scope.mode is not CheckMode.FULL:
                await self._chains.audit_values(audit, all_of_them=bool(found))
            self._end_audit(audit)

    def _count(self, audit: Audit) -> None:
        self._lines += [f"{digest.line}\n" for digest in audit.digests]
        self._read = self._read + ReadTotals(
            aggregates=len(audit.logs),
            events=sum(len(log.events) for log in audit.logs.values()),
            duplicates=audit.stream.duplicates,
            digests=len(audit.digests),
        )
        self._counted(self._read)


def _stretches(slots: SlotBatch) -> list[tuple[str, int, int]]:
    """Return the aggregates of consecutive slots, and which slots are theirs; foreign keys are under no name."""
    stretches: list[tuple[str, int, int]] = []
    for index, found in enumerate(slots.objects):
        slot = slot_of(found.key)
        name = slot[0] if slot else ""
        if stretches and stretches[-1][0] == name:
            stretches[-1] = (name, stretches[-1][1], index + 1)
        else:
            stretches.append((name, index, index + 1))
    return stretches


def _grouped(facts: Iterable[Fact]) -> dict[str, list[Fact]]:
    grouped: dict[str, list[Fact]] = {}
    for fact in facts:
        grouped.setdefault(fact.aggregate_id, []).append(fact)
    return grouped


def _by_class(names: Iterable[str]) -> list[list[str]]:
    grouped: dict[str, list[str]] = {}
    for name in names:
        grouped.setdefault(name.rpartition("/")[0], []).append(name)
    return list(grouped.values())
