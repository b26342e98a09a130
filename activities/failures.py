"""How errors leave an activity: with one stable type, and never as a reason to give a command up."""

import logging
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from factline.errors import FactlineError

#: What needs a person first (a damaged object, say) is looked at again this often; the command stays pending meanwhile.
UNTIL_MENDED = timedelta(minutes=1)


class BriefFailures(logging.Filter):
    """For the SDK's ``temporalio.activity`` logger: an error that says by itself what is wrong needs no traceback.

    During an outage every waiting command fails every few seconds, and tracebacks would bury all else.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ApplicationError) and isinstance(error.__cause__, FactlineError):
            record.msg, record.args = f"{record.getMessage()}: {error}", ()
            record.exc_info = None
        return True


class FailureInterceptor(Interceptor):
    """Turns Factline's errors into ApplicationErrors whose type is the error's code and whose details are its own."""

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:  # noqa: A002 - the SDK's name
        return _Failures(super().intercept_activity(next))


class _Failures(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002 - the SDK's name
        try:
            return await super().execute_activity(input)
        except FactlineError as error:
            delay = None if error.retryable else UNTIL_MENDED
            raise ApplicationError(error.message, error.details, type=error.code, next_retry_delay=delay) from error
