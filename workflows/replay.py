"""The story of a replay: the log is divided, the partitions are folded by any number of workers, the digests joined."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from oncelog.activities.replay import ReplayActivities, ReplayStep
    from oncelog.replay_runs.files import folder_of
    from oncelog.replay_runs.request import (
        ReplayCounts,
        ReplayEnd,
        ReplayOutcome,
        ReplayProgress,
        ReplayReport,
        ReplayRequest,
    )
    from oncelog.workflows import policies
    from oncelog.workflows.arguments import accepted
    from oncelog.workflows.attributes import CLASS_ID, DB_NAME, lacking
    from oncelog.workflows.details import replay_sheet
    from oncelog.workflows.numbered_steps import NumberedSteps

if TYPE_CHECKING:
    ReplayArgument = ReplayRequest | dict[str, Any] | None
else:
    ReplayArgument = RawValue  # arrives undecoded; see InstanceCommand


@workflow.defn
class Replay:
    """Replays the log or a part of it. Started by a schedule, or by hand under any workflow ID, which names its files.

    A partition is the unit of work: pause and continue-as-new happen between partitions, and a partition that dies
    with its worker is folded anew elsewhere.
    """

    def __init__(self) -> None:
        self._request = ReplayRequest()
        self._progress: ReplayProgress | None = None
        self._end: ReplayEnd | None = None
        self._paused = False

    @workflow.run
    async def run(self, request: ReplayArgument = None) -> ReplayReport:
        self._request = accepted(request, ReplayRequest, noun="replay")
        workflow.upsert_search_attributes(_scope(self._request))
        self._progress = self._request.so_far
        self._tell()
        self._progress = self._progress or await self._plan()
        self._tell()
        if self._request.dry_run:
            return self.progress()
        await self._replay_partitions()
        self._end = await workflow.execute_activity_method(
            ReplayActivities.end_replay,
            self._step(),
            summary="join the digests",
            **policies.LISTING,
        )
        await workflow.execute_activity_method(
            ReplayActivities.keep_replay,
            self._step().model_copy(update={"report": self.progress()}),
            start_to_close_timeout=policies.STEP_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary="keep the report",
        )
        self._tell()
        return self.progress()

    @workflow.signal
    def pause(self) -> None:
        """Begin no more partitions until it is resumed."""
        self._paused = True
        self._tell()

    @workflow.signal
    def resume(self) -> None:
        """End a pause."""
        self._paused = False
        self._tell()

    @workflow.query
    def progress(self) -> ReplayReport:
        """Answer with how far the replay has come."""
        replay_id = workflow.info().workflow_id
        report = ReplayReport(
            replay_id=replay_id,
            outcome=ReplayOutcome.RUNNING,
            mode=self._request.mode,
            scope=self._request.scope.name,
            paused=self._paused,
            files=folder_of(replay_id),
            end=self._end,
        )
        if self._progress is None:
            return report
        counts, totals = self._progress.counts, self._progress.totals
        seconds = (workflow.now() - self._progress.started_at) / timedelta(seconds=1)
        speed = counts.events / seconds if counts.events and seconds > 0 else None
        return report.model_copy(
            update={
                "outcome": self._outcome(counts),
                "started_at": self._progress.started_at,
                "totals": totals,
                "counts": counts,
                "events_per_s": speed and round(speed, 1),
                "remaining_s": speed and round(max(0, totals.events - counts.events) / speed, 1),
            }
        )

    async def _plan(self) -> ReplayProgress:
        totals = await workflow.execute_activity_method(
            ReplayActivities.plan_replay,
            self._step(),
            summary=f"plan the replay of {self._request.scope.name}",
            **policies.LISTING,
        )
        return ReplayProgress(totals=totals, started_at=workflow.now())

    async def _replay_partitions(self) -> None:
        """Replay the partitions that are left, and add up their counts."""

        def begun(number: int) -> None:
            self._progress = self._known().model_copy(update={"next_partition": number})

        def taken(counts: ReplayCounts) -> None:
            progress = self._known()
            self._progress = progress.model_copy(update={"counts": progress.counts + counts})

        await NumberedSteps(
            self._replay_partition,
            self._request.parallel,
            begun=begun,
            taken=taken,
            shown=self._tell,
            paused=lambda: self._paused,
            go_on=self._go_on,
        ).run(self._known().next_partition, self._known().totals.partitions)

    def _go_on(self) -> None:
        """Go on in a run of its own."""
        workflow.continue_as_new(self._request.model_copy(update={"so_far": self._progress}))

    async def _replay_partition(self, number: int) -> ReplayCounts:
        return await workflow.execute_activity_method(
            ReplayActivities.replay_partition,
            self._step().model_copy(update={"partition": number}),
            summary=f"partition {number + 1} of {self._known().totals.partitions}",
            **policies.PARTITION,
        )

    def _step(self) -> ReplayStep:
        request = self._request.model_copy(update={"so_far": None})
        totals = self._progress.totals if self._progress else None
        return ReplayStep(replay_id=workflow.info().workflow_id, request=request, totals=totals)

    def _known(self) -> ReplayProgress:
        if self._progress is None:
            raise RuntimeError("the replay has no plan yet")
        return self._progress

    def _outcome(self, counts: ReplayCounts) -> ReplayOutcome:
        if self._request.dry_run:
            return ReplayOutcome.PLANNED
        if self._end is None:
            return ReplayOutcome.RUNNING
        compared = self._end.comparison
        violated = counts.findings_count or (compared is not None and compared.findings_count)
        return ReplayOutcome.VIOLATED if violated else ReplayOutcome.SOUND

    def _tell(self) -> None:
        workflow.set_current_details(replay_sheet(self.progress()))


def _scope(request: ReplayRequest) -> list[Any]:
    wanted = {DB_NAME: request.scope.db_name, CLASS_ID: request.scope.class_id}
    return lacking({key: value for key, value in wanted.items() if value is not None})
