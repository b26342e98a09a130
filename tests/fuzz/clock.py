"""The clock of the fuzz tests: how long an event loop was held up, and how much memory was taken at most.

Time is measured twice, and neighbours on the machine add to one of the two only. CPU time of this process counts a
thread that works beside the loop, which a crowded machine may let run while the loop waits for a core. The time that
passed, less that for which the loop's thread was ready and had no core, counts a thread that holds Python's lock and
has no core. The loop is held up for no longer than the smaller of the two. It is in units of a machine that does a
fixed piece of work in 10 ms; the factor is measured beside each run. Garbage is collected as rarely as in a worker.
Memory is what the kernel saw at most.
"""

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from oncelog.process import collect_garbage_rarely

LOOP_S_MAX = 0.1
MEMORY_BYTES_MAX = 64 * 1024**2
TICK_S = 0.002

T = TypeVar("T")


def machine_factor() -> float:
    """Return how much slower than 10 ms a fixed piece of work is now, at least 1."""
    began_s = time.process_time()
    sum(number * number for number in range(150_000))
    return max(1.0, (time.process_time() - began_s) / 0.01)


@contextmanager
def garbage_as_in_a_worker() -> Iterator[None]:
    """Let this process collect garbage as a worker does, for the length of a block."""
    before = gc.get_threshold()
    collect_garbage_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()


@dataclass
class Held:
    """The longest time for which the loop ran nothing else, in seconds: the smaller of the two measures."""

    longest_s: float = 0.0


@dataclass(frozen=True)
class _Moment:
    """A moment by both clocks, in seconds. ``cpu_s``: of this process; ``passed_s``: less the waits for a core."""

    cpu_s: float
    passed_s: float

    @classmethod
    def of_thread(cls, schedstat: Path) -> "_Moment":
        """Read both clocks; ``schedstat``: the kernel's file about the loop's thread."""
        waited_ns = int(schedstat.read_text().split()[1])
        return cls(time.process_time(), time.monotonic() - waited_ns / 1e9)


async def ticking(doing: Awaitable[T], held: Held) -> T:
    """Await something, while the loop's ticks are watched."""
    schedstat = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")

    async def tick() -> None:
        last = _Moment.of_thread(schedstat)
        while True:
            await asyncio.sleep(TICK_S)
            now = _Moment.of_thread(schedstat)
            held.longest_s = max(held.longest_s, min(now.cpu_s - last.cpu_s, now.passed_s - last.passed_s))
            last = now

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
