"""A worker process for as long as the demo runs."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from oncelog.console import errors, text_line
from oncelog.errors import StoreUnavailable

WORKER_READY_TIMEOUT_S = 60.0
WORKER_STOP_TIMEOUT_S = 40.0


@asynccontextmanager
async def running_worker() -> AsyncIterator[None]:
    """Run a worker process for the length of the block; raises StoreUnavailable with its own words if it ends."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "oncelog.worker", stderr=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    lines: list[str] = []
    try:
        async with asyncio.timeout(WORKER_READY_TIMEOUT_S):
            while line := await process.stderr.readline():
                lines.append(line.decode(errors="replace").rstrip())
                if "worker_ready" in lines[-1]:
                    break
            else:
                raise StoreUnavailable(
                    "the worker", "starting", "; ".join(lines[-5:]) or f"exit {await process.wait()}"
                )
        reading = asyncio.create_task(_drain(process.stderr))
        try:
            yield
        finally:
            reading.cancel()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.communicate(), WORKER_STOP_TIMEOUT_S)


async def _drain(stream: asyncio.StreamReader) -> None:
    """Pass on what the worker warns of."""
    while line := await stream.readline():
        errors.print(text_line(line.decode(errors="replace").rstrip(), "dim"))
