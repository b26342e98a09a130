"""The story of an archive run: each class is packed file by file, its files are merged, and the unnamed are removed."""

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from oncelog.activities.archive import ArchiveActivities, ArchiveStep
    from oncelog.archive.run import ArchiveCounts, ArchivePlan, ArchiveProgress, ArchiveReport, ArchiveRequest
    from oncelog.workflows import policies
    from oncelog.workflows.arguments import accepted
    from oncelog.workflows.attributes import CLASS_ID, DB_NAME, lacking
    from oncelog.workflows.details import archive_sheet

if TYPE_CHECKING:
    ArchiveArgument = ArchiveRequest | dict[str, Any] | None
else:
    ArchiveArgument = RawValue  # arrives undecoded; see InstanceCommand

#: A pass that dropped lost files is repeated, since their events are archived by the next one only.
PASSES_MAX = 3
#: After another archiver was faster.
CONFLICT_PAUSE = timedelta(seconds=10)


@workflow.defn
class Archive:
    """Archives the log or a part of it. Started by a schedule, or by hand under any workflow ID.

    A class is the unit of work: several go beside each other, and continue-as-new happens between classes.
    """

    def __init__(self) -> None:
        self._request = ArchiveRequest()
        self._progress: ArchiveProgress | None = None
        self._counts = ArchiveCounts()

    @workflow.run
    async def run(self, request: ArchiveArgument = None) -> ArchiveReport:
        self._request = accepted(request, ArchiveRequest, noun="archive")
        workflow.upsert_search_attributes(_scope(self._request))
        self._progress = self._request.so_far or await self._plan()
        self._counts = self._progress.counts
        left = list(self._progress.plan.classes)
        while left:
            self._tell()
            if workflow.info().is_continue_as_new_suggested():
                workflow.continue_as_new(self._continued(left))
            group, left = left[: self._request.parallel], left[self._request.parallel :]
            await asyncio.gather(*(self._archive_class(*place) for place in group))
        self._tell()
        return self.progress()

    @workflow.query
    def progress(self) -> ArchiveReport:
        """Answer with how far the run has come."""
        return ArchiveReport(
            scope=self._request.scope,
            started_at=self._progress.plan.started_at if self._progress else None,
            classes_total=self._progress.total if self._progress else None,
            counts=self._counts,
        )

    async def _plan(self) -> ArchiveProgress:
        plan = await workflow.execute_activity_method(
            ArchiveActivities.plan_archive,
            self._request,
            summary=f"list the classes of {self._request.scope}",
            **policies.LISTING,
        )
        return ArchiveProgress(plan=plan, total=len(plan.classes))

    async def _archive_class(self, db_name: str, class_id: str) -> None:
        step = ArchiveStep(db_name=db_name, class_id=class_id, complete_through=self._known().plan.started_at)
        for _ in range(PASSES_MAX):
            lost = self._counts.lost
            await self._pack(step)
            await self._merge(step)
            if self._counts.lost == lost:
                break
        removed = await workflow.execute_activity_method(
            ArchiveActivities.collect_class,
            step,
            summary=f"{db_name}/{class_id}: remove unnamed files",
            **policies.LISTING,
        )
        self._count(removed=removed, classes=1)

    async def _pack(self, step: ArchiveStep) -> None:
        """Pack one file after the other, to the end of the class."""
        while True:
            report = await workflow.execute_activity_method(
                ArchiveActivities.pack_class,
                step,
                summary=f"{step.db_name}/{step.class_id}: pack from {step.first or 'the beginning'}",
                **policies.LISTING,
            )
            self._counts = self._counts.packed(report)
            self._tell()
            if report.conflict:
                await workflow.sleep(CONFLICT_PAUSE)
            elif report.position is None:
                return
            step = step.model_copy(update={"first": report.position})

    async def _merge(self, step: ArchiveStep) -> None:
        """Merge until nothing need be merged."""
        while True:
            report = await workflow.execute_activity_method(
                ArchiveActivities.merge_class,
                step,
                summary=f"{step.db_name}/{step.class_id}: merge files",
                **policies.LISTING,
            )
            self._count(merged=report.files_before, lost=report.lost, conflicts=int(report.conflict))
            if report.conflict:
                await workflow.sleep(CONFLICT_PAUSE)
            elif not report.files_before:
                return

    def _count(self, **more: int) -> None:
        sums = {name: getattr(self._counts, name) + count for name, count in more.items()}
        self._counts = self._counts.model_copy(update=sums)
        self._tell()

    def _continued(self, left: list[tuple[str, str]]) -> ArchiveRequest:
        progress = self._known()
        plan = ArchivePlan(started_at=progress.plan.started_at, classes=tuple(left))
        so_far = progress.model_copy(update={"plan": plan, "counts": self._counts})
        return self._request.model_copy(update={"so_far": so_far})

    def _known(self) -> ArchiveProgress:
        if self._progress is None:
            raise RuntimeError("the run has no plan yet")
        return self._progress

    def _tell(self) -> None:
        workflow.set_current_details(archive_sheet(self.progress()))


def _scope(request: ArchiveRequest) -> list[Any]:
    wanted = {DB_NAME: request.db_name, CLASS_ID: request.class_id}
    return lacking({key: value for key, value in wanted.items() if value is not None})
