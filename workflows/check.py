"""The story of a consistency check: the incomplete work of terminated workflows is found, and finished if so asked.

Then the invariants are proven.
"""

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from temporalio import workflow
from temporalio.common import RawValue

with workflow.unsafe.imports_passed_through():
    from oncelog.activities.check import CheckActivities
    from oncelog.activities.check_models import (
        CheckPhase,
        CheckProgress,
        CheckReport,
        CheckRequest,
        ReconcileRequest,
        outcome_of,
    )
    from oncelog.checks.report import InvariantsReport
    from oncelog.reconcile.summary import ReconcileSummary
    from oncelog.workflows import policies
    from oncelog.workflows.arguments import accepted
    from oncelog.workflows.attributes import CHECK_VERDICT, CLASS_ID, DB_NAME, lacking
    from oncelog.workflows.details import check_sheet
    from oncelog.workflows.proving import Proving

if TYPE_CHECKING:
    CheckArgument = CheckRequest | dict[str, Any] | None
else:
    CheckArgument = RawValue  # arrives undecoded; see InstanceCommand

_RECONCILERS = {
    CheckPhase.COMMANDS: (CheckActivities.sweep_commands, policies.RECONCILE_TIMEOUT),
    CheckPhase.CLASSES: (CheckActivities.sweep_classes, policies.REINDEX_TIMEOUT),
    CheckPhase.AGGREGATES: (CheckActivities.sweep_aggregates, policies.RECONCILE_TIMEOUT),
}
_FOLLOWING = dict(pairwise(CheckPhase))


@workflow.defn
class ConsistencyCheck:
    """Reconciles commands, classes and aggregates, in this order and page by page; then proves the invariants.

    Started by a schedule, or by hand under any workflow ID.
    """

    def __init__(self) -> None:
        self._request = CheckRequest()
        self._progress: CheckProgress | None = None
        self._aggregates_total: int | None = None
        self._proving: Proving | None = None
        self._invariants: InvariantsReport | None = None

    @workflow.run
    async def run(self, request: CheckArgument = None) -> CheckReport:
        self._request = accepted(request, CheckRequest, noun="check")
        workflow.upsert_search_attributes(_scope(self._request))
        self._progress = self._request.so_far or await self._begin()
        self._aggregates_total = self._progress.aggregates_total
        counting = asyncio.create_task(self._count(self._progress)) if self._is_to_count() else None
        while self._progress.phase not in (CheckPhase.INVARIANTS, CheckPhase.DONE):
            self._show()
            if workflow.info().is_continue_as_new_suggested():
                self._go_on()
            self._progress = await self._reconcile(self._progress)
        if self._progress.proof is None:
            await self._end_reconciliation(self._progress)
        if counting is not None:
            counting.cancel()  # its count is of no use once all was looked at
        if self._progress.phase is CheckPhase.INVARIANTS:
            await self._prove(self._progress)
        self._show()
        return self.progress()

    @workflow.signal
    def pause(self) -> None:
        """Begin no more parts of the invariants until it is resumed."""
        if self._proving is not None:
            self._proving.paused = True
            self._show()

    @workflow.signal
    def resume(self) -> None:
        """End a pause."""
        if self._proving is not None:
            self._proving.paused = False
            self._show()

    async def _end_reconciliation(self, progress: CheckProgress) -> None:
        await workflow.execute_activity_method(
            CheckActivities.end_check,
            progress,
            start_to_close_timeout=policies.STEP_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary="keep how far the log is whole",
        )

    async def _prove(self, progress: CheckProgress) -> None:
        """Prove the invariants, and set the search attribute by which a violation is found."""
        self._proving = Proving(
            self._request.proof_scope,
            parallel=self._request.parallel,
            has_probe=self._request.probe,
            repair=self._request.repair,
            progress=progress.proof,
            told=self._show,
            goes_on=self._go_on,
        )
        self._show()
        self._invariants = await self._proving.run()
        workflow.upsert_search_attributes([CHECK_VERDICT.value_set(self._invariants.verdict)])
        self._progress = progress.model_copy(update={"phase": CheckPhase.DONE, "proof": self._proving.progress})

    def _go_on(self) -> None:
        """Go on in a run of its own."""
        known = {"aggregates_total": self._aggregates_total, "proof": self._proving and self._proving.progress}
        so_far = self._progress and self._progress.model_copy(update=known)
        workflow.continue_as_new(self._request.model_copy(update={"so_far": so_far}))

    @workflow.query
    def progress(self) -> CheckReport:
        """Answer with the report so far."""
        tally = self._progress.tally if self._progress else ReconcileSummary()
        return CheckReport(
            outcome=outcome_of(tally, repair=self._request.repair, repaired=_repaired(self._invariants)),
            phase=self._progress.phase if self._progress else CheckPhase.COMMANDS,
            repair=self._request.repair,
            db_name=self._request.db_name,
            class_id=self._request.class_id,
            started_at=self._progress.started_at if self._progress else None,
            tally=tally,
            aggregates_total=self._aggregates_total,
            invariants=self._invariants,
            proof=self._proving.progress if self._proving and self._invariants is None else None,
            paused=bool(self._proving and self._proving.paused),
        )

    def _is_to_count(self) -> bool:
        return self._request.count and self._aggregates_total is None

    async def _count(self, progress: CheckProgress) -> None:
        """Learn how many aggregates there are, beside the reconciliation."""
        report = await workflow.execute_activity_method(
            CheckActivities.count_aggregates,
            ReconcileRequest(terms=progress.terms, position=""),
            start_to_close_timeout=policies.COUNT_TIMEOUT,
            heartbeat_timeout=policies.RECONCILE_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary="count the aggregates",
        )
        self._aggregates_total = report.tally.aggregates

    async def _begin(self) -> CheckProgress:
        return await workflow.execute_activity_method(
            CheckActivities.begin_check,
            self._request,
            start_to_close_timeout=policies.STEP_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"begin to check {self._request.scope}",
        )

    async def _reconcile(self, progress: CheckProgress) -> CheckProgress:
        """Go through some pages, or to the end of this phase."""
        activity, timeout = _RECONCILERS[progress.phase]
        report = await workflow.execute_activity_method(
            activity,
            ReconcileRequest(terms=progress.terms, position=progress.position),
            start_to_close_timeout=timeout,
            heartbeat_timeout=policies.RECONCILE_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"{progress.phase.lower()} after {progress.position or 'the beginning'}",
        )
        return progress.model_copy(
            update={
                "phase": self._after(progress.phase) if report.position is None else progress.phase,
                "position": report.position or "",
                "tally": progress.tally + report.tally,
            }
        )

    def _show(self) -> None:
        workflow.set_current_details(check_sheet(self._request.scope, self.progress()))

    def _after(self, phase: CheckPhase) -> CheckPhase:
        """Return the next phase; a check of a release that lacked one goes on without."""
        following = _FOLLOWING[phase]
        if following is CheckPhase.CLASSES and not workflow.patched("sweep-classes"):
            return CheckPhase.AGGREGATES
        if following is CheckPhase.INVARIANTS:
            return following if self._request.invariants and workflow.patched("invariants") else CheckPhase.DONE
        return following


def _repaired(invariants: InvariantsReport | None) -> int:
    return sum(section.repaired for section in invariants.sections) if invariants else 0


def _scope(request: CheckRequest) -> list[Any]:
    wanted = {DB_NAME: request.db_name, CLASS_ID: request.class_id}
    return lacking({key: value for key, value in wanted.items() if value is not None})
