"""The workflow of a bulk command, found by the command's ID: how far it is, its signals, its cancellation."""

from collections.abc import Callable
from dataclasses import dataclass

from pydantic import TypeAdapter
from temporalio.client import (
    WorkflowExecutionDescription,
    WorkflowExecutionStatus,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.service import RPCError, RPCStatusCode

from oncelog.activities.bulk_models import BulkStage, BulkView
from oncelog.bulk.run import Progress
from oncelog.client.client import Oncelog
from oncelog.client.connection import RPC_TIMEOUT
from oncelog.domain.bulk.results import BulkResult, Counts
from oncelog.errors import CommandUnknown, InputInvalid
from oncelog.workflows.bulk import BulkCommand

_progress: TypeAdapter[Progress] = TypeAdapter(Progress)


@dataclass(frozen=True)
class BulkWorkflow:
    """The workflow of one bulk command, as Temporal described it a moment ago."""

    oncelog: Oncelog
    handle: WorkflowHandle[BulkCommand, BulkResult]
    description: WorkflowExecutionDescription

    async def view(self) -> BulkView:
        """Return how far the command is; without a worker, from its result, its memo and its last heartbeat."""
        status = self.description.status
        if status not in (WorkflowExecutionStatus.RUNNING, WorkflowExecutionStatus.COMPLETED, None):
            view = await self._view_without_worker()
            return view.model_copy(update={"ended": status.name})
        try:
            view = await self.handle.query(BulkCommand.progress, rpc_timeout=RPC_TIMEOUT)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            view = await self._view_without_worker()
        reported = await self._last_heartbeat()
        if reported is None or reported.applied + reported.rejected < view.counts.done:
            return view
        counts = view.counts.model_copy(update={"applied": reported.applied, "rejected": reported.rejected})
        return view.model_copy(update={"counts": counts, "chunks_done": reported.next_chunk - 1})

    async def signal(self, doing: str, signal: Callable[[BulkCommand], None]) -> None:
        """Send a signal; raises InputInvalid where the command has ended, StoreUnavailable."""
        self._refuse_if_ended()
        try:
            await self.handle.signal(signal, rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            raise self.oncelog.unavailable(doing, error) from error

    async def cancel(self) -> None:
        """Request the cancellation; raises InputInvalid where the command has ended, StoreUnavailable."""
        self._refuse_if_ended()
        try:
            await self.handle.cancel(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            raise self.oncelog.unavailable("cancelling", error) from error

    def _refuse_if_ended(self) -> None:
        if self.description.status is not WorkflowExecutionStatus.RUNNING:
            raise InputInvalid(f"command {self.description.id}: has come to its end already; see its status")

    async def _view_without_worker(self) -> BulkView:
        if self.description.status is WorkflowExecutionStatus.COMPLETED:
            return BulkView(stage=BulkStage.DONE, counts=(await self.handle.result()).counts)
        counts = Counts.model_validate(await self.description.memo())
        return BulkView(stage=BulkStage.RUNNING if counts.items else BulkStage.OPENING, counts=counts)

    async def _last_heartbeat(self) -> Progress | None:
        """Return the last heartbeat of the activity under way."""
        for pending in self.description.raw_description.pending_activities:
            if pending.activity_type.name == "run_chunks" and pending.heartbeat_details.payloads:
                (details,) = await self.description.data_converter.decode_wrapper(pending.heartbeat_details)
                return _progress.validate_python(details)
        return None


async def find_workflow(oncelog: Oncelog, command_id: str) -> BulkWorkflow:
    """Return the workflow of a bulk command.

    Raises CommandUnknown, StoreUnavailable, InputInvalid where it is no bulk command.
    """
    temporal = await oncelog.temporal()
    handle = temporal.get_workflow_handle_for(BulkCommand.run, command_id)
    try:
        description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            raise CommandUnknown(
                f"command {command_id}: no workflow has this ID (any more); see its status", command_id=command_id
            ) from error
        raise oncelog.unavailable("asking for a bulk command", error) from error
    if description.workflow_type != "BulkCommand":
        raise InputInvalid(f"command {command_id}: expected a bulk command, found an {description.workflow_type}")
    return BulkWorkflow(oncelog, handle, description)
