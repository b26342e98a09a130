"""The composition root: connects to every server, puts the command path together, and runs it until stopped."""

import asyncio
import logging
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import structlog
from temporalio import activity
from temporalio.client import Client
from temporalio.common import VersioningBehavior, WorkerDeploymentVersion
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.worker import UnsandboxedWorkflowRunner, Worker, WorkerDeploymentConfig

from oncelog import metrics
from oncelog.activities.archive import ArchiveActivities
from oncelog.activities.bulk import BulkActivities
from oncelog.activities.check import CheckActivities
from oncelog.activities.command import CommandActivities
from oncelog.activities.failures import BriefFailures, FailureInterceptor
from oncelog.activities.log_context import LogContextInterceptor
from oncelog.activities.proof import ProofActivities
from oncelog.activities.replay import ReplayActivities
from oncelog.archive.archiver import Archiver
from oncelog.client import connection
from oncelog.client.backlog import BacklogReader
from oncelog.client.backlog_metrics import BacklogMetrics, LagMetrics
from oncelog.client.schedules import keep_schedules
from oncelog.composition.checks import InvariantChecks, assemble_checks, projectors_of, sources_of
from oncelog.composition.pipeline import Pipeline, assemble
from oncelog.composition.reconcile import assemble_reconcilers
from oncelog.composition.replays import assemble_replays, signer_of
from oncelog.domain.event_schemas import check_event_schemas
from oncelog.domain.signed_note import Signer
from oncelog.errors import SettingsInvalid, StoreUnavailable
from oncelog.metrics_server import free_loopback_address, metrics_served
from oncelog.ports import Ports, RunningWorkflows
from oncelog.process import leave
from oncelog.program import Run, crash_point, run_program
from oncelog.read_models.names import ReadModelName
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.settings import Settings
from oncelog.stores.kafka.lag import KafkaLag
from oncelog.stores.opening import Stores
from oncelog.verification.reading import Sources

#: How long steps under way may take to end after SIGTERM; steps that take longer are done again elsewhere.
DRAIN_TIMEOUT = timedelta(seconds=25)
#: Steps that were handed over. Most wait, for a lease or for a server; but the SDK begins local activities first, and
#: the server counts an attempt's time from when the worker took it: a step that waits there too long is done again.
STEPS_AT_ONCE_MAX = 96
#: The server gives a workflow task to another worker after ten seconds, and its work is done again. So a worker
#: takes no more than a fourth of a core does in half of that; more wait on the server, which costs nothing.
LOCAL_STEPS_AT_ONCE_MAX = 48
#: A workflow task lasts as long as its local activity, so there are more of these: other tasks find one that is free.
WORKFLOW_TASKS_AT_ONCE_MAX = 64
#: How soon a long step learns that it is to stop.
HEARTBEAT_INTERVAL = timedelta(seconds=2)
WORKFLOWS_CACHED_MAX = 2_000

log = structlog.get_logger("oncelog.worker")


def activities_of(
    pipeline: Pipeline,
    ports: Ports,
    running: RunningWorkflows,
    *,
    checks: InvariantChecks,
    after_step: AfterStep = nothing_after,
    signer: Signer | None = None,
) -> list[Callable[..., Any]]:
    """Return all activities, for a worker to register.

    ``checks`` prove the invariants; ``signer`` signs the roots of replays.
    """
    reconcilers = assemble_reconcilers(pipeline, ports, running, after_step=after_step)
    return [
        *CommandActivities(pipeline, ports.statuses, after_step=after_step).all,
        *BulkActivities(pipeline, ports.statuses, after_step=after_step).all,
        *CheckActivities(reconcilers, ports).all,
        *ProofActivities(checks.runner, checks.reports, checks.probe).all,
        *ReplayActivities(assemble_replays(ports, signer=signer)).all,
        *ArchiveActivities(Archiver(ports), ports).all,
    ]


def new_worker(
    client: Client,
    ports: Ports,
    pipeline: Pipeline,
    settings: Settings,
    *,
    sources: Sources,
    after_step: AfterStep = nothing_after,
) -> Worker:
    """Build a worker on open ports; ``sources``: where a check of the invariants reads everything.

    Workflows run unsandboxed: the sandbox costs more than half of a worker's CPU time, and it guards against faults
    that the workflow tests, which run in it, and replays of committed histories find.
    """
    running = connection.TemporalWorkflows(client)
    web_ui = f"{settings.temporal_ui_url}/namespaces/{client.namespace}" if settings.temporal_ui_url else None
    checks = assemble_checks(sources, ports, running, settings, projectors=projectors_of(settings), web_ui=web_ui)
    return Worker(
        client,
        task_queue=settings.task_queue,
        activities=activities_of(
            pipeline, ports, running, checks=checks, after_step=after_step, signer=signer_of(settings)
        ),
        interceptors=[LogContextInterceptor(), FailureInterceptor()],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=WORKFLOWS_CACHED_MAX,
        max_concurrent_workflow_tasks=WORKFLOW_TASKS_AT_ONCE_MAX,
        max_concurrent_local_activities=LOCAL_STEPS_AT_ONCE_MAX,
        max_concurrent_activities=STEPS_AT_ONCE_MAX,
        graceful_shutdown_timeout=DRAIN_TIMEOUT,
        max_heartbeat_throttle_interval=HEARTBEAT_INTERVAL,
        deployment_config=_deployment(settings),
    )


