"""Temporal: the connection that client and worker share, and the prerequisites of both."""

import asyncio
import atexit
import sys
import threading
import time
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING

from temporalio.api.enums.v1 import IndexedValueType, TaskQueueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowExecutionStatus
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime
from temporalio.service import RPCError, RPCStatusCode

from oncelog import tracing
from oncelog.bounded_gather import bounded_gather
from oncelog.client.temporal_tls import CERTIFICATE_AND_KEY, tls_refusal
from oncelog.errors import SettingsInvalid, StoreUnavailable, StoreUnsafe
from oncelog.workflows.attributes import SEARCH_ATTRIBUTES
from oncelog.workflows.plugin import oncelog_plugin

if TYPE_CHECKING:
    from temporalio.contrib.opentelemetry import TracingInterceptor

DEFAULT_ADDRESS = "127.0.0.1:7233"
CONNECT_TIMEOUT_S = 10.0
RPC_TIMEOUT = timedelta(seconds=10)
#: So many workflows are asked for one by one, of which the answer is as of now; more are looked for in the list.
DESCRIBED_MAX = 16
LISTED_MAX = 200  # names in one question
NATIVE_THREADS_TIMEOUT_S = 5.0
NATIVE_THREADS_QUIET_MAX = 10  # looks in a row, so that a call that was just cancelled has ended, too


def _await_native_threads() -> None:
    """Wait until no native thread is in Python or on its way into it, ``NATIVE_THREADS_TIMEOUT_S`` at most.

    A thread of the Temporal SDK hands each answer to the event loop. The loop may have it, and the program may end,
    before that thread has left Python. CPython ends a thread that asks for the interpreter while it is taken apart,
    the SDK's Rust code does not stand that, and the process dies of SIGABRT or SIGSEGV. See decision 24.
    """
    ends_s = time.monotonic() + NATIVE_THREADS_TIMEOUT_S
    quiet = 0
    while quiet < NATIVE_THREADS_QUIET_MAX and time.monotonic() < ends_s:
        time.sleep(0.001)  # lets other threads have the interpreter
        started = {thread.ident for thread in threading.enumerate() if not thread.name.startswith("Dummy-")}
        # Names every thread that has or wants the interpreter; there is no other way to see native ones.
        quiet = quiet + 1 if sys._current_exceptions().keys() <= started else 0  # noqa: SLF001 - decision 24


atexit.register(_await_native_threads)


async def connect(*, runtime: Runtime | None = None) -> Client:
    """Connect as the standard Temporal environment and profile say (``TEMPORAL_ADDRESS`` …).

    Raises SettingsInvalid, and StoreUnavailable after ``CONNECT_TIMEOUT_S`` at most.
    """
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError, OSError) as error:
        raise SettingsInvalid(f"Temporal's environment or profile: {error}; check TEMPORAL_* and its file") from error
    config.setdefault("target_host", DEFAULT_ADDRESS)
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            return await Client.connect(
                **config, plugins=[oncelog_plugin], interceptors=trace_interceptors(), runtime=runtime
            )
    except TimeoutError as error:
        raise unavailable(config["target_host"], "connecting", f"none within {CONNECT_TIMEOUT_S:g} s") from error
    except (RuntimeError, RPCError) as error:
        raise await tls_refusal(config, error) or unavailable(config["target_host"], "connecting", error) from error
    except ValueError as error:
        if "client cert" in str(error):
            raise SettingsInvalid(f"Temporal's TLS: {error}; set both {CERTIFICATE_AND_KEY}") from error
        raise SettingsInvalid(f"TEMPORAL_ADDRESS {config['target_host']}: {error}; expected host:port") from error


def trace_interceptors() -> "list[TracingInterceptor]":
    """Return the interceptors that pass traces on, of clients and their workers; none unless traces are exported."""
    tracer = tracing.tracer()
    if tracer is None:
        return []
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    from temporalio.contrib.opentelemetry import TracingInterceptor

    interceptor = TracingInterceptor(tracer)
    # Without baggage: it is the application's own data, and would stay in workflow histories.
    interceptor.text_map_propagator = TraceContextTextMapPropagator()
    return [interceptor]


