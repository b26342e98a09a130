"""All schedules of Oncelog, declared in one place; workers and ``oncelog schedules apply`` keep Temporal's as declared.

A schedule is changed in its action, times and policy only: a paused schedule stays paused.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, TypeVar

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleDescription,
    ScheduleHandle,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from oncelog.activities.check_models import CheckRequest
from oncelog.archive.run import ArchiveRequest
from oncelog.client.connection import RPC_TIMEOUT, unavailable
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.replay_runs.request import ReplayRequest
from oncelog.settings import Settings
from oncelog.workflows.archive import Archive
from oncelog.workflows.check import ConsistencyCheck
from oncelog.workflows.replay import Replay

CHECK = "consistency-check"
ARCHIVE = "archive"
REPLAY = "replay"

#: How late a run may start that was missed while Temporal was down. A later one is skipped: the next sees everything.
CATCHUP_WINDOW = timedelta(minutes=10)
#: Runs are moved by up to this part of their interval, so that installations on the same servers do not start at once.
JITTER_SHARE = 1 / 100
JITTER_MAX = timedelta(minutes=10)

_NOT_OFFERED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)

Answer = TypeVar("Answer")

_log = structlog.get_logger()


@dataclass(frozen=True)
class ScheduleDeclaration:
    """A workflow that is started every ``interval_s`` seconds; 0: no such schedule.

    One run at a time (a run that is due while the last one is open is skipped), since each run covers all that the
    skipped one would have.
    """

    name: str
    workflow: Callable[..., Awaitable[Any]]
    request: object
    interval_s: int
    summary: str

    def id(self, settings: Settings) -> str:
        """Return the schedule's ID in this installation, which is the beginning of its workflows' IDs, too."""
        return settings.named(self.name)

    def schedule(self, settings: Settings) -> Schedule:
        """Return the schedule as Temporal takes it."""
        interval = timedelta(seconds=self.interval_s)
        return Schedule(
            action=ScheduleActionStartWorkflow(
                self.workflow,
                self.request,
                id=self.id(settings),
                task_queue=settings.task_queue,
                static_summary=self.summary,
            ),
            spec=ScheduleSpec(
                intervals=[ScheduleIntervalSpec(every=interval)], jitter=min(interval * JITTER_SHARE, JITTER_MAX)
            ),
            policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCHUP_WINDOW),
        )


def declared_schedules(settings: Settings) -> list[ScheduleDeclaration]:
    """Return all schedules of an installation."""
    return [
        ScheduleDeclaration(
            name=CHECK,
            workflow=ConsistencyCheck.run,
            request=CheckRequest(repair=True, grace_s=settings.check_grace_s, probe=True),
            interval_s=settings.check_interval_s,
            summary="everything, repairing, and the invariants, on schedule",
        ),
        ScheduleDeclaration(
            name=ARCHIVE,
            workflow=Archive.run,
            request=ArchiveRequest(),
            interval_s=settings.archive_interval_s,
            summary="everything, on schedule",
        ),
        ScheduleDeclaration(
            name=REPLAY,
            workflow=Replay.run,
            request=ReplayRequest(),
            interval_s=settings.replay_interval_s,
            summary="everything, on schedule",
        ),
    ]


class ScheduleChange(StrEnum):
    """The effect of applying a declaration."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    ABSENT = "absent"


@dataclass(frozen=True)
class ScheduleState:
    """A declared schedule, and its state in Temporal. Times are UTC; ``next_run`` is None while it is paused."""

    name: str
    schedule_id: str
    interval_s: int
    exists: bool
    created_at: datetime | None = None
    paused: bool = False
    note: str | None = None
    running: bool = False
    last_run: datetime | None = None
    last_workflow_id: str | None = None
    next_run: datetime | None = None


