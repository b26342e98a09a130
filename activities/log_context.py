"""The context of log entries in an activity: its command or workflow, and its subject, as far as it is known."""

from typing import Any

from structlog.contextvars import bind_contextvars
from temporalio import activity
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from oncelog import tracing
from oncelog.domain.stored_names import COMMAND_WORKFLOWS


class LogContextInterceptor(Interceptor):
    """Binds the command's ID, which is its workflow's, before an activity begins.

    Nothing is unbound: each activity has a task of its own, and the SDK's own entry on its failure comes last.
    """

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        return _Context(super().intercept_activity(next))


class _Context(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        info = activity.info()
        kind = "command_id" if info.workflow_type in COMMAND_WORKFLOWS else "workflow_id"
        bind_contextvars(**{kind: info.workflow_id}, activity=info.activity_type, attempt=info.attempt)
        tracing.annotate(**{kind: info.workflow_id}, attempt=info.attempt)
        return await super().execute_activity(input)


def bind_aggregate(aggregate_id: str | None, sequence_number: int | None = None) -> None:
    """Bind the aggregate that a command is about and, once it is known, the number of the command's event."""
    known = {"aggregate_id": aggregate_id, "sequence_number": sequence_number}
    bind_contextvars(**{name: value for name, value in known.items() if value is not None})
    tracing.annotate(aggregate_id=aggregate_id, sequence_number=sequence_number)
