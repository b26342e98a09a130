"""Consistency checks as a caller has them: start one, see how far it is, attach to it again."""

import asyncio
from collections.abc import AsyncIterator

from temporalio.client import Client, WorkflowFailureError, WorkflowQueryFailedError, WorkflowQueryRejectedError
from temporalio.service import RPCError, RPCStatusCode

from oncelog.activities.check_models import CheckReport, CheckRequest
from oncelog.client import connection
from oncelog.client.client import new_command_id
from oncelog.client.schedules import CHECK
from oncelog.errors import CommandFailed, CommandUnknown, OncelogError
from oncelog.settings import Settings
from oncelog.workflows.check import ConsistencyCheck

PROGRESS_EVERY_S = 1.0


class Checks:
    """The consistency checks of one installation."""

    def __init__(self, temporal: Client, settings: Settings) -> None:
        self._temporal = temporal
        self._settings = settings

    async def start(self, request: CheckRequest) -> str:
        """Start a check and return its workflow ID, by which it is attached to again; raises StoreUnavailable."""
        check_id = f"{self._settings.named(CHECK)}-{new_command_id()}"
        try:
            await self._temporal.start_workflow(
                ConsistencyCheck.run,
                request,
                id=check_id,
                task_queue=self._settings.task_queue,
                static_summary=f"{request.scope}, {'repairing' if request.repair else 'looking only'}",
            )
        except RPCError as error:
            raise self._error(check_id, "starting a check", error) from error
        return check_id

    async def follow(self, check_id: str) -> AsyncIterator[CheckReport]:
        """Yield how far a check has come, about once a second, and at last what it came to.

        While no worker answers, nothing is yielded. Raises CommandUnknown, CommandFailed, StoreUnavailable.
        """
        ended = asyncio.create_task(self.result(check_id))
        try:
            while not (await asyncio.wait([ended], timeout=PROGRESS_EVERY_S))[0]:
                report = await self._progress(check_id)
                if report is not None:
                    yield report
            yield await ended
        finally:
            ended.cancel()

    async def result(self, check_id: str) -> CheckReport:
        """Wait for a check to end; raises CommandUnknown, CommandFailed, StoreUnavailable."""
        try:
            return await self._temporal.get_workflow_handle_for(ConsistencyCheck.run, check_id).result()
        except WorkflowFailureError as error:
            message = f"check {check_id}: its workflow ended without a result: {error.cause}; start another one"
            raise CommandFailed(message, check_id=check_id) from error
        except RPCError as error:
            raise self._error(check_id, "waiting for a check", error) from error

    async def _progress(self, check_id: str) -> CheckReport | None:
        handle = self._temporal.get_workflow_handle_for(ConsistencyCheck.run, check_id)
        try:
            return await handle.query(ConsistencyCheck.progress, rpc_timeout=connection.RPC_TIMEOUT)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            return None  # no worker answers, or the run has just ended; its result tells what counts

    def _error(self, check_id: str, doing: str, error: RPCError) -> OncelogError:
        if error.status is RPCStatusCode.NOT_FOUND:
            return CommandUnknown(f"check {check_id}: no workflow has this ID (any more)", check_id=check_id)
        return connection.unavailable(self._temporal.service_client.config.target_host, doing, error)