class Schedules:
    """The declared schedules of one installation. Every method raises StoreUnavailable if Temporal gives no answer."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._settings = settings
        self._declared = {declared.name: declared for declared in declared_schedules(settings)}

    async def apply(self) -> dict[str, ScheduleChange]:
        """Create, update or delete each schedule as it is declared; safe to repeat and to run beside others."""
        return {name: await self._guarded(self._applied(declared)) for name, declared in self._declared.items()}

    async def states(self) -> Sequence[ScheduleState]:
        """Return the state of each declared schedule."""
        return [await self._guarded(self._state(declared)) for declared in self._declared.values()]

    async def state(self, name: str) -> ScheduleState:
        """Return the state of one declared schedule."""
        return await self._guarded(self._state(self._declared[name]))

    async def trigger(self, name: str) -> None:
        """Start a run now, unless one is open. Raises InputInvalid for a name that is not declared or not applied."""
        await self._asked(name, lambda handle: handle.trigger(rpc_timeout=RPC_TIMEOUT))

    async def pause(self, name: str, *, note: str) -> None:
        """Start no more runs until it is resumed. Raises InputInvalid as ``trigger`` does."""
        await self._asked(name, lambda handle: handle.pause(note=note, rpc_timeout=RPC_TIMEOUT))

    async def resume(self, name: str, *, note: str) -> None:
        """End a pause. Raises InputInvalid as ``trigger`` does."""
        await self._asked(name, lambda handle: handle.unpause(note=note, rpc_timeout=RPC_TIMEOUT))

    def _handle(self, declared: ScheduleDeclaration) -> ScheduleHandle:
        return self._client.get_schedule_handle(declared.id(self._settings))

    async def _guarded(self, request: Awaitable[Answer]) -> Answer:
        try:
            return await request
        except RPCError as error:
            raise unavailable(self._address, "keeping schedules", error) from error

    @property
    def _address(self) -> str:
        return self._client.service_client.config.target_host

    async def _applied(self, declared: ScheduleDeclaration) -> ScheduleChange:
        if not declared.interval_s:
            return await self._deleted(declared)
        schedule = declared.schedule(self._settings)
        try:
            await self._client.create_schedule(declared.id(self._settings), schedule, rpc_timeout=RPC_TIMEOUT)
        except ScheduleAlreadyRunningError:
            await self._handle(declared).update(_keeping_state(schedule), rpc_timeout=RPC_TIMEOUT)
            return ScheduleChange.UPDATED
        return ScheduleChange.CREATED

    async def _deleted(self, declared: ScheduleDeclaration) -> ScheduleChange:
        try:
            await self._handle(declared).delete(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return ScheduleChange.ABSENT
        return ScheduleChange.DELETED

    async def _state(self, declared: ScheduleDeclaration) -> ScheduleState:
        schedule_id = declared.id(self._settings)
        try:
            described = await self._handle(declared).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return ScheduleState(declared.name, schedule_id, declared.interval_s, exists=False)
        return _state_of(declared, schedule_id, described)

    async def _asked(self, name: str, action: Callable[[ScheduleHandle], Awaitable[None]]) -> None:
        declared = self._declared.get(name)
        if declared is None:
            raise InputInvalid(f"schedule {name}: expected one of {', '.join(self._declared)}, found no such schedule")
        try:
            await action(self._handle(declared))
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise unavailable(self._address, f"schedule {name}", error) from error
            remedy = "apply it with oncelog schedules apply, with an interval above 0"
            raise InputInvalid(f"schedule {name}: expected it at Temporal, found none; {remedy}") from error


async def keep_schedules(client: Client, settings: Settings) -> None:
    """Apply all declared schedules when a worker starts.

    Where Temporal offers no schedules, or not to us, that is logged and nothing more. Raises StoreUnavailable.
    """
    try:
        await Schedules(client, settings).apply()
    except StoreUnavailable as error:
        if not isinstance(error.__cause__, RPCError) or error.__cause__.status not in _NOT_OFFERED:
            raise
        _log.warning("schedules_not_offered", reason=error.message, means="start it by hand: oncelog check --repair")


def _keeping_state(schedule: Schedule) -> Callable[[ScheduleUpdateInput], ScheduleUpdate]:
    def updated(current: ScheduleUpdateInput) -> ScheduleUpdate:
        state = current.description.schedule.state
        return ScheduleUpdate(Schedule(action=schedule.action, spec=schedule.spec, policy=schedule.policy, state=state))

    return updated


def _state_of(declared: ScheduleDeclaration, schedule_id: str, described: ScheduleDescription) -> ScheduleState:
    info, state = described.info, described.schedule.state
    last = info.recent_actions[-1] if info.recent_actions else None
    return ScheduleState(
        name=declared.name,
        schedule_id=schedule_id,
        interval_s=declared.interval_s,
        exists=True,
        created_at=info.created_at,
        paused=state.paused,
        note=state.note,
        running=bool(info.running_actions),
        last_run=last.started_at if last else None,
        last_workflow_id=getattr(last.action, "workflow_id", None) if last else None,
        next_run=info.next_action_times[0] if info.next_action_times and not state.paused else None,
    )