def _deployment(settings: Settings) -> WorkerDeploymentConfig | None:
    """Return the build that this worker is, None if it takes tasks under any current build (decision 37)."""
    if settings.deployment_name is None or settings.build_id is None:
        return None
    return WorkerDeploymentConfig(
        version=WorkerDeploymentVersion(settings.deployment_name, settings.build_id),
        use_worker_versioning=True,
        default_versioning_behavior=VersioningBehavior.AUTO_UPGRADE,
    )


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Connect, create the missing resources, and work until ``stopping`` is set.

    Raises OncelogError before any work is taken: SettingsInvalid, StoreUnsafe, or one StoreUnavailable that names
    every server which cannot be reached; SchemaGap if there are events that this release could not read.
    """
    check_event_schemas()
    async with await Stores.connect(settings) as stores:
        await run_on(stores, settings, stopping)
    log.info("worker_stopped")


async def run_on(stores: Stores, settings: Settings, stopping: asyncio.Event) -> None:
    """Do as ``run`` does on stores that the caller has connected, and closes."""
    sdk_metrics = free_loopback_address() if settings.metrics_address else None
    client = await _prepared(stores, settings, sdk_metrics)
    pipeline = assemble(stores.ports, settings)
    sources = sources_of(stores, settings)
    worker = new_worker(client, stores.ports, pipeline, settings, sources=sources, after_step=crash_point(settings))
    backlog, lag = BacklogMetrics(archive_interval_s=settings.archive_interval_s), LagMetrics()
    is_ready = False
    async with AsyncExitStack() as running:
        await running.enter_async_context(
            metrics_served(
                settings.metrics_address,
                [metrics.REGISTRY, backlog.registry, lag.registry],
                setting="ONCELOG_METRICS_ADDRESS",
                ready=lambda: is_ready and not stopping.is_set(),
                sdk_address=sdk_metrics,
            )
        )
        for model in pipeline.models:
            await running.enter_async_context(model.parking.refreshed())
        if settings.metrics_address:
            await running.enter_async_context(backlog.refreshed(BacklogReader(client, settings).read))
            await running.enter_async_context(lag.refreshed(KafkaLag(settings, built_in=list(ReadModelName)).read))
        await running.enter_async_context(worker)
        is_ready = True
        log.info("worker_ready", task_queue=settings.task_queue, namespace=client.namespace, pid=os.getpid())
        await stopping.wait()
        log.info("worker_draining", at_most_s=DRAIN_TIMEOUT.total_seconds())
    await pipeline.close()


async def _prepared(stores: Stores, settings: Settings, sdk_metrics: str | None) -> Client:
    async def temporal() -> Client:
        client = await connection.connect(runtime=sdk_runtime(sdk_metrics))
        await connection.prepare(client)
        await keep_schedules(client, settings)
        return client

    client = asyncio.ensure_future(temporal())
    outcomes = await asyncio.gather(client, stores.prepare(), return_exceptions=True)
    silent = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, StoreUnavailable):
            raise outcome
    if silent:
        raise StoreUnavailable.of_all(silent)
    return client.result()


def sdk_runtime(metrics_address: str | None) -> Runtime:
    """Return the SDK's runtime: its warnings go where all log entries go, its metrics to an address of ours."""
    logging_config = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(
            logger=logging.getLogger("temporalio.core"), append_target_to_name=False, prepend_target_on_message=False
        ),
    )
    # Counters are named as Prometheus expects, and as a projector names the same ones.
    metrics_config = PrometheusConfig(metrics_address, counters_total_suffix=True) if metrics_address else None
    try:
        return Runtime(telemetry=TelemetryConfig(logging=logging_config, metrics=metrics_config))
    except (RuntimeError, ValueError) as error:
        raise SettingsInvalid(f"Temporal's metrics at {metrics_address}: {error}; start again") from error


def main(arguments: Sequence[str] | None = None, *, run: Run = run) -> int:
    """Run ``oncelog-worker``; returns its exit code, and ends the process where it is the program itself."""
    logging.getLogger("temporalio.activity").addFilter(BriefFailures())
    activity.logger.activity_info_on_message = False  # a log entry has its context in fields
    code = run_program("oncelog-worker", str(__doc__), run, arguments)
    return leave(code) if arguments is None else code


if __name__ == "__main__":
    sys.exit(main())
