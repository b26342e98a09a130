"""The work that waits, as Temporal tells it: pending commands by age, stuck ones, and how far the archive reaches."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.api.enums.v1 import PendingWorkflowTaskState
from temporalio.api.workflowservice.v1 import DescribeWorkflowExecutionResponse
from temporalio.client import Client, WorkflowExecution
from temporalio.service import RPCError

from oncelog.bounded_gather import bounded_gather
from oncelog.client.connection import RPC_TIMEOUT, unavailable
from oncelog.client.schedules import ARCHIVE, Schedules
from oncelog.domain.stored_names import COMMAND_WORKFLOWS, DB_NAME_ATTRIBUTE
from oncelog.errors import StoreUnavailable
from oncelog.settings import Settings
from oncelog.workflows.archive import Archive
from oncelog.workflows.attributes import AGGREGATE_ID
from oncelog.workflows.command import InstanceCommand

#: Seconds: a command takes less than one where all is well. Each count holds the later ones as well.
AGES_S = (0, 10, 60, 600, 3_600, 86_400)
#: Of the newest archive runs, so many are looked at for one without damage.
ARCHIVE_RUNS_MAX = 10
#: A command that takes longer is looked at, since one on an instance takes less than a second.
STUCK_FROM_S = 60
#: So many old commands are listed, and of the oldest so many are asked why they have not ended.
STUCK_LISTED_MAX = 200
STUCK_DESCRIBED_MAX = 10


@dataclass(frozen=True)
class Backlog:
    """The work that waits in one installation.

    ``pending``: by workflow type and age in seconds, the commands that were started at least so long ago and have not
    ended. ``archived_through``: events written before it are in the archive, None where no run is known that archived
    everything. ``archive_scheduled``: since when there is a schedule of archive runs, None where there is none.
    """

    pending: Mapping[tuple[str, int], int]
    archived_through: datetime | None = None
    archive_scheduled: datetime | None = None

    def count(self, *, older_than_s: int = 0) -> int:
        """Return how many commands of all types were pending for so long, one of ``AGES_S``."""
        return sum(count for (_, age_s), count in self.pending.items() if age_s == older_than_s)


@dataclass(frozen=True)
class StuckCommand:
    """A command that was started at least ``STUCK_FROM_S`` ago and does not come along, and the reason.

    ``aggregate_id``: empty for a bulk command. ``attempts``: of the step that fails, 0 where none does.
    """

    command_id: str
    workflow_type: str
    aggregate_id: str
    started_at: datetime
    reason: str
    attempts: int = 0


@dataclass
class BacklogReader:
    """Reads the backlog of an installation from Temporal. ``read``: some five requests, none of them to a command."""

    client: Client
    settings: Settings
    _archived: dict[str, datetime | None] = field(default_factory=dict)

    async def read(self, *, now: datetime | None = None) -> Backlog:
        """Return the backlog as of ``now``, by this machine's clock; raises StoreUnavailable.

        Temporal's list of workflows is a moment late, so a command that has just ended may be counted.
        """
        try:
            pending = await self._pending(now or datetime.now(UTC))
            through = await self._archived_through()
        except RPCError as error:
            address = self.client.service_client.config.target_host
            raise unavailable(address, "asking for the backlog", error) from error
        return Backlog(pending, archived_through=through, archive_scheduled=await self._archive_scheduled())

    async def stuck(self, *, now: datetime | None = None) -> Sequence[StuckCommand]:
        """Return the oldest commands that are stuck, ``STUCK_DESCRIBED_MAX`` at most; raises StoreUnavailable.

        A class or bulk command may take hours, so one of which no step fails is left out.
        """
        started = ((now or datetime.now(UTC)) - timedelta(seconds=STUCK_FROM_S)).isoformat()
        try:
            old: list[WorkflowExecution] = []
            for workflow in COMMAND_WORKFLOWS:
                query = f"{self._of(workflow)} AND ExecutionStatus = 'Running' AND StartTime <= '{started}'"
                listed = self.client.list_workflows(query, limit=STUCK_LISTED_MAX, rpc_timeout=RPC_TIMEOUT)
                old += [execution async for execution in listed]
            old.sort(key=lambda execution: execution.start_time)
            found = await bounded_gather(self._stuck, old[:STUCK_DESCRIBED_MAX], at_once=STUCK_DESCRIBED_MAX)
        except RPCError as error:
            address = self.client.service_client.config.target_host
            raise unavailable(address, "asking for stuck commands", error) from error
        return [command for command in found if command is not None]

    async def _stuck(self, execution: WorkflowExecution) -> StuckCommand | None:
        handle = self.client.get_workflow_handle(execution.id, run_id=execution.run_id)
        described = await handle.describe(rpc_timeout=RPC_TIMEOUT)
        reason, attempts = stuck_reason(described.raw_description)
        if not reason and execution.workflow_type != InstanceCommand.__name__:
            return None
        return StuckCommand(
            command_id=execution.id,
            workflow_type=execution.workflow_type,
            aggregate_id=described.typed_search_attributes.get(AGGREGATE_ID, ""),
            started_at=execution.start_time,
            reason=reason or "no step of it is known to fail; see its workflow",
            attempts=attempts,
        )

    async def _archive_scheduled(self) -> datetime | None:
        try:
            return (await Schedules(self.client, self.settings).state(ARCHIVE)).created_at
        except StoreUnavailable:  # Temporal has just answered: it offers no schedules, or not to us
            return None

    async def _pending(self, now: datetime) -> dict[tuple[str, int], int]:
        counts = {(workflow, age_s): 0 for workflow in COMMAND_WORKFLOWS for age_s in AGES_S}
        for workflow in COMMAND_WORKFLOWS:
            for age_s in AGES_S:
                started = (now - timedelta(seconds=age_s)).isoformat()
                older = f" AND StartTime <= '{started}'" if age_s else ""
                query = f"{self._of(workflow)} AND ExecutionStatus = 'Running'{older}"
                counted = await self.client.count_workflows(query, rpc_timeout=RPC_TIMEOUT)
                counts[workflow, age_s] = counted.count
                if not counted.count:
                    break  # none is older either
        return counts

    async def _archived_through(self) -> datetime | None:
        """Return when, by S3's clock, the newest run began that archived everything without damage."""
        query = f"{self._of(Archive.__name__)} AND ExecutionStatus = 'Completed' AND {DB_NAME_ATTRIBUTE} IS NULL"
        listed = self.client.list_workflows(
            query, limit=ARCHIVE_RUNS_MAX, page_size=ARCHIVE_RUNS_MAX, rpc_timeout=RPC_TIMEOUT
        )
        runs = {run.run_id: run.id async for run in listed}
        self._archived = {run_id: through for run_id, through in self._archived.items() if run_id in runs}
        for run_id, workflow_id in runs.items():
            if run_id not in self._archived:
                self._archived[run_id] = await self._archived_by(workflow_id, run_id)
        return max((through for through in self._archived.values() if through), default=None)

    async def _archived_by(self, workflow_id: str, run_id: str) -> datetime | None:
        handle: Any = self.client.get_workflow_handle_for(Archive.run, workflow_id, run_id=run_id)
        report = await handle.result(rpc_timeout=RPC_TIMEOUT)
        if report.damaged or report.started_at is None:
            return None
        return datetime.fromisoformat(report.started_at)

    def _of(self, workflow: str) -> str:
        queue = self.settings.task_queue.replace("'", "''")
        return f"TaskQueue = '{queue}' AND WorkflowType = '{workflow}'"


def stuck_reason(described: DescribeWorkflowExecutionResponse) -> tuple[str, int]:
    """Return why a workflow does not come along, and how often that was tried; nothing where no reason is known."""
    failing = [activity for activity in described.pending_activities if activity.HasField("last_failure")]
    if failing:
        worst = max(failing, key=lambda activity: activity.attempt)
        return f"{worst.activity_type.name}: {worst.last_failure.message}", worst.attempt
    task = described.pending_workflow_task
    if task.state == PendingWorkflowTaskState.PENDING_WORKFLOW_TASK_STATE_SCHEDULED:
        return "it waits for a worker", 0
    if task.attempt > 1:
        return "its workflow task fails; see its workflow", task.attempt
    return "", 0
