"""The runner of ``oncelog-worker`` and ``oncelog-projector``: they run until stopped."""

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence

import structlog

from oncelog import tracing
from oncelog.errors import OncelogError, StoreUnavailable
from oncelog.logs import log_to_standard_error
from oncelog.process import collect_garbage_rarely, run_on_uvloop
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.settings import Settings

EXIT_FINE, EXIT_USAGE, EXIT_UNREACHABLE = 0, 2, 3

#: Works until the event is set; fault tests have one that does the same on stores they have meddled with.
Run = Callable[[Settings, asyncio.Event], Awaitable[None]]


def run_program(name: str, about: str, run: Run, arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; returns 0 after an orderly end, 2 for bad settings, 3 for a server out of reach."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given:
        print(f"usage: {name}\n\n{about}\nSettings come from the environment: docs/settings.md.")  # noqa: T201
        return EXIT_FINE if given in (["--help"], ["-h"]) else EXIT_USAGE
    as_json = False
    try:
        settings = Settings.from_environment()
        as_json = settings.log.format == "json"
        log_to_standard_error(settings.log)
        tracing.start(name)
        collect_garbage_rarely()
        run_on_uvloop(_until_told(settings, run))
    except OncelogError as error:
        if as_json:
            structlog.get_logger(__name__).error("program_failed", code=error.code, reason=error.message)
        else:
            print(f"error: {error.message}", file=sys.stderr)  # noqa: T201
        return EXIT_UNREACHABLE if isinstance(error, StoreUnavailable) else EXIT_USAGE
    finally:
        tracing.stop()
    return EXIT_FINE


async def _until_told(settings: Settings, run: Run) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    await run(settings, stopping)


def crash_point(settings: Settings) -> AfterStep:
    """Return the hook that ends this very process after the step that a fault test named, as ``kill -9`` would."""
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
