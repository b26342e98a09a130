"""The schedule of consistency checks, which every worker keeps as its settings say."""

from datetime import timedelta

import structlog
from temporalio.client import (
    Client,
    Schedule,
    ScheduleActionStartWorkflow,
    ScheduleAlreadyRunningError,
    ScheduleIntervalSpec,
    ScheduleOverlapPolicy,
    SchedulePolicy,
    ScheduleSpec,
    ScheduleUpdate,
    ScheduleUpdateInput,
)
from temporalio.service import RPCError, RPCStatusCode

from oncelog.activities.check_models import CheckRequest
from oncelog.client.connection import RPC_TIMEOUT, unavailable
from oncelog.settings import Settings
from oncelog.workflows.check import ConsistencyCheck

CATCHUP_WINDOW = timedelta(minutes=10)
_NOT_OFFERED = (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED)

_log = structlog.get_logger()


def schedule_id(settings: Settings) -> str:
    """Return the schedule's ID, which is the beginning of its workflows' IDs, too."""
    return settings.named("consistency-check")


async def keep_check_scheduled(client: Client, settings: Settings) -> None:
    """Create the schedule, or bring it up to date: a paused one stays paused. With an interval of 0 it is deleted.

    Where Temporal offers no schedules, or not to us, that is logged and nothing more. Raises StoreUnavailable.
    """
    try:
        await (_create_or_update if settings.check_interval_s else _delete)(client, settings)
    except RPCError as error:
        if error.status not in _NOT_OFFERED:
            address = client.service_client.config.target_host
            raise unavailable(address, "scheduling the consistency check", error) from error
        _log.warning("no_scheduled_check", reason=error.message, means="start it by hand: oncelog check --repair")


async def _create_or_update(client: Client, settings: Settings) -> None:
    wanted = _schedule(settings)
    try:
        await client.create_schedule(schedule_id(settings), wanted, rpc_timeout=RPC_TIMEOUT)
    except ScheduleAlreadyRunningError:

        def updated(current: ScheduleUpdateInput) -> ScheduleUpdate:
            return ScheduleUpdate(
                Schedule(
                    action=wanted.action,
                    spec=wanted.spec,
                    policy=wanted.policy,
                    state=current.description.schedule.state,
                )
            )

        await client.get_schedule_handle(schedule_id(settings)).update(updated, rpc_timeout=RPC_TIMEOUT)


async def _delete(client: Client, settings: Settings) -> None:
    try:
        await client.get_schedule_handle(schedule_id(settings)).delete(rpc_timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:
            raise


def _schedule(settings: Settings) -> Schedule:
    request = CheckRequest(repair=True, grace_s=settings.check_grace_s)
    return Schedule(
        action=ScheduleActionStartWorkflow(
            ConsistencyCheck.run,
            request,
            id=schedule_id(settings),
            task_queue=settings.task_queue,
            static_summary="everything, repairing, on schedule",
        ),
        spec=ScheduleSpec(intervals=[ScheduleIntervalSpec(every=timedelta(seconds=settings.check_interval_s))]),
        policy=SchedulePolicy(overlap=ScheduleOverlapPolicy.SKIP, catchup_window=CATCHUP_WINDOW),
    )
