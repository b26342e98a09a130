"""Log entries of a program: one format for ours and for those of libraries, on standard error, one line each.

An entry holds the command ID, the aggregate ID and the sequence number where they are known: the work under way binds
them (``structlog.contextvars``). It never holds a payload, a password or a terminal escape.
"""

import logging
import os
import sys
from collections.abc import Mapping
from typing import Any, Literal, Self, TextIO

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from stamina.instrumentation import PrometheusOnRetryHook, RetryDetails, set_on_retry_hooks
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from oncelog.errors import SettingsInvalid, redacted
from oncelog.printable import printable

Format = Literal["console", "json"]
Level = Literal["debug", "info", "warning", "error"]

#: Libraries tell of requests and their contents below this.
LIBRARIES_LEVEL = logging.WARNING

log: FilteringBoundLogger = structlog.get_logger(__name__)


class LogSettings(BaseModel):
    """``ONCELOG_LOG_FORMAT`` and ``ONCELOG_LOG_LEVEL``."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    format: Format = Field(
        default="console",
        description="`console`: entries for people; `json`: an object per line for programs that collect logs",
    )
    level: Level = Field(
        default="info",
        description="the least severe entries that are written: `debug`, `info`, `warning` or `error`; entries of "
        "libraries are written from `warning` on",
    )

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read the two variables only; raises SettingsInvalid."""
        names = {name: f"ONCELOG_LOG_{name.upper()}" for name in cls.model_fields}
        try:
            return cls.model_validate(
                {field: environment[name] for field, name in names.items() if name in environment}
            )
        except ValidationError as error:
            found = [f"{names[str(each['loc'][0])]}: {each['msg']}" for each in error.errors(include_url=False)]
            raise SettingsInvalid(f"settings: {'; '.join(found)}") from error


def log_to_standard_error(settings: LogSettings | None = None) -> None:
    """Write all entries to standard error; without settings, as the environment says. Raises SettingsInvalid."""
    settings = settings or LogSettings.of(os.environ)
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[*_CONTEXT, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=_Loggers(level),
    )
    handler = _StandardError()
    handler.setFormatter(_formatter(settings.format))
    root = logging.getLogger()
    root.handlers = [*(each for each in root.handlers if not isinstance(each, _StandardError)), handler]
    root.setLevel(max(level, LIBRARIES_LEVEL))
    logging.captureWarnings(capture=True)
    set_on_retry_hooks([PrometheusOnRetryHook, _log_retry])


class _Loggers(structlog.stdlib.LoggerFactory):
    """Makes the loggers behind structlog's: at a level of their own, below that of libraries."""

    def __init__(self, level: int) -> None:
        super().__init__()
        self._level = level

    def __call__(self, *names: Any) -> logging.Logger:
        logger = super().__call__(*names)
        logger.setLevel(self._level)
        return logger


class _StandardError(logging.StreamHandler[TextIO]):
    """Writes to standard error as it is at that time: a test replaces it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def _clean(_: WrappedLogger, __: str, entry: EventDict) -> EventDict:
    """Take credentials of URLs and all that acts on a terminal out of every text; a traceback keeps its lines."""
    cleaned = {name: _cleaned(value) for name, value in entry.items() if name != "exception"}
    if "exception" in entry:
        cleaned["exception"] = "\n".join(printable(line) for line in redacted(entry["exception"]).splitlines())
    return cleaned


def _cleaned(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(each) for each in value]
    if isinstance(value, Mapping):
        return {printable(str(name)): _cleaned(each) for name, each in value.items()}
    return printable(redacted(str(value)))


#: Asked where an entry is made, since another thread or task may write it.
_CONTEXT: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def _formatter(form: Format) -> logging.Formatter:
    """Return the one formatter; tracebacks come without the values of variables, which may be users' data."""
    renderer: Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if form == "json"
        else structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    )
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=_CONTEXT,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.StackInfoRenderer(),
            structlog.processors.format_exc_info,
            _clean,
            renderer,
        ],
    )


def _log_retry(details: RetryDetails) -> None:
    """Log a retry as other entries are logged: without the arguments of the call, which may be users' data."""
    reason, pause_s = str(details.caused_by) or type(details.caused_by).__name__, round(details.wait_for, 3)
    log.info("retry_scheduled", call=details.name, number=details.retry_num, reason=reason, seconds=pause_s)
