"""The steps of a command and their durations, for people; and where tests and crash points look in."""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime

from oncelog import metrics, tracing
from oncelog.domain.events import rfc3339

#: Called after each step with its name; may end the process or empty a server, and so must find nothing incomplete.
AfterStep = Callable[[str], Awaitable[None]]


def utc_now() -> str:
    """Return this process's clock as RFC 3339, UTC, microseconds."""
    return rfc3339(datetime.now(UTC))


async def nothing_after(step: str) -> None:
    """The ordinary case: no observer."""


@dataclass(frozen=True)
class StepReport:
    """One step done. ``at``: when (RFC 3339, this process's clock); ``duration_ms``: wall time; ``note``: in words."""

    name: str
    at: str
    duration_ms: float
    note: str = ""


@dataclass
class Step:
    """A step under way. ``note``: its outcome in words, for the report."""

    note: str = ""


@dataclass
class Trace:
    """Collects the reports of one activity's steps in the order in which they ended."""

    after_step: AfterStep = nothing_after
    steps: list[StepReport] = field(default_factory=list)

    @asynccontextmanager
    async def step(self, name: str) -> AsyncIterator["Step"]:
        """Measure a block. If it ends without an error, report the step and call the observer."""
        step, began_s = Step(), time.perf_counter()
        try:
            with tracing.span(name):
                yield step
        except Exception:
            metrics.STEP_FAILURES.labels(name).inc()
            raise
        duration_s = time.perf_counter() - began_s
        metrics.STEP_SECONDS.labels(name).observe(duration_s)
        self.steps.append(StepReport(name, utc_now(), round(duration_s * 1000, 2), step.note))
        await self.after_step(name)
