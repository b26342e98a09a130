"""The steps of a replay: plan it, replay a partition, end it, keep its report.

Each may be repeated: a partition writes the same files again. A partition of a dead worker is folded anew.
"""

from collections.abc import Callable
from typing import Any

from pydantic import BaseModel, ConfigDict
from temporalio import activity

from oncelog import metrics
from oncelog.activities.heartbeats import heartbeats
from oncelog.archive.log_part import LogPosition
from oncelog.replay_runs.partitions import PlanTotals
from oncelog.replay_runs.request import ReplayCounts, ReplayEnd, ReplayReport, ReplayRequest
from oncelog.replay_runs.run import PartitionProgress, ReplayRunner

HEARTBEAT_S = 2.0


class ReplayStep(BaseModel):
    """One step of a replay. ``partition``: its number in the plan; ``totals``: the size of the plan."""

    model_config = ConfigDict(frozen=True)

    replay_id: str
    request: ReplayRequest
    partition: int = 0
    totals: PlanTotals | None = None
    report: ReplayReport | None = None


class ReplayActivities:
    """Every method is idempotent, and safe beside other replays and live commands."""

    def __init__(self, runner: ReplayRunner) -> None:
        self._runner = runner

    @property
    def all(self) -> list[Callable[..., Any]]:
        """The activities for a worker to register."""
        return [self.plan_replay, self.replay_partition, self.end_replay, self.keep_replay]

    @activity.defn
    async def plan_replay(self, step: ReplayStep) -> PlanTotals:
        """Divide the log into partitions; tells how many aggregates were listed."""
        listed = 0

        def count(aggregates: int) -> None:
            nonlocal listed
            listed = aggregates

        async with heartbeats(lambda: listed, every_s=HEARTBEAT_S):
            return await self._runner.plan(step.replay_id, step.request, listed=count)

    @activity.defn
    async def replay_partition(self, step: ReplayStep) -> ReplayCounts:
        """Replay one partition; tells how far it has come, and goes on where an earlier attempt was."""
        earlier = _earlier()
        so_far = PartitionProgress(position=earlier)
        folded = metrics.REPLAY_EVENTS.labels(step.request.mode)

        def count(progress: PartitionProgress) -> None:
            nonlocal so_far
            folded.inc(progress.counts.events - so_far.counts.events)
            so_far = progress

        async with heartbeats(lambda: so_far, every_s=HEARTBEAT_S):
            return await self._runner.partition(
                step.replay_id, step.request, step.partition, counted=count, done=earlier
            )

    @activity.defn
    async def end_replay(self, step: ReplayStep) -> ReplayEnd:
        """Join the digests of the partitions."""
        totals = step.totals or PlanTotals(partitions=0, aggregates=0, events=0)
        async with heartbeats(lambda: None, every_s=HEARTBEAT_S):
            return await self._runner.end(step.replay_id, step.request, totals)

    @activity.defn
    async def keep_replay(self, step: ReplayStep) -> None:
        """Keep the report in S3."""
        if step.report is not None:
            await self._runner.keep(step.request, step.report)


def _earlier() -> LogPosition | None:
    """Return the position that an earlier attempt at this activity reported last, if any."""
    details = activity.info().heartbeat_details
    return PartitionProgress.model_validate(details[0]).position if details else None
