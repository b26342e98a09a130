"""The contenders on Temporal: the command path, and its floor. Client and worker share one process.

Each is an asynchronous context manager that gives a ``Contender``. Opened and closed anew for every block of load, so
that no two ever run at the same time.
"""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from temporalio.client import Client, WorkflowHistory
from temporalio.common import WorkflowIDConflictPolicy, WorkflowIDReusePolicy
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from benchmarks.commands import creation
from benchmarks.floor import Floor, FloorActivities, FloorOfSteps
from oncelog.client import connection
from oncelog.client.client import Oncelog
from oncelog.composition.checks import sources_of
from oncelog.composition.pipeline import assemble
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from oncelog.worker import LOCAL_STEPS_AT_ONCE_MAX, STEPS_AT_ONCE_MAX, WORKFLOWS_CACHED_MAX, new_worker


@dataclass
class Contender:
    """``ask`` does one command and returns when it is complete. ``requests``: the stores' requests so far."""

    ask: Callable[[], Awaitable[None]]
    requests: Callable[[], Counter[str]] = Counter
    history: Callable[[], Awaitable[WorkflowHistory]] | None = None


Opening = Callable[[Settings], AbstractAsyncContextManager[Contender]]


@dataclass(frozen=True)
class Service:
    """A worker that works, and a client of it."""

    client: Oncelog
    stores: Stores
    temporal: Client


@asynccontextmanager
async def service(settings: Settings, *, eager: bool) -> AsyncIterator[Service]:
    """The command path as it is. ``eager``: the client submits through its own worker's connection."""
    temporal = await connection.connect()
    starting = temporal if eager else await connection.connect()
    async with await Stores.connect(settings) as stores:
        pipeline = assemble(stores.ports, settings)
        client = Oncelog(stores.ports, settings, temporal=starting)
        sources = sources_of(stores, settings)
        async with new_worker(temporal, stores.ports, pipeline, settings, sources=sources):
            yield Service(client, stores, temporal)
        await pipeline.close()


@asynccontextmanager
async def oncelog(settings: Settings, *, eager: bool, early: bool = False) -> AsyncIterator[Contender]:
    """Creations by such a service.

    ``early``: the answer is awaited that comes once the event is persisted; the rest of the command follows it.
    """
    last = ""
    async with service(settings, eager=eager) as ours:

        async def ask() -> None:
            nonlocal last
            command = creation()
            last = command.command_id
            result = await ours.client.submit(command, early=early)
            assert result.sequence_number == 1, result

        async def history() -> WorkflowHistory:
            return await ours.temporal.get_workflow_handle(last).fetch_history()

        yield Contender(ask, lambda: asked(ours.stores), history)


@asynccontextmanager
async def floor(
    settings: Settings, *, eager: bool, workflow: type[Floor | FloorOfSteps] = Floor
) -> AsyncIterator[Contender]:
    """Steps that do nothing, on the same server with the same settings: the cost of Temporal itself."""
    temporal = await connection.connect()
    starting: Client = temporal if eager else await connection.connect()
    task_queue = settings.named("floor")
    last = ""

    async def ask() -> None:
        nonlocal last
        command = creation()
        last = command.command_id
        await starting.execute_workflow(
            workflow.__name__,
            command,
            id=command.command_id,
            task_queue=task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
            id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
            request_eager_start=eager,
        )

    async def history() -> WorkflowHistory:
        return await temporal.get_workflow_handle(last).fetch_history()

    activities = FloorActivities()
    async with Worker(
        temporal,
        task_queue=task_queue,
        workflows=[workflow],
        activities=[activities.first, activities.second, activities.step],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=WORKFLOWS_CACHED_MAX,
        max_concurrent_local_activities=LOCAL_STEPS_AT_ONCE_MAX,
        max_concurrent_activities=STEPS_AT_ONCE_MAX,
    ):
        yield Contender(ask, history=history)


def asked(stores: Stores) -> Counter[str]:
    """Return what S3, Redis and Elasticsearch were asked so far."""
    counts: Counter[str] = Counter()
    for store, counter in (
        ("S3", stores.bucket.requests),
        ("Redis", stores.redis.calls),
        ("Elasticsearch", stores.elasticsearch.requests),
    ):
        counts.update({f"{store} {name}": number for name, number in counter.items()})
    return counts
