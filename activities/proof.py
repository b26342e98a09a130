"""The steps that prove the invariants: plan, collect facts, check a part, look at a probe, end with a report.

Each may be repeated by any worker: it writes the same files again. A part of a dead worker is checked anew.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from oncelog.activities.heartbeats import heartbeats
from oncelog.activities.proof_models import FINDINGS_TOLD_MAX, ProbeStep, ProofPlanned, ProofStep
from oncelog.checks.kept import CheckReports
from oncelog.checks.probe import Probe
from oncelog.checks.report import InvariantsReport, coverage_of, sections_of, verdict_of
from oncelog.checks.run import CheckRunner
from oncelog.checks.step_report import ReadTotals, StepReport

HEARTBEAT_S = 2.0


class ProofActivities:
    """Every method is idempotent, and safe beside other checks and live commands."""

    def __init__(self, runner: CheckRunner, reports: CheckReports, probe: Probe) -> None:
        self._runner = runner
        self._reports = reports
        self._probe = probe

    @property
    def all(self) -> list[Callable[..., Any]]:
        """The activities for a worker to register."""
        return [self.plan_proof, self.collect_facts, self.prove_part, self.watch_probe, self.read_probe, self.end_proof]

    @activity.defn
    async def plan_proof(self, step: ProofStep) -> ProofPlanned:
        """Divide the check; an incremental one goes on from the last check of its scope, if there is one."""
        listed = 0

        def count(aggregates: int) -> None:
            nonlocal listed
            listed = aggregates

        async with heartbeats(lambda: listed, every_s=HEARTBEAT_S):
            scope = await self._reports.since_last(step.scope)
            plan = await self._runner.plan(step.check_id, scope, listed=count)
            earlier = await self._reports.newest_full(scope)
        return ProofPlanned(scope=plan.scope, totals=plan.totals, earlier=earlier)

    @activity.defn
    async def collect_facts(self, step: ProofStep) -> StepReport:
        """Read one source once, and spill its facts; tells how far it has come."""
        so_far: tuple[str, int] = ("", 0)

        def progress(what: str, count: int) -> None:
            nonlocal so_far
            so_far = what, count

        async with heartbeats(lambda: so_far, every_s=HEARTBEAT_S):
            report = await self._runner.collect(step.check_id, step.number, progress=progress)
        return report.shortened(FINDINGS_TOLD_MAX)

    @activity.defn
    async def prove_part(self, step: ProofStep) -> StepReport:
        """Check one part; tells how far it has come."""
        so_far = ReadTotals()

        def count(read: ReadTotals) -> None:
            nonlocal so_far
            so_far = read

        async with heartbeats(lambda: so_far, every_s=HEARTBEAT_S):
            report = await self._runner.part(step.check_id, step.number, counted=count, repair=step.repair)
        return report.shortened(FINDINGS_TOLD_MAX)

    @activity.defn
    async def watch_probe(self, probe: ProbeStep) -> StepReport:
        """Hold that the status of a probe, once readable, stays so until the probe has ended."""
        async with heartbeats(lambda: None, every_s=HEARTBEAT_S):
            return StepReport(findings=await self._probe.watch(probe.command_id))

    @activity.defn
    async def read_probe(self, probe: ProbeStep) -> StepReport:
        """Hold that every read model honours the token of a probe that has ended, and that its status tells of it."""
        async with heartbeats(lambda: None, every_s=HEARTBEAT_S):
            findings = await self._probe.read_back(
                probe.command_id,
                probe.aggregate_id,
                token=probe.consistency_token,
                version=probe.sequence_number,
                problem=probe.problem,
            )
            return StepReport(findings=findings)

    @activity.defn
    async def end_proof(self, step: ProofStep) -> InvariantsReport:
        """Add up all steps, and keep the report as JSON and as a page."""
        progress = step.progress
        if progress is None:
            raise ValueError("expected the progress of a check that ends, found none")
        async with heartbeats(lambda: None, every_s=HEARTBEAT_S):
            total, ended = await self._runner.end(step.check_id, progress.planned.earlier)
            total += progress.probe
            sections = sections_of(total, probes=progress.probes)
            now = datetime.now(UTC)
            report = InvariantsReport(
                check_id=step.check_id,
                verdict=verdict_of(sections),
                scope=step.scope.name,
                mode=progress.planned.scope.mode,
                coverage=coverage_of(progress.planned.scope, total.read, progress.planned.totals.aggregates),
                speaks_of=progress.planned.scope.due_before,
                ended_at=now,
                seconds=total.read.seconds,
                read=total.read,
                sections=sections,
                roots=ended.databases,
                compared_with=progress.planned.earlier,
                unattended=total.unattended,
                files=self._runner.files(step.check_id).folder,
            )
            kept = await self._reports.keep(report, progress.planned.scope)
        _measure(kept)
        return kept.shortened()


def _measure(report: InvariantsReport) -> None:
    """Set the metrics of the newest check, where the worker serves any."""
    meter = activity.metric_meter()
    violations = meter.create_gauge("oncelog_check_violations", "Violations that the last check found, by invariant")
    pending = meter.create_gauge("oncelog_check_pending", "Findings of the last check under way, by invariant")
    for section in report.sections:
        attributes: dict[str, str | int | float | bool] = {"invariant": int(section.invariant), "scope": report.scope}
        violations.set(section.violations, attributes)
        pending.set(section.pending, attributes)
    about = {"scope": report.scope}
    meter.create_gauge("oncelog_check_events", "Events that the last check read").set(report.read.events, about)
    meter.create_gauge_float("oncelog_check_seconds", "Seconds that the last check worked").set(report.seconds, about)
    ended = meter.create_gauge("oncelog_check_ended_at", "When the last check ended, as Unix time")
    ended.set(int(report.ended_at.timestamp()), about)
