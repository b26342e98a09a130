"""How errors leave an activity: with one stable type, and never as a reason to give a command up."""

import logging
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from oncelog.errors import AggregateBusy, ContainerUnusable, DecisionOverdue, OncelogError

#: An error that needs a person first (a damaged object, say) is retried this often; the command stays pending
#: meanwhile.
UNTIL_MENDED = timedelta(minutes=1)

#: A failure has to stay below this as a whole: Temporal's server replaces a larger one by "exceeds size limit".
FAILURE_BYTES_MAX = 4 * 1024
MESSAGE_BYTES_MAX = 1_500
DETAIL_BYTES_MAX = 150
DETAILS_MAX = 8


class BriefFailure(ApplicationError):
    """A failure with a message that suffices without a traceback."""


class BriefFailures(logging.Filter):
    """For the SDK's ``temporalio.activity`` logger: an error with a message that suffices needs no traceback.

    During an outage every waiting command fails every few seconds, and tracebacks would bury all else.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, BriefFailure):
            record.msg, record.args = f"{record.getMessage()}: {error}", ()
            record.exc_info = None
        return True


class FailureInterceptor(Interceptor):
    """Turns Oncelog's errors into ApplicationErrors with the error's code as their type and with its details."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        return _Failures(super().intercept_activity(next))


class _Failures(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        try:
            return await super().execute_activity(input)
        except OncelogError as error:
            if isinstance(error, ContainerUnusable):
                _count(error)
            if isinstance(error, DecisionOverdue):
                _count_overdue()
            raise failure_of(error) from None  # the server replaces a failure above 4 KiB by one without a reason


def _count(error: ContainerUnusable) -> None:
    """Count an attempt that waits for its container, among the metrics of Temporal's SDK; as the projector does."""
    labels = {"store": error.store, "container": error.container, "reason": str(error.reason)}
    meter = activity.metric_meter()
    meter.create_counter("oncelog_container_unusable", "Attempts that failed because a container cannot be used.").add(
        1, labels
    )


def _count_overdue() -> None:
    """Count an attempt with a decision that took too long: an input beyond the budget, or a machine too slow for it."""
    meter = activity.metric_meter()
    meter.create_counter("oncelog_decision_overdue", "Attempts given up since deciding took too much CPU time.").add(1)


def failure_of(error: OncelogError) -> ApplicationError:
    """Return the failure of an activity: the error's message and details, cut, without trace and causes."""
    delay = None if error.retryable else UNTIL_MENDED
    category = ApplicationErrorCategory.UNSPECIFIED
    if isinstance(error, AggregateBusy):  # waiting in line is no failure: nothing for logs and metrics
        delay, category = timedelta(seconds=error.retry_after_s), ApplicationErrorCategory.BENIGN
    details = {name: cut(str(value), DETAIL_BYTES_MAX) for name, value in list(error.details.items())[:DETAILS_MAX]}
    message = cut(error.message, MESSAGE_BYTES_MAX)
    return BriefFailure(message, details, type=error.code, next_retry_delay=delay, category=category)


def cut(text: str, bytes_max: int) -> str:
    """Return the text's beginning if its UTF-8 is longer than ``bytes_max``, with an ellipsis at its end."""
    encoded = text.encode(errors="replace")
    if len(encoded) <= bytes_max:
        return text
    return encoded[: bytes_max - 3].decode(errors="ignore") + "…"
