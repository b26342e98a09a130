"""Closed-loop load: so many callers at once, each waiting for its answer before it asks again."""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """One block of load. Times are wall time."""

    concurrency: int
    latencies_ms: list[float]
    duration_s: float

    @property
    def throughput(self) -> float:
        """Per second."""
        return len(self.latencies_ms) / self.duration_s

    @property
    def p50_ms(self) -> float:
        return statistics.median(self.latencies_ms)

    @property
    def p99_ms(self) -> float:
        return statistics.quantiles(self.latencies_ms, n=100, method="inclusive")[98]


async def measure(ask: Callable[[], Awaitable[None]], *, concurrency: int, seconds: float) -> Measurement:
    """Ask for ``seconds``, and wait for what is under way then."""
    latencies_ms: list[float] = []
    began = time.perf_counter()

    async def caller() -> None:
        while (now := time.perf_counter()) - began < seconds:
            await ask()
            latencies_ms.append((time.perf_counter() - now) * 1000)

    await asyncio.gather(*(caller() for _ in range(concurrency)))
    return Measurement(concurrency, latencies_ms, time.perf_counter() - began)
