"""The composition root: connects to every server, puts the command path together, and runs it until told to stop."""

import asyncio
import gc
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import structlog
from temporalio.client import Client
from temporalio.runtime import PrometheusConfig, Runtime, TelemetryConfig
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from activities.check import CheckActivities
from activities.command import CommandActivities
from activities.failures import BriefFailures, FailureInterceptor
from factline import connection
from factline.domain.event_schemas import check_event_schemas
from factline.errors import FactlineError, SettingsInvalid, StoreUnavailable
from factline.pipeline.assembly import Pipeline, assemble
from factline.pipeline.sweeping.assembly import assemble_sweeps
from factline.pipeline.trace import AfterStep, nothing_after
from factline.ports import Ports
from factline.scheduling import keep_check_scheduled
from factline.settings import Settings
from factline.stores.opening import Stores

#: How long steps under way may take to end after SIGTERM; what has not ended by then is done again elsewhere.
DRAIN_TIMEOUT = timedelta(seconds=25)
COMMANDS_AT_ONCE_MAX = 200
WORKFLOWS_CACHED_MAX = 2_000

#: Container objects made since the last collection, and younger collections before an older one; see decision 12.
GARBAGE_THRESHOLDS = (10_000, 20, 20)

EXIT_FINE, EXIT_USAGE, EXIT_UNREACHABLE = 0, 2, 3

#: Works until the event is set; fault tests have one that does the same on stores they have meddled with.
Run = Callable[[Settings, asyncio.Event], Awaitable[None]]

log = structlog.get_logger("factline.worker")


def new_worker(
    client: Client, ports: Ports, pipeline: Pipeline, settings: Settings, *, after_step: AfterStep = nothing_after
) -> Worker:
    """Build a worker on open ports.

    Workflows run unsandboxed: the sandbox costs more than half of a worker's CPU time, and what it guards against is
    found by the workflow tests, which run in it, and by replaying committed histories.
    """
    commands = CommandActivities(pipeline, ports.statuses, after_step=after_step)
    sweeps = assemble_sweeps(pipeline, ports, connection.TemporalWorkflows(client), after_step=after_step)
    return Worker(
        client,
        task_queue=settings.task_queue,
        activities=[*commands.all, *CheckActivities(sweeps, ports).all],
        interceptors=[FailureInterceptor()],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=WORKFLOWS_CACHED_MAX,
        max_concurrent_local_activities=COMMANDS_AT_ONCE_MAX,
        max_concurrent_activities=COMMANDS_AT_ONCE_MAX,
        graceful_shutdown_timeout=DRAIN_TIMEOUT,
    )


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Connect, make what is missing, and work until ``stopping`` is set.

    Raises FactlineError before any work is taken: SettingsInvalid, StoreUnsafe, or one StoreUnavailable that names
    every server which cannot be reached; SchemaGap if there are events that this release could not read.
    """
    check_event_schemas()
    async with await Stores.connect(settings) as stores:
        await run_on(stores, settings, stopping)
    log.info("worker_stopped")


async def run_on(stores: Stores, settings: Settings, stopping: asyncio.Event) -> None:
    """Do as ``run`` does on stores that the caller has connected, and closes."""
    client = await _prepared(stores, settings)
    pipeline = assemble(stores.ports, settings)
    worker = new_worker(client, stores.ports, pipeline, settings, after_step=_crash_point(settings))
    async with worker:
        log.info("worker_ready", task_queue=settings.task_queue, namespace=client.namespace, pid=os.getpid())
        await stopping.wait()
        log.info("worker_draining", at_most_s=DRAIN_TIMEOUT.total_seconds())
    await pipeline.documents.close()


async def _prepared(stores: Stores, settings: Settings) -> Client:
    async def temporal() -> Client:
        client = await connection.connect(runtime=_runtime(settings))
        await connection.prepare(client)
        await keep_check_scheduled(client, settings)
        return client

    outcomes = await asyncio.gather(temporal(), stores.prepare(), return_exceptions=True)
    silent = [outcome for outcome in outcomes if isinstance(outcome, StoreUnavailable)]
    for outcome in outcomes:
        if isinstance(outcome, BaseException) and not isinstance(outcome, StoreUnavailable):
            raise outcome
    if silent:
        raise StoreUnavailable.of_all(silent)
    client, _ = outcomes
    assert isinstance(client, Client)
    return client


def _runtime(settings: Settings) -> Runtime | None:
    if settings.metrics_address is None:
        return None
    try:
        return Runtime(telemetry=TelemetryConfig(metrics=PrometheusConfig(bind_address=settings.metrics_address)))
    except (RuntimeError, ValueError) as error:
        raise SettingsInvalid(f"FACTLINE_METRICS_ADDRESS {settings.metrics_address}: {error}") from error


def _crash_point(settings: Settings) -> AfterStep:
    """Return what ends this very process after the step that a fault test named, as ``kill -9`` would."""
    if settings.crash_after is None:
        return nothing_after
    doomed, _, nth = settings.crash_after.partition(":")
    left = int(nth or 1)

    async def crash(step: str) -> None:
        nonlocal left
        left -= step == doomed
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    return crash


async def _until_told(settings: Settings, run: Run) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await run(settings, stopping)


def collect_garbage_rarely() -> None:
    """Let this whole process look for garbage less often than is usual, and never among what it has loaded so far.

    A worker keeps thousands of states and has hundreds of events in hand: looking through them for cycles, of which
    it makes few, took a third of the CPU time of many items at once. A matter of a program, not of a library.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


def main(arguments: Sequence[str] | None = None, *, run: Run = run) -> int:
    """Run ``factline-worker``; returns 0 after an orderly end, 2 for bad settings, 3 for a server out of reach."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given:
        asked_help = given in (["--help"], ["-h"])
        print(f"usage: factline-worker\n\n{__doc__}\nSettings come from the environment: docs/settings.md.")  # noqa: T201
        return EXIT_FINE if asked_help else EXIT_USAGE
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    logging.getLogger("temporalio.activity").addFilter(BriefFailures())
    collect_garbage_rarely()
    try:
        asyncio.run(_until_told(Settings.from_environment(), run))
    except StoreUnavailable as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        return EXIT_UNREACHABLE
    except FactlineError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    return EXIT_FINE


if __name__ == "__main__":
    sys.exit(main())
