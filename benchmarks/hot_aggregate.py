"""A hot aggregate: commands of other instances while hundreds of one instance's wait, against the same when none do.

python -m benchmarks.hot_aggregate                       some three minutes, on servers of its own
python -m benchmarks.hot_aggregate --hot 300             a first impression
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from dataclasses import dataclass, field

from benchmarks.commands import command, creation, payload
from benchmarks.contenders import Service, service
from oncelog.client import connection
from oncelog.client.client import new_command_id
from oncelog.domain.commands import CommandType
from oncelog.domain.results import CommandResult, Outcome
from oncelog.process import collect_garbage_rarely, run_on_uvloop
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from stack import Stack
from stack.terminal import terminal_reporter

HOT = "hot"
QUIET_COMMANDS = 20
STARTS_AT_ONCE = 32
#: Temporal bounds the requests of a namespace that wait for an answer.
WAITS_AT_ONCE = 500


@dataclass
class Waits:
    """Seconds from the start of each command of another instance to its end."""

    alone: list[float] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hot_aggregate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--hot", type=int, default=1_500, help="updates of one instance that are queued at once")
    options = parser.parse_args()
    collect_garbage_rarely()  # as a worker's process does
    with Stack.temporary(reporter=terminal_reporter()) as stack:
        os.environ.update(stack.environment())
        waits, hot_s = run_on_uvloop(_measured(Settings.from_environment(), hot=options.hot))
    print(f"{options.hot:,} updates of one instance: {hot_s:.0f} s, {options.hot / hot_s:.1f} a second")
    print("a creation of another instance    times   median s   p95 s   worst s")
    for name, times in (("while none of them waits", waits.alone), ("while they wait", waits.beside)):
        p95_s = statistics.quantiles(times, n=20)[-1]
        print(f"{name:<30} {len(times):>8} {statistics.median(times):>10.2f} {p95_s:>7.2f} {max(times):>9.2f}")
    print(f"ratio of medians {statistics.median(waits.beside) / statistics.median(waits.alone):.1f}")
    return 0


async def _measured(settings: Settings, *, hot: int) -> tuple[Waits, float]:
    """Create instances one after another, at first alone, then for as long as commands of the hot one are left."""
    await connection.prepare(await connection.connect())
    async with await Stores.connect(settings) as stores:
        await stores.prepare()
    waits = Waits()
    async with service(settings, eager=False) as ours:
        await ours.client.submit(command(CommandType.CREATE_INSTANCE, payload(), instance_id=HOT))
        for _ in range(QUIET_COMMANDS):
            waits.alone.append(await _created(ours))
        began = time.monotonic()
        updates = asyncio.create_task(_queued(ours, hot))
        while not updates.done():
            waits.beside.append(await _created(ours))
        await updates
        return waits, time.monotonic() - began


async def _created(ours: Service) -> float:
    """Create another instance, and return after how many seconds its command had ended."""
    began = time.monotonic()
    result = await ours.client.submit(creation())
    assert result.sequence_number == 1, result
    return time.monotonic() - began


async def _queued(ours: Service, hot: int) -> None:
    """Start all updates of the hot instance, and wait until each was applied once."""
    starting, waiting = asyncio.Semaphore(STARTS_AT_ONCE), asyncio.Semaphore(WAITS_AT_ONCE)

    async def update() -> CommandResult:
        async with starting:
            handle = await ours.client.start(
                command(CommandType.UPDATE_INSTANCE, {"by": new_command_id()}, instance_id=HOT)
            )
        async with waiting:
            return await handle.result()

    results = await asyncio.gather(*(update() for _ in range(hot)))
    assert {result.outcome for result in results} == {Outcome.APPLIED}, results
    assert {result.sequence_number for result in results} == set(range(2, hot + 2))


if __name__ == "__main__":
    sys.exit(main())
