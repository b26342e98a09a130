"""Cover: bring the instances of a class under unique constraints that its definition got after they were written.

An empty update is decided under the newest definition, so it claims every value that its instance holds. Instances go
through bulk commands of such updates, beside normal writes (docs/unique.md).
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any, Protocol

from oncelog.activities.bulk_models import BulkView
from oncelog.client.bulk_items import spooled
from oncelog.domain.bulk.command import Bulk, BulkType
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.events import rfc3339
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome, Rejection, RejectionCode
from oncelog.domain.unique.coverage import ConstraintSpans
from oncelog.errors import CommandFailed, InputInvalid
from oncelog.ports import Ports
from oncelog.query.cover_report import CoverRefusal, CoverReport
from oncelog.query.coverage import Coverage, CoveragePage, UncoveredInstance, UnreadableInstance
from oncelog.replay.class_schemas import RECHECK_S

__all__ = ["ClassCover", "CoverProgress", "CoverReport"]

#: Items of one bulk command: so many names are in memory at a time.
ITEMS_MAX = 10_000
#: Refusals that a report names, and those that it keeps in S3.
REFUSALS_MAX = 10_000
REFUSALS_KEPT_MAX = 100
#: The precision of S3's clock.
CLOCK_STEP_S = 1.0

#: The rejections of an item whose instance was written since it was read.
_CHANGED = frozenset({RejectionCode.VERSION_CONFLICT, RejectionCode.INSTANCE_DELETED, RejectionCode.INSTANCE_NOT_FOUND})


@dataclass(frozen=True)
class CoverProgress:
    """How far a run is. ``wait_s``: seconds until it begins; ``uncovered``: found so far, which the others are of."""

    wait_s: float = 0.0
    instances: int = 0
    uncovered: int = 0
    covered: int = 0
    refused: int = 0


CoverProgressed = Callable[[CoverProgress], None]
UnderWay = Callable[[Collection[str]], Awaitable[set[str]]]


def unobserved(_: CoverProgress) -> None:
    """The ordinary case."""


class BulkCommands(Protocol):
    """The calls on bulk commands that a run needs, as ``Bulks`` has them."""

    async def prepared(self, path: Path, fields: Mapping[str, Any]) -> Bulk:
        """Return the command on the items of a file."""
        ...

    def follow(self, bulk: Bulk) -> AsyncIterator[BulkView | BulkResult]:
        """Run a command or attach to it; yield how far it is, and at last its result."""
        ...

    def results(self, result: BulkResult) -> AsyncIterator[dict[str, Any]]:
        """Yield the result of each item."""
        ...


@dataclass(frozen=True)
class _Commands:
    """The bulk commands of one run. ``fields``: the same in all of them."""

    ports: Ports
    bulks: BulkCommands
    under_way: UnderWay
    fields: Mapping[str, Any]
    definition: int

    async def send(self, batch: Sequence[UncoveredInstance], progressed: Callable[[BulkView], None]) -> BulkResult:
        """Send an empty update of each instance, and return the result; raises CommandFailed.

        Each update expects the version that was found not to be covered: any later write has covered it.
        """
        items = [
            {"instance_id": each.aggregate_id.instance_id, "payload": {}, "expected_version": each.version}
            for each in batch
        ]
        with spooled(items) as path:
            bulk = await self.bulks.prepared(path, {**self.fields, "command_id": await self._command_id(items)})
        async for found in self.bulks.follow(bulk):
            if isinstance(found, BulkView):
                progressed(found)
            elif found.outcome is Outcome.REJECTED and found.rejection:
                raise CommandFailed(f"command {bulk.command_id}: was rejected as a whole: {found.rejection.message}")
            else:
                return found
        raise AssertionError("the last one is the result")

    async def _command_id(self, items: Sequence[Mapping[str, Any]]) -> str:
        """Return an ID that follows from the items: the same run, begun again while it is under way, attaches to it.

        Items that an ended command refused have another attempt, since their duplicates may be mended by now.
        """
        names = [self.fields["db_name"], self.fields["class_id"], self.fields.get("actor"), self.definition, *items]
        digest = sha256_hex(canonical_bytes({"cover": names}))[:32]
        for attempt in count(1):
            command_id = f"cover-{digest}-{attempt}"
            if await self.ports.records.read_record(command_id, 1) is None or await self.under_way([command_id]):
                return command_id
        raise AssertionError("counting does not end")


@dataclass
class _Run:
    """One run: its counts, and the instances that wait for the next command."""

    spans: ConstraintSpans
    coverage: Coverage
    commands: _Commands
    progressed: CoverProgressed
    progress: CoverProgress = field(default_factory=CoverProgress)
    waiting: list[UncoveredInstance] = field(default_factory=list)
    refusals: list[CoverRefusal] = field(default_factory=list)
    refused_in: list[str] = field(default_factory=list)
    left: Counter[str] = field(default_factory=Counter)
    not_attempted: int = 0
    unreadable: int = 0

    async def add(self, page: CoveragePage, *, items_max: int) -> None:
        """Take some instances, and cover those that are not, once there are enough for a command."""
        self._counted(instances=page.live, uncovered=len(page.uncovered))
        for _ in page.unreadable:
            self._add_unreadable()
        self.waiting += page.uncovered
        self.progressed(self.progress)
        while len(self.waiting) >= items_max:
            batch, self.waiting = self.waiting[:items_max], self.waiting[items_max:]
            await self._cover(batch)

    async def end(self, report: CoverReport) -> CoverReport:
        """Cover the remaining instances, and return the report with the counts of this run."""
        while self.waiting:
            batch, self.waiting = self.waiting, []
            await self._cover(batch)
        return report.model_copy(
            update={
                "instances": self.progress.instances,
                "covered": self.progress.covered,
                "refused": self.progress.refused,
                "not_attempted": self.not_attempted,
                "unreadable": self.unreadable,
                "uncovered": {name: self.left[name] for name in self.spans.since},
                "refusals": tuple(self.refusals),
                "commands": tuple(self.refused_in),
            }
        )

    async def _cover(self, batch: Sequence[UncoveredInstance]) -> None:
        before = self.progress
        result = await self.commands.send(batch, lambda view: self._show(before, view))
        changed = []
        async for line in self.commands.bulks.results(result):
            instance = batch[line["index"]]
            if line["outcome"] == Outcome.APPLIED:
                self._counted(covered=1)
            elif line["outcome"] != Outcome.REJECTED:
                self.not_attempted += 1
                self.left.update(instance.lacks)
            elif (rejection := Rejection.model_validate(line["rejection"])).code in _CHANGED:
                changed.append(instance)
            else:
                self._refuse(instance, rejection)
        if self.progress.refused > before.refused and result.command_id:
            self.refused_in.append(result.command_id)
        for instance in changed:
            await self._look_again(instance)
        self.progressed(self.progress)

    async def _look_again(self, instance: UncoveredInstance) -> None:
        """Take an instance that was written since it was read: it is covered, deleted, or written by a zombie."""
        found = await self.coverage.instance(instance.aggregate_id, self.spans, at_least=instance.version)
        if isinstance(found, UncoveredInstance):
            self.waiting.append(found)
        elif isinstance(found, UnreadableInstance):
            self._add_unreadable()
        elif not found:
            self._counted(instances=-1)

    def _refuse(self, instance: UncoveredInstance, rejection: Rejection) -> None:
        self._counted(refused=1)
        self.left.update(instance.lacks)
        if len(self.refusals) < REFUSALS_MAX:
            refusal = CoverRefusal(
                aggregate_id=str(instance.aggregate_id), version=instance.version, rejection=rejection
            )
            self.refusals.append(refusal)

    def _add_unreadable(self) -> None:
        self.unreadable += 1
        self.left.update(self.spans.since.keys())

    def _counted(self, **more: int) -> None:
        counts = {name: getattr(self.progress, name) + number for name, number in more.items()}
        self.progress = replace(self.progress, **counts)

    def _show(self, before: CoverProgress, view: BulkView) -> None:
        """Report a command under way: its counts come to those of the commands before it."""
        covered, refused = before.covered + view.counts.applied, before.refused + view.counts.rejected
        self.progressed(replace(before, covered=covered, refused=refused))


class ClassCover:
    """Covers classes. ``under_way``: tells which of some commands run now."""

    def __init__(
        self,
        ports: Ports,
        coverage: Coverage,
        bulks: BulkCommands,
        under_way: UnderWay,
        *,
        items_max: int = ITEMS_MAX,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._ports = ports
        self._coverage = coverage
        self._bulks = bulks
        self._under_way = under_way
        self._items_max = items_max
        self._sleep = sleep

    async def run(
        self,
        db_name: str,
        class_id: str,
        *,
        actor: str | None = None,
        progressed: CoverProgressed = unobserved,
    ) -> CoverReport:
        """Cover all instances of a class that are not covered; return how many are left, and why.

        Waits first until no living process can know a definition without the constraints. Safe to repeat: a run covers
        the rest. An interrupted run leaves its bulk command running. In a retired class nothing is done.
        Raises InputInvalid where the class is not defined or has no constraint, CommandFailed, LogDamaged,
        StoreUnavailable.
        """
        class_name = AggregateId.of_class(db_name, class_id)
        spans = await self._coverage.spans(class_name)
        if spans is None or not spans.since:
            problem = "it is not defined" if spans is None else "its definition has none"
            raise InputInvalid(
                f"class {db_name}/{class_id}: expected unique constraints, {problem}; define it with unique first"
            )
        reference, since = spans.class_schema.reference, dict(spans.since)
        report = CoverReport(db_name=db_name, class_id=class_id, definition=reference, since=since)
        if spans.class_schema.retired:
            return report.model_copy(update={"retired": True})
        await self._until_known(class_name, progressed)
        fields = {"command_type": BulkType.BULK_UPDATE_INSTANCES, "db_name": db_name, "class_id": class_id}
        fields |= {"actor": actor} if actor else {}
        commands = _Commands(self._ports, self._bulks, self._under_way, fields, reference.sequence_number)
        run = _Run(spans, self._coverage, commands, progressed)
        async for page in self._coverage.pages(db_name, class_id, spans):
            await run.add(page, items_max=self._items_max)
        return await self._saved(await run.end(report))

    async def _until_known(self, class_name: AggregateId, progressed: CoverProgressed) -> None:
        """Wait until every living process knows the newest definition: both times are by S3's clock."""
        defined_at = await self._coverage.defined_at(class_name)
        while defined_at is not None:
            passed = await self._ports.checkpoints.now() - defined_at
            left_s = RECHECK_S + CLOCK_STEP_S - passed.total_seconds()
            if left_s <= 0:
                return
            progressed(CoverProgress(wait_s=left_s))
            await self._sleep(left_s)

    async def _saved(self, report: CoverReport) -> CoverReport:
        ended = report.model_copy(update={"ended_at": rfc3339(await self._ports.checkpoints.now())})
        kept = ended.model_copy(update={"refusals": ended.refusals[:REFUSALS_KEPT_MAX]})
        await self._coverage.save_report(kept)
        return ended
