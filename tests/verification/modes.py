"""Checks in memory of a part of the log: drawn by a seed, or written since a time."""

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from oncelog.checks.report import coverage_of
from oncelog.checks.run import CheckRunner
from oncelog.checks.scope import CheckMode, ProofScope
from oncelog.checks.servers import Servers
from oncelog.checks.step_report import StepReport
from oncelog.checks.verify import FolderObjects
from tests.write.world import World

#: All is drawn, and all is new.
EVERYTHING = {
    CheckMode.FULL: ProofScope(),
    CheckMode.SAMPLED: ProofScope(mode=CheckMode.SAMPLED),
    CheckMode.INCREMENTAL: ProofScope(mode=CheckMode.INCREMENTAL, since=datetime(2025, 1, 1, tzinfo=UTC)),
}


async def checked(world: World, scope: ProofScope, *, part_events: int = 1_000) -> tuple[StepReport, str]:
    """Return what a check finds, and what it says of its coverage. A verification does the same in full."""
    with tempfile.TemporaryDirectory() as folder:
        servers = Servers(replace(world.sources, statuses=None), FolderObjects(Path(folder)))
        runner = CheckRunner(servers, part_events=part_events)
        plan = await runner.plan("check", scope)
        for task in plan.tasks:
            await runner.collect("check", task.number)
        for number in range(plan.parts):
            await runner.part("check", number)
        report, _ = await runner.end("check", None)
        return report, coverage_of(plan.scope, report.read, plan.totals.aggregates)
