"""The steps of a check: plan it, collect, check each part, end it. Activities and ``oncelog verify`` carry them out.

Each step may be repeated, by any worker: it writes the same files again.
"""

import time
from collections.abc import Callable, Iterable
from functools import partial

import structlog

from oncelog.checks.collection import Collector, collected_name, read_collected
from oncelog.checks.holders import judge_holders
from oncelog.checks.part import Counted, Keep, PartCheck
from oncelog.checks.plan import make_plan
from oncelog.checks.scope import PART_EVENTS, SLICE_COMMANDS, CheckMode, CheckPlan, Collected, ProofScope, Spilled
from oncelog.checks.servers import Progress, Servers
from oncelog.checks.step_report import FindingKey, FindingsReport, StepReport
from oncelog.domain.stored_names import PROOFS
from oncelog.errors import InputInvalid, LogDamaged
from oncelog.ports import LargeObjects
from oncelog.replay_runs.digests import DigestComparison, join_digests, read_digests
from oncelog.replay_runs.files import ReplayFiles, partition_name
from oncelog.replay_runs.plan import Listed
from oncelog.replay_runs.request import ReplayEnd
from oncelog.verification.containers import ContainerAudit
from oncelog.verification.findings import Code, Finding, Findings
from oncelog.verification.reading import answered
from oncelog.verification.records import CommandFacts

_log = structlog.get_logger()

PLAN = "plan.json"
NEWEST = "check_id"


class CheckRunner:
    """Carries out the steps of checks. ``keep`` and ``keep_command`` take all facts, where a history needs them."""

    def __init__(
        self,
        servers: Servers,
        *,
        keep: Keep | None = None,
        keep_command: Callable[[CommandFacts], None] | None = None,
        part_events: int = PART_EVENTS,
        slice_commands: int = SLICE_COMMANDS,
    ) -> None:
        self._servers = servers
        self._keep = keep
        self._keep_command = keep_command
        self._part_events = part_events
        self._slice_commands = slice_commands

    def files(self, check_id: str) -> ReplayFiles:
        """Return the files of a check."""
        return check_files(self._servers.scratch, check_id)

    async def plan(self, check_id: str, scope: ProofScope, *, listed: Listed = lambda _: None) -> CheckPlan:
        """Divide a check and keep its plan; raises StoreUnavailable."""
        plan = await make_plan(
            self._servers, scope, part_events=self._part_events, slice_commands=self._slice_commands, listed=listed
        )
        await self.files(check_id).write(PLAN, plan.model_dump_json().encode())
        return plan

    async def collect(
        self, check_id: str, number: int, *, progress: Progress = lambda _what, _count: None
    ) -> StepReport:
        """Carry out one step of collecting; raises StoreUnavailable."""
        files = self.files(check_id)
        plan = await read_plan(files)
        collector = Collector(self._servers, plan, files, progress=progress, keep_command=self._keep_command)
        return (await collector.run(plan.tasks[number])).report

    async def part(
        self, check_id: str, number: int, *, counted: Counted = lambda _: None, repair: bool = False
    ) -> StepReport:
        """Check one part, after all was collected; ``repair``: make the safe repairs.

        Raises StoreUnavailable.
        """
        files = self.files(check_id)
        plan = await read_plan(files)
        started_s = time.monotonic()
        spilled: list[Spilled] = []
        offsets: dict[int, int] = {}
        for task in plan.tasks:
            collected = await read_collected(files, task.number)
            if collected is None:
                raise InputInvalid(
                    f"check {check_id}: expected {collected_name(task.number)}, found none; start another"
                )
            spilled += [file for file in collected.files if number in file.ranges]
            offsets.update(collected.offsets)
        facts = Collected(files=tuple(spilled), offsets=offsets)
        check = PartCheck(self._servers, plan, files, collected=facts, counted=counted, keep=self._keep, repair=repair)
        return await check.run(number, started_s=started_s)

    async def end(self, check_id: str, earlier: str | None) -> tuple[StepReport, ReplayEnd]:
        """Add up all steps, and hold the digests against those of an earlier check; returns their roots, too."""
        files = self.files(check_id)
        plan = await read_plan(files)
        findings = Findings()
        for finding in await self._of_the_whole(plan):
            findings.add(finding)
        holders = Findings()
        holders.extend(await judge_holders(self._servers, plan, files))
        report, chains = StepReport(findings=FindingsReport.of(findings)), [FindingsReport.of(holders)]
        for task in plan.tasks:
            collected = await read_collected(files, task.number)
            if collected is not None:
                report += collected.report
                chains.append(collected.chains)
        for number in range(plan.parts):
            if (data := await files.read(partition_name(number, "findings", "json"))) is not None:
                report += StepReport.model_validate_json(data)
            if (data := await files.read(partition_name(number, "chains", "json"))) is not None:
                chains.append(FindingsReport.model_validate_json(data))
        is_full = plan.scope.mode is CheckMode.FULL
        ended = await join_digests(read_digests(files, range(plan.parts))) if is_full else ReplayEnd()
        compared = await self._compared(files, plan, earlier)
        return report + StepReport(findings=_once(report.findings, chains) + compared), ended

    async def _of_the_whole(self, plan: CheckPlan) -> Iterable[Finding]:
        """Return the findings of topics, and of indices both at the beginning and at the end."""
        containers = ContainerAudit()
        containers.add(plan.indices)
        containers.add(await answered(partial(self._servers.sources.scan.indices, db_name=plan.scope.db_name)))
        return [*plan.findings, *containers.judge()]

    async def _compared(self, files: ReplayFiles, plan: CheckPlan, earlier: str | None) -> FindingsReport:
        """Hold the digests against an earlier check's: the same events fold to the same state for ever."""
        if earlier is None or plan.scope.mode is CheckMode.INCREMENTAL:
            return FindingsReport()
        before, comparison = self.files(earlier), DigestComparison(earlier)
        try:
            parts = (await read_plan(before)).parts
            covered = (
                each async for each in read_digests(before, range(parts)) if plan.scope.covers(each.aggregate_id)
            )
            result = await comparison.compare(covered, read_digests(files, range(plan.parts)))
        except (InputInvalid, LogDamaged) as error:
            _log.warning("earlier_digests_unreadable", check_id=earlier, reason=error.message)
            return FindingsReport()
        findings = Findings()
        findings.extend(Finding(Code(finding.code), finding.where, finding.found) for finding in result.findings)
        return FindingsReport.of(findings)


def _once(reported: FindingsReport, chains: Iterable[FindingsReport]) -> FindingsReport:
    """Add up the findings of chains from several steps, each once, without those reported of instances."""
    known, total = set[FindingKey](), FindingsReport()
    reported.without(known)
    for each in chains:
        total += each.without(known)
    return total


def check_files(objects: LargeObjects, check_id: str) -> ReplayFiles:
    """Return the files of a check."""
    return ReplayFiles(objects, check_id, folder=PROOFS)


async def read_plan(files: ReplayFiles) -> CheckPlan:
    """Return the plan of a check; raises InputInvalid where there is none."""
    found = await files.read(PLAN)
    if found is None:
        raise InputInvalid(f"check {files.folder}: expected its plan in S3, found none; start another check")
    return CheckPlan.model_validate_json(found)
