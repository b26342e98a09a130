"""Does what was planned: waits until work is under way, breaks something, mends it, and notes what that met."""

import asyncio
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from oncelog.verification.history import HistoryWriter, Lost
from tests.chaos.installation import Installation, say
from tests.chaos.kinds import KINDS, Note
from tests.chaos.load import ReconcileSummary
from tests.chaos.plan import PlannedFault, as_json
from tests.chaos.tampering import Unnoticed

WORK_TIMEOUT_S = 30.0
"""How long to wait for a command to be under way before a fault is done without one."""

MENDING_TIMEOUT_S = 1800.0
"""Of all servers together, each of which may be started twice."""
POLL_S = 0.02


@dataclass
class Done:
    """One fault as it went. Times are on the monotonic clock, in seconds; ``struck``: how many commands it met."""

    planned: PlannedFault
    struck: int
    note: Note
    began_s: float
    healed_s: float = 0.0
    waiting: int = 0
    """How many commands had no answer when it was mended."""
    trouble: str = ""


@dataclass
class Nemesis:
    """Breaks one thing after the other.

    ``unnoticed``: damage that a reader took for the truth; ``skipped``: faults beyond this machine, by kind.
    """

    installation: Installation
    history: HistoryWriter
    tally: ReconcileSummary
    done: list[Done] = field(default_factory=list)
    unnoticed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    left_out: int = 0
    """How many faults of the plan did not fit into the time."""

    async def run(self, plan: Sequence[PlannedFault], *, until_s: float) -> None:
        """Do all that was planned, or what of it fits until that time."""
        for number, planned in enumerate(plan, start=1):
            if time.monotonic() > until_s:
                self.left_out = len(plan) - number + 1
                say(f"out of time after {number - 1} of {len(plan)} faults")
                return
            lacking = self.installation.lacks(KINDS[planned.kind].needs)
            if lacking:
                self.skipped[planned.kind] += 1
                say(f"{number:3} of {len(plan)}  {planned.kind:28} skipped: {lacking}")
                continue
            await self.installation.tend()
            await asyncio.sleep(planned.pause_s)
            await self._work_under_way()
            done = await self._do(planned)
            say(
                f"{number:3} of {len(plan)}  {planned.kind:28} {dict(planned.draws)} met {done.struck} commands, "
                f"{done.waiting} waiting when mended after {done.healed_s - done.began_s:.1f} s"
                f"{'  ' + str(done.note) if done.note else ''}{'  TROUBLE: ' + done.trouble if done.trouble else ''}"
            )

    async def _work_under_way(self) -> None:
        until_s = time.monotonic() + WORK_TIMEOUT_S
        while not self.tally.in_flight and time.monotonic() < until_s:
            await asyncio.sleep(POLL_S)

    async def _do(self, planned: PlannedFault) -> Done:
        kind = KINDS[planned.kind]
        began_s = time.monotonic()
        done = Done(planned, 0, {}, began_s)
        loses = [Lost.STREAM] if planned.kind == "kafka_topic_dropped" else []
        operation = self.history.fault_started(planned.kind, kind.part, loses=loses, planned=as_json(planned))
        try:
            async with kind.fault(self.installation, planned.draws) as note:
                done.note = note
                met = set(self.tally.in_flight)
                await asyncio.sleep(planned.hold_s)
                await self._work_under_way()
                done.struck = len(met | self.tally.in_flight)
        except Unnoticed as error:
            self.unnoticed.append(str(error))
        except Exception as error:  # noqa: BLE001 - told in the report, and everything is mended first
            done.trouble = f"{type(error).__name__}: {error}"
            async with asyncio.timeout(MENDING_TIMEOUT_S):
                await self.installation.heal()
        self.history.fault_ended(operation)
        done.healed_s = time.monotonic()
        done.waiting = len(self.tally.unanswered)
        self.done.append(done)
        return done
