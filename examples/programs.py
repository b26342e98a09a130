"""Oncelog's programs as processes, each for as long as a block runs."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from oncelog.console import errors, text_line
from oncelog.errors import StoreUnavailable

READY_TIMEOUT_S = 180.0  # a start takes seconds; a busy machine may take minutes
STOP_TIMEOUT_S = 40.0
#: A stack with Prometheus names an address for one program of a kind; here, several run at once.
METRICS_VARIABLES = ("ONCELOG_METRICS_ADDRESS", "ONCELOG_PROJECTOR_METRICS_ADDRESS")


def running_worker() -> AbstractAsyncContextManager[None]:
    """Run a worker process for the length of the block; raises StoreUnavailable with its own words if it ends."""
    return running_program("oncelog.worker", sign="worker_ready")


@asynccontextmanager
async def running_program(module: str, *arguments: str, sign: str) -> AsyncIterator[None]:
    """Run ``python -m module`` for the length of the block, which begins when the program has logged ``sign``.

    It serves no metrics. Raises StoreUnavailable with the program's own words if it ends before, or takes too long.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        env={name: value for name, value in os.environ.items() if name not in METRICS_VARIABLES},
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stderr is not None
    try:
        await _until_ready(process, process.stderr, module, sign)
        reading = asyncio.create_task(_drain(process.stderr))
        try:
            yield
        finally:
            reading.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.communicate(), STOP_TIMEOUT_S)
            except TimeoutError:
                process.kill()
                await process.wait()


async def _until_ready(process: asyncio.subprocess.Process, log: asyncio.StreamReader, module: str, sign: str) -> None:
    lines: list[str] = []
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while line := await log.readline():
                lines.append(line.decode(errors="replace").rstrip())
                if sign in lines[-1]:
                    return
            lines.append(f"exit {await process.wait()}")
    except TimeoutError:
        lines.append(f"expected to be ready within {READY_TIMEOUT_S:g} s")
    raise StoreUnavailable(module, "starting", "; ".join(lines[-5:]))


async def _drain(stream: asyncio.StreamReader) -> None:
    """Pass on what the program warns of."""
    while line := await stream.readline():
        errors.print(text_line(line.decode(errors="replace").rstrip(), "dim"))
