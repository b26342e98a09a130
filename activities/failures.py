"""How errors leave an activity: with one stable type, and never as a reason to give a command up."""

import logging
from datetime import timedelta
from typing import Any

from pydantic_core import to_json
from temporalio.exceptions import ApplicationError
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor

from factline.errors import FactlineError

#: What needs a person first (a damaged object, say) is looked at again this often; the command stays pending meanwhile.
UNTIL_MENDED = timedelta(minutes=1)


#: A failure is kept in the workflow's history and shown in the Web UI, which drops one that is too long.
FAILURE_BYTES_MAX = 4 * 1024
FAILURE_CHARACTERS_MAX = FAILURE_BYTES_MAX // 4  # in UTF-8, a character has at most four bytes


class BriefFailures(logging.Filter):
    """For the SDK's ``temporalio.activity`` logger: an error that says by itself what is wrong needs no traceback.

    During an outage every waiting command fails every few seconds, and tracebacks would bury all else.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ApplicationError) and isinstance(error.__context__, FactlineError):
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
            details = error.details if len(to_json(error.details, fallback=str)) <= FAILURE_BYTES_MAX else {}
            # Without the chain of causes: a driver's own error may be as long as what it was given.
            raise ApplicationError(_cut(error.message), details, type=error.code, next_retry_delay=delay) from None


def _cut(message: str) -> str:
    return message if len(message) <= FAILURE_CHARACTERS_MAX else message[:FAILURE_CHARACTERS_MAX] + " …"
