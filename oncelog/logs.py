"""Log entries of a program of ours: where they go, and what they look like."""

import logging
import sys

import structlog
from stamina.instrumentation import PrometheusOnRetryHook, RetryDetails, set_on_retry_hooks

log = structlog.get_logger(__name__)


def log_to_standard_error(level: int = logging.NOTSET) -> None:
    """Let structlog write to standard error, one line per entry; text that is not plain is shown as a repr."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),  # as it is then: a test replaces it
    )
    set_on_retry_hooks([PrometheusOnRetryHook, _log_retry])


def _log_retry(details: RetryDetails) -> None:
    """Log a retry as other entries are logged: without the arguments of the call, which may be users' data."""
    reason, pause_s = str(details.caused_by) or type(details.caused_by).__name__, round(details.wait_for, 3)
    log.info("retry_scheduled", call=details.name, number=details.retry_num, reason=reason, seconds=pause_s)
