"""The second half of a consistency check: facts are collected, parts are checked by any number of workers, a probe goes
the whole way, and all of it ends in a report.

A task or a part is the unit of work: pause and continue-as-new happen between them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.exceptions import ActivityError, ChildWorkflowError
from temporalio.workflow import ParentClosePolicy

with workflow.unsafe.imports_passed_through():
    from oncelog.activities.proof import ProofActivities
    from oncelog.activities.proof_models import ProbeStep, ProofPlanned, ProofProgress, ProofStep
    from oncelog.checks.probe import PROBE, probe_command
    from oncelog.checks.report import InvariantsReport
    from oncelog.checks.scope import ProofScope
    from oncelog.checks.step_report import StepReport
    from oncelog.domain.results import CommandResult, RejectionCode
    from oncelog.workflows import policies
    from oncelog.workflows.numbered_steps import NumberedSteps

PROBE_TIMEOUT = timedelta(seconds=60)


class Proving:
    """Proves the invariants, for a workflow. ``progress`` is None until the plan is made.

    ``goes_on``: called between steps where the history has grown long; it continues the workflow as a new one.
    """

    def __init__(
        self,
        scope: ProofScope,
        *,
        parallel: int,
        has_probe: bool,
        repair: bool,
        progress: ProofProgress | None,
        told: Callable[[], None],
        goes_on: Callable[[], None],
    ) -> None:
        self._scope = scope
        self._parallel = parallel
        self._has_probe = has_probe
        self._repair = repair
        self._told = told
        self._goes_on = goes_on
        self.progress = progress
        self.paused = False

    async def run(self) -> InvariantsReport:
        """Go through all steps that are left."""
        if self.progress is None:
            planned = await self._plan()
            self.progress = ProofProgress(planned=planned, started_at=workflow.now())
            self._told()
            if self._has_probe:
                await self._probe()
        totals = self._known.planned.totals
        await self._steps(ProofActivities.collect_facts, "next_task", totals.tasks)
        await self._steps(ProofActivities.prove_part, "next_part", totals.parts)
        return await workflow.execute_activity_method(
            ProofActivities.end_proof,
            ProofStep(check_id=_check_id(), scope=self._scope, progress=self._known),
            start_to_close_timeout=policies.COUNT_TIMEOUT,
            heartbeat_timeout=policies.RECONCILE_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary="add up the report",
        )

    @property
    def _known(self) -> ProofProgress:
        if self.progress is None:
            raise RuntimeError("the check has no plan yet")
        return self.progress

    async def _plan(self) -> ProofPlanned:
        return await workflow.execute_activity_method(
            ProofActivities.plan_proof,
            ProofStep(check_id=_check_id(), scope=self._scope),
            start_to_close_timeout=policies.COUNT_TIMEOUT,
            heartbeat_timeout=policies.RECONCILE_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"plan the check of {self._scope.name}",
        )

    async def _steps(self, method: Callable[..., Awaitable[StepReport]], name: str, total: int) -> None:
        """Carry out the tasks or parts that are left, and add up their reports."""
        ended = "tasks" if name == "next_task" else "parts"

        def begun(number: int) -> None:
            self.progress = self._known.model_copy(update={name: number})

        def taken(report: StepReport) -> None:
            known = self._known
            counted = {"so_far": (known.so_far + report).shortened(20), ended: getattr(known, ended) + 1}
            self.progress = known.model_copy(update=counted)

        await NumberedSteps(
            lambda number: self._execute(method, number, total),
            self._parallel,
            begun=begun,
            taken=taken,
            shown=self._told,
            paused=lambda: self.paused,
            go_on=self._goes_on,
        ).run(getattr(self._known, name), total)

    async def _execute(self, method: Any, number: int, total: int) -> StepReport:
        report: StepReport = await workflow.execute_activity_method(
            method,
            ProofStep(check_id=_check_id(), scope=self._scope, number=number, repair=self._repair),
            start_to_close_timeout=policies.REINDEX_TIMEOUT,
            heartbeat_timeout=policies.REPLAY_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary=f"{number + 1} of {total}",
        )
        return report

    async def _probe(self) -> None:
        """Send a command of our own the whole way, follow its status meanwhile, and read with its token."""
        command_id = f"{_check_id()}-probe-{workflow.info().run_id[:8]}"
        reports = [StepReport()]
        ended = await self._send_probe(command_id, reports, first=False)
        rejection = ended.rejection if isinstance(ended, CommandResult) else None
        if rejection is not None and rejection.code is RejectionCode.INSTANCE_NOT_FOUND:
            command_id, reports = f"{command_id}-first", [StepReport()]
            ended = await self._send_probe(command_id, reports, first=True)
        probe = ProbeStep(command_id=command_id, aggregate_id=str(PROBE))
        if isinstance(ended, str):
            probe = probe.model_copy(update={"problem": ended})
        elif ended.rejection is not None:
            probe = probe.model_copy(update={"problem": f"{ended.rejection.code}: {ended.rejection.message}"})
        else:
            found = {"consistency_token": ended.consistency_token, "sequence_number": ended.sequence_number}
            probe = probe.model_copy(update=found)
        read = await workflow.execute_activity_method(
            ProofActivities.read_probe,
            probe,
            start_to_close_timeout=policies.RECONCILE_TIMEOUT,
            heartbeat_timeout=policies.RECONCILE_HEARTBEAT_TIMEOUT,
            retry_policy=policies.UNTIL_DONE,
            summary="read with the probe's token",
        )
        self.progress = self._known.model_copy(update={"probe": read + reports[0], "probes": 1})
        self._told()

    async def _send_probe(self, command_id: str, reports: list[StepReport], *, first: bool) -> CommandResult | str:
        """Return the probe's result, or why there is none; findings about its status go into ``reports``."""
        command = probe_command(command_id, checked_at=workflow.now().isoformat(), first=first)
        child = await workflow.start_child_workflow(
            "InstanceCommand",
            command,
            id=command_id,
            result_type=CommandResult,
            execution_timeout=PROBE_TIMEOUT,
            parent_close_policy=ParentClosePolicy.ABANDON,
            static_summary="a probe of the consistency check",
        )
        watching = asyncio.create_task(
            workflow.execute_activity_method(
                ProofActivities.watch_probe,
                ProbeStep(command_id=command_id, aggregate_id=str(PROBE)),
                start_to_close_timeout=policies.RECONCILE_TIMEOUT,
                heartbeat_timeout=policies.RECONCILE_HEARTBEAT_TIMEOUT,
                retry_policy=policies.UNTIL_DONE,
                summary="watch the probe's status",
            )
        )
        try:
            result: CommandResult = await child
        except ChildWorkflowError as error:
            result_or_problem: CommandResult | str = f"no result: {error.cause or error}"
        else:
            result_or_problem = result
        try:
            reports[0] = await watching
        except ActivityError as error:
            result_or_problem = f"its status could not be watched: {error.cause or error}"
        return result_or_problem


def _check_id() -> str:
    return workflow.info().workflow_id
