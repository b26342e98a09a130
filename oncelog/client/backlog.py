"""The work that waits, as Temporal tells it: pending commands by age, and how far the archive reaches."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from oncelog.client.connection import RPC_TIMEOUT, unavailable
from oncelog.client.schedules import ARCHIVE, Schedules
from oncelog.domain.stored_names import COMMAND_WORKFLOWS, DB_NAME_ATTRIBUTE
from oncelog.errors import StoreUnavailable
from oncelog.settings import Settings
from oncelog.workflows.archive import Archive

#: Seconds: a command takes less than one where all is well. Each count holds the later ones as well.
AGES_S = (0, 10, 60, 600, 3_600, 86_400)
#: Of the newest archive runs, so many are looked at for one without damage.
ARCHIVE_RUNS_MAX = 10


@dataclass(frozen=True)
class Backlog:
    """The work that waits in one installation.

    ``pending``: by workflow type and age in seconds, the commands that were started at least so long ago and have not
    ended. ``archived_through``: what was written before it is in the archive, None where no run is known that archived
    everything. ``archive_scheduled``: since when there is a schedule of archive runs, None where there is none.
    """

    pending: Mapping[tuple[str, int], int]
    archived_through: datetime | None = None
    archive_scheduled: datetime | None = None

    def count(self, *, older_than_s: int = 0) -> int:
        """Return how many commands of all types were pending for so long, one of ``AGES_S``."""
        return sum(count for (_, age_s), count in self.pending.items() if age_s == older_than_s)


@dataclass
class BacklogReader:
    """Reads the backlog of an installation from Temporal: some five requests, none of them to a command."""

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
