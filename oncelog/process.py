"""The process runner of ``oncelog-worker`` and ``oncelog-projector``: they run until stopped."""

import asyncio
import gc
import logging
import os
import re
import signal
import sys
import unicodedata
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

import structlog
from stamina.instrumentation import PrometheusOnRetryHook, RetryDetails, set_on_retry_hooks

from oncelog.errors import OncelogError, StoreUnavailable
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.settings import Settings

#: Container objects made since the last collection, and younger collections before an older one; see decision 12.
GARBAGE_THRESHOLDS = (50_000, 20, 20)

EXIT_FINE, EXIT_USAGE, EXIT_UNREACHABLE = 0, 2, 3

#: Control, format (zero-width, directional), surrogate and unassigned characters; separators of lines and paragraphs.
_UNPRINTABLE_CATEGORIES = frozenset({"Cc", "Cf", "Cn", "Cs", "Zl", "Zp"})
#: Everything that may need an escape; printable ASCII, most of all text, is passed over at once.
_CANDIDATE = re.compile(r"[^\x20-\x7e]")
_NAMES = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}

#: Works until the event is set; fault tests have one that does the same on stores they have meddled with.
Run = Callable[[Settings, asyncio.Event], Awaitable[None]]

Result = TypeVar("Result")

log = structlog.get_logger(__name__)


def run_program(name: str, about: str, run: Run, arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns 0 after an orderly end, 2 for bad settings, 3 for a server out of reach."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given:
        print(f"usage: {name}\n\n{about}\nSettings come from the environment: docs/settings.md.")  # noqa: T201
        return EXIT_FINE if given in (["--help"], ["-h"]) else EXIT_USAGE
    log_to_standard_error(logging.INFO)
    collect_garbage_rarely()
    try:
        run_on_uvloop(_until_told(Settings.from_environment(), run))
    except StoreUnavailable as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        return EXIT_UNREACHABLE
    except OncelogError as error:
        print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        return EXIT_USAGE
    return EXIT_FINE


def run_on_uvloop(main: Coroutine[Any, Any, Result]) -> Result:
    """Run on uvloop, as ``asyncio.run`` does on its own loop, which remains where uvloop is not installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def printable(text: str) -> str:
    """Return the text in one line, with a JSON escape in place of every character that has no glyph of its own."""
    return _CANDIDATE.sub(_escaped, text)


def _escaped(match: re.Match[str]) -> str:
    character = match[0]
    if unicodedata.category(character) not in _UNPRINTABLE_CATEGORIES:
        return character
    if character in _NAMES:
        return _NAMES[character]
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def log_to_standard_error(level: int = logging.NOTSET) -> None:
    """Let structlog write to standard error, one line per entry; text that is not plain is shown as a repr."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    set_on_retry_hooks([PrometheusOnRetryHook, _log_retry])


def _log_retry(details: RetryDetails) -> None:
    """Log a retry as other entries are logged: without the arguments of the call, which may be users' data."""
    reason, pause_s = str(details.caused_by) or type(details.caused_by).__name__, round(details.wait_for, 3)
    log.info("retry_scheduled", call=details.name, number=details.retry_num, reason=reason, seconds=pause_s)


def keep_standard_output() -> None:
    """Keep standard output for ``sys.stdout`` alone: what a library writes to descriptor 1 goes to standard error.

    The Temporal SDK's core writes its warnings there, past Python, such as that of a large payload.
    """
    if sys.stdout is None or sys.stderr is None:  # closed by the caller: there is nothing to keep, or nowhere to send
        return
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    sys.stdout = os.fdopen(own, "w", encoding=sys.stdout.encoding, errors=sys.stdout.errors)


def leave(code: int) -> NoReturn:
    """End this process now, with this exit code, once all its output is written.

    A Temporal client has threads of its own that call back into Python. A thread that does so while the interpreter is
    finalized ends the process with SIGABRT, whatever the outcome, so the interpreter is not finalized.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # its reader is gone, or the caller had closed it
            stream.flush()
    os._exit(code)


def collect_garbage_rarely() -> None:
    """Let this whole process look for garbage less often than is usual, and never among what it has loaded so far.

    These programs keep thousands of states and have hundreds of events in hand: looking through them for cycles, of
    which they make few, took a third of the CPU time of many items at once. A matter of a program, not of a library.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


async def _until_told(settings: Settings, run: Run) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await run(settings, stopping)


def crash_point(settings: Settings) -> AfterStep:
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
