"""The clock of the fuzz tests: how long an event loop was held up, and how much memory was taken at most.

Time is this process's CPU time, which other work on the machine does not add to, in units of a machine that does a
fixed piece of work in 10 ms; the factor is measured beside each run. Memory is what the kernel saw at most.
"""

import asyncio
import time
from collections.abc import Awaitable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

LOOP_S_MAX = 0.1
MEMORY_BYTES_MAX = 64 * 1024**2
TICK_S = 0.002

T = TypeVar("T")


def machine_factor() -> float:
    """Return how much slower than 10 ms a fixed piece of work is now, at least 1."""
    began_s = time.process_time()
    sum(number * number for number in range(150_000))
    return max(1.0, (time.process_time() - began_s) / 0.01)


@dataclass
class Held:
    """The longest time for which the loop ran nothing else, in CPU seconds of this process."""

    longest_s: float = 0.0


async def ticking(doing: Awaitable[T], held: Held) -> T:
    """Await something, while the loop's ticks are watched."""

    async def tick() -> None:
        last_s = time.process_time()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.process_time()
            held.longest_s = max(held.longest_s, now_s - last_s)
            last_s = now_s

    watch = asyncio.create_task(tick())
    try:
        await asyncio.sleep(0)
        return await doing
    finally:
        await asyncio.sleep(TICK_S)
        watch.cancel()


class Memory:
    """The memory that a process takes at most within the block, above what it had before."""

    def __init__(self, pid: int) -> None:
        self._process = Path(f"/proc/{pid}")
        self.peak_bytes = 0

    def __enter__(self) -> "Memory":
        (self._process / "clear_refs").write_text("5")  # forget the highest mark
        self._before = self._read("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        self.peak_bytes = self._read("VmHWM") - self._before

    def _read(self, name: str) -> int:
        (line,) = [line for line in (self._process / "status").read_text().splitlines() if line.startswith(name)]
        return int(line.split()[1]) * 1024