def unavailable(address: str, doing: str, cause: object) -> StoreUnavailable:
    """Return the error for a Temporal that gave no usable answer."""
    text = cause.message if isinstance(cause, RPCError) else cause
    return StoreUnavailable(f"Temporal at {address}", doing, text)


class TemporalWorkflows:
    """``RunningWorkflows`` as Temporal has them."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def is_running(self, command_id: str) -> bool:
        """Return whether the latest run of this workflow is open; raises StoreUnavailable."""
        try:
            described = await self._client.get_workflow_handle(command_id).describe(rpc_timeout=RPC_TIMEOUT)
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return False
            address = self._client.service_client.config.target_host
            raise unavailable(address, f"asking for workflow {command_id}", error) from error
        return described.status is WorkflowExecutionStatus.RUNNING

    async def running_among(self, command_ids: Collection[str]) -> Collection[str]:
        """Return the IDs with an open latest run, as the list of workflows has them; raises StoreUnavailable."""
        asked = sorted(set(command_ids))
        if len(asked) <= DESCRIBED_MAX:
            running = await bounded_gather(self.is_running, asked, at_once=DESCRIBED_MAX)
            return {command_id for command_id, is_running in zip(asked, running, strict=True) if is_running}
        found: set[str] = set()
        try:
            for start in range(0, len(asked), LISTED_MAX):
                names = ", ".join(f"'{command_id}'" for command_id in asked[start : start + LISTED_MAX])
                query = f"ExecutionStatus = 'Running' AND WorkflowId IN ({names})"
                async for execution in self._client.list_workflows(query, rpc_timeout=RPC_TIMEOUT):
                    found.add(execution.id)
        except RPCError as error:
            address = self._client.service_client.config.target_host
            raise unavailable(address, f"asking for {len(asked)} workflows", error) from error
        return found


async def prepare(client: Client) -> None:
    """See that the namespace is there, and add the search attributes that it lacks.

    Raises StoreUnavailable, and StoreUnsafe where an attribute has another type or may not be added.
    """
    address = client.service_client.config.target_host
    try:
        listed = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace), timeout=RPC_TIMEOUT
        )
        present = {**listed.system_attributes, **listed.custom_attributes}
        wanted = {key.name: IndexedValueType.ValueType(key.indexed_value_type) for key in SEARCH_ATTRIBUTES}
        others = {name for name, kind in wanted.items() if present.get(name, kind) != kind}
        if others:
            raise StoreUnsafe(
                f"Temporal at {address}, namespace {client.namespace}: search attributes {', '.join(sorted(others))} "
                "exist with another type than ours; use another namespace"
            )
        missing = {name: kind for name, kind in wanted.items() if name not in present}
        if missing:
            request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
            await client.operator_service.add_search_attributes(request, timeout=RPC_TIMEOUT)
    except RPCError as error:
        if error.status is RPCStatusCode.ALREADY_EXISTS:
            return  # another worker was faster
        if error.status in (RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.NOT_FOUND, RPCStatusCode.UNIMPLEMENTED):
            raise StoreUnsafe(
                f"Temporal at {address}, namespace {client.namespace}: {error.message}; check the namespace, and let "
                f"its operator add the search attributes {', '.join(key.name for key in SEARCH_ATTRIBUTES)}"
            ) from error
        raise unavailable(address, "looking at the namespace", error) from error


async def has_workers(temporal: Client, task_queue: str) -> bool:
    """Return whether a worker has asked for commands in the last minutes; raises RPCError."""
    request = DescribeTaskQueueRequest(
        namespace=temporal.namespace,
        task_queue=TaskQueue(name=task_queue),
        task_queue_type=TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    )
    described = await temporal.workflow_service.describe_task_queue(request, timeout=timedelta(seconds=10))
    return bool(described.pollers)
