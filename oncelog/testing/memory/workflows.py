"""Temporal's twin, as far as reconciliation asks: a set of the commands with an open workflow."""

from collections.abc import Collection

from oncelog.errors import StoreUnavailable
from oncelog.testing.memory.pause import Pause, let_others


class MemoryWorkflows:
    """``RunningWorkflows`` in a set. ``available`` False plays an outage; ``pause`` lets other callers go first."""

    def __init__(self) -> None:
        self.running: set[str] = set()
        self.available = True
        self.pause: Pause = let_others

    async def is_running(self, command_id: str) -> bool:
        await self.pause()
        if not self.available:
            raise StoreUnavailable("Temporal in memory", f"asking for {command_id}", "made unavailable")
        return command_id in self.running

    async def running_among(self, command_ids: Collection[str]) -> Collection[str]:
        await self.pause()
        if not self.available:
            raise StoreUnavailable("Temporal in memory", f"asking for {len(command_ids)} commands", "made unavailable")
        return self.running & set(command_ids)
