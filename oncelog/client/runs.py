"""Long runs as a caller has them, consistency checks and replays: start one, see how far it is, attach to it again."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, ClassVar, Generic, TypeVar

from temporalio.client import (
    Client,
    WorkflowFailureError,
    WorkflowHandle,
    WorkflowQueryFailedError,
    WorkflowQueryRejectedError,
)
from temporalio.exceptions import ApplicationError, FailureError
from temporalio.service import RPCError, RPCStatusCode

from oncelog.activities.check_models import CheckReport, CheckRequest
from oncelog.archive.run import ArchiveReport, ArchiveRequest
from oncelog.client import connection
from oncelog.client.client import new_command_id
from oncelog.client.schedules import ARCHIVE, CHECK, REPLAY
from oncelog.errors import CommandFailed, CommandUnknown, InputInvalid, OncelogError
from oncelog.replay_runs.request import ReplayReport, ReplayRequest
from oncelog.settings import Settings
from oncelog.workflows.archive import Archive
from oncelog.workflows.check import ConsistencyCheck
from oncelog.workflows.replay import Replay

PROGRESS_EVERY_S = 1.0

Request = TypeVar("Request")
Report = TypeVar("Report")


class Runs(ABC, Generic[Request, Report]):
    """The runs of one workflow type in one installation.

    ``noun``: the name of a run in messages; ``prefix``: the beginning of its workflow's ID.
    """

    noun: ClassVar[str]
    prefix: ClassVar[str]
    workflow: ClassVar[Callable[..., Coroutine[Any, Any, Any]]]
    progress: ClassVar[Callable[..., Any]]

    def __init__(self, temporal: Client, settings: Settings) -> None:
        self._temporal = temporal
        self._settings = settings

    @abstractmethod
    def summary(self, request: Request) -> str:
        """Return the request in words, for the Web UI."""

    async def start(self, request: Request) -> str:
        """Start a run and return its workflow ID, by which it is attached to again; raises StoreUnavailable."""
        run_id = f"{self._settings.named(self.prefix)}-{new_command_id()}"
        try:
            await self._temporal.start_workflow(
                self.workflow,
                request,
                id=run_id,
                task_queue=self._settings.task_queue,
                static_summary=self.summary(request),
            )
        except RPCError as error:
            raise self._error(run_id, f"starting a {self.noun}", error) from error
        return run_id

    async def follow(self, run_id: str) -> AsyncIterator[Report]:
        """Yield how far a run has come, about once a second, and at last its result.

        While no worker answers, nothing is yielded. Raises CommandUnknown, CommandFailed, StoreUnavailable.
        """
        ended = asyncio.create_task(self.result(run_id))
        try:
            while not (await asyncio.wait([ended], timeout=PROGRESS_EVERY_S))[0]:
                report = await self._progress(run_id)
                if report is not None:
                    yield report
            yield await ended
        finally:
            ended.cancel()

    async def result(self, run_id: str) -> Report:
        """Wait for a run to end; raises InputInvalid, CommandUnknown, CommandFailed, StoreUnavailable."""
        try:
            report: Report = await self.handle(run_id).result()
        except WorkflowFailureError as error:
            cause = _innermost(error)
            if isinstance(cause, ApplicationError) and cause.type == InputInvalid.__name__:
                raise InputInvalid(f"{self.noun} {run_id}: {cause.message}", run_id=run_id) from error
            message = f"{self.noun} {run_id}: its workflow ended without a result: {cause}; start another one"
            raise CommandFailed(message, run_id=run_id) from error
        except RPCError as error:
            raise self._error(run_id, f"waiting for a {self.noun}", error) from error
        return report

    def handle(self, run_id: str) -> WorkflowHandle[Any, Any]:
        """Return the run's workflow."""
        return self._temporal.get_workflow_handle_for(self.workflow, run_id)

    async def _progress(self, run_id: str) -> Report | None:
        try:
            report: Report = await self.handle(run_id).query(self.progress, rpc_timeout=connection.RPC_TIMEOUT)
        except (RPCError, WorkflowQueryFailedError, WorkflowQueryRejectedError):
            return None  # no worker answers, or the run has just ended; its result counts then
        return report

    def _error(self, run_id: str, doing: str, error: RPCError) -> OncelogError:
        if error.status is RPCStatusCode.NOT_FOUND:
            return CommandUnknown(f"{self.noun} {run_id}: no workflow has this ID (any more)", run_id=run_id)
        return connection.unavailable(self._temporal.service_client.config.target_host, doing, error)


class Checks(Runs[CheckRequest, CheckReport]):
    """The consistency checks of one installation."""

    noun = "check"
    prefix = CHECK
    workflow = ConsistencyCheck.run
    progress = ConsistencyCheck.progress

    def summary(self, request: CheckRequest) -> str:
        mode = f", invariants {request.mode}" if request.invariants else ""
        return f"{request.scope}, {'repairing' if request.repair else 'looking only'}{mode}"


class Archives(Runs[ArchiveRequest, ArchiveReport]):
    """The archive runs of one installation."""

    noun = "archive run"
    prefix = ARCHIVE
    workflow = Archive.run
    progress = Archive.progress

    def summary(self, request: ArchiveRequest) -> str:
        return request.scope


class Replays(Runs[ReplayRequest, ReplayReport]):
    """The replays of one installation."""

    noun = "replay"
    prefix = REPLAY
    workflow = Replay.run
    progress = Replay.progress

    def summary(self, request: ReplayRequest) -> str:
        return f"{request.mode} of {request.scope.name}{', only planned' if request.dry_run else ''}"

    async def pause(self, run_id: str) -> None:
        """Let a replay begin no more partitions; raises CommandUnknown, StoreUnavailable."""
        await self._signal(run_id, Replay.pause, "pausing a replay")

    async def resume(self, run_id: str) -> None:
        """End a pause; raises CommandUnknown, StoreUnavailable."""
        await self._signal(run_id, Replay.resume, "resuming a replay")

    async def cancel(self, run_id: str) -> None:
        """End a replay where it is; its files stay. Raises CommandUnknown, StoreUnavailable."""
        try:
            await self.handle(run_id).cancel(rpc_timeout=connection.RPC_TIMEOUT)
        except RPCError as error:
            raise self._error(run_id, "cancelling a replay", error) from error

    async def _signal(self, run_id: str, signal: Callable[..., Any], doing: str) -> None:
        try:
            await self.handle(run_id).signal(signal, rpc_timeout=connection.RPC_TIMEOUT)
        except RPCError as error:
            raise self._error(run_id, doing, error) from error


def _innermost(error: WorkflowFailureError) -> BaseException:
    """Return the first cause: an activity's own error, which its workflow's failure wraps."""
    cause: BaseException = error
    while isinstance(cause, WorkflowFailureError | FailureError) and cause.cause is not None:
        cause = cause.cause
    return cause
