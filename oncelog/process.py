"""This process: its event loop, its garbage, its standard output, and its end."""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, NoReturn, TypeVar

#: Container objects made since the last collection, and younger collections before an older one; see decision 12.
GARBAGE_THRESHOLDS = (50_000, 20, 20)

Result = TypeVar("Result")


def run_on_uvloop(main: Coroutine[Any, Any, Result]) -> Result:
    """Run on uvloop, as ``asyncio.run`` does on its own loop, which remains where uvloop is not installed."""
    try:
        from uvloop import new_event_loop
    except ImportError:
        return asyncio.run(main)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(main)


def keep_standard_output() -> None:
    """Keep standard output for ``sys.stdout`` alone: a library's writes to descriptor 1 go to standard error.

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
    finalized ends the process with SIGABRT, even after success, so the interpreter is not finalized.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # its reader is gone, or the caller had closed it
            stream.flush()
    os._exit(code)


def collect_garbage_rarely() -> None:
    """Let this whole process look for garbage less often than is usual, and never among the objects loaded so far.

    These programs keep thousands of states and have hundreds of events in hand: looking through them for cycles, of
    which they make few, took a third of the CPU time of many items at once. A matter of a program, not of a library.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
