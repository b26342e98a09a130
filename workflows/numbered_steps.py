"""Numbered steps of a long run: several at a time, on any workers; pause and continue-as-new happen between them."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from temporalio import workflow

Report = TypeVar("Report")


@dataclass
class NumberedSteps(Generic[Report]):
    """Carries out the steps of a run, for a workflow.

    ``execute``: carries out the step of a number; ``begun``: told the number of the next step whenever one begins;
    ``taken``: given the report of each that has ended; ``shown``: called after some were taken. ``paused``: while it
    answers True, no step begins. ``go_on``: continues the workflow as a new one; called where the history has grown
    long, once no step is under way.
    """

    execute: Callable[[int], Coroutine[Any, Any, Report]]
    parallel: int
    begun: Callable[[int], None]
    taken: Callable[[Report], None]
    shown: Callable[[], None]
    paused: Callable[[], bool]
    go_on: Callable[[], None]
    # A list: its order is the same when the history is replayed.
    _running: list["asyncio.Task[Report]"] = field(default_factory=list)

    async def run(self, number: int, total: int) -> None:
        """Carry out the steps from ``number`` on, up to ``total``, which is not one of them."""
        while number < total or self._running:
            await workflow.wait_condition(lambda: bool(self._running) or not self.paused())
            if workflow.info().is_continue_as_new_suggested():
                while self._running:
                    await self._take(asyncio.ALL_COMPLETED)
                if number < total:
                    self.go_on()
            while number < total and not self.paused() and len(self._running) < self.parallel:
                self.begun(number + 1)
                self._running.append(asyncio.create_task(self.execute(number)))
                number += 1
            if self._running:
                await self._take(asyncio.FIRST_COMPLETED)

    async def _take(self, when: str) -> None:
        done, _ = await workflow.wait(self._running, return_when=when)
        for task in done:
            self._running.remove(task)
            self.taken(task.result())
        self.shown()
