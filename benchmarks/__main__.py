"""Bring up servers of their own, measure all contenders in turn, and print ratios first.

python -m benchmarks                            some eight minutes
python -m benchmarks --seconds 2 --rounds 1     a first impression
"""

import argparse
import os
import sys
from functools import partial

from rich.console import Console

from benchmarks.bulk import bulk
from benchmarks.contenders import Opening, floor, oncelog
from benchmarks.costs import Block, Cost, block_of, cost_of
from benchmarks.floor import FloorOfSteps
from benchmarks.load import measure
from benchmarks.on_dbos import OnDbos
from benchmarks.raw_store import Batch, boto3_put, conditional_put, timed, write_all
from benchmarks.report import print_report
from benchmarks.streams import StreamCost, measure_stream
from oncelog.client import connection
from oncelog.process import collect_garbage_rarely, run_on_uvloop
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from stack import Stack
from stack.servers import DEFAULT
from stack.terminal import terminal_reporter

CONCURRENCIES = (1, 32)
STREAM_LENGTHS = (10, 1_000, 10_000)
BATCH_EVENTS = 5_000
BATCH_WARM_UP_EVENTS = 100
WARM_UP_S = 1.0


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=8, help="of load per contender, concurrency and round")
    parser.add_argument("--rounds", type=int, default=3, help="how often all contenders take their turn")
    options = parser.parse_args()
    collect_garbage_rarely()  # as a worker's process does
    names = [definition.name for definition in DEFAULT]
    with Stack.temporary([*names, "postgresql"], reporter=terminal_reporter()) as stack:
        os.environ.update(stack.environment())
        _measure(stack, options.seconds, options.rounds)
    return 0


def _measure(stack: Stack, seconds: float, rounds: int) -> None:
    """Give each turn an event loop of its own: DBOS ends its loop's threads with itself."""
    settings, reporter = Settings.from_environment(), terminal_reporter()
    openings: dict[str, Opening] = {
        "floor": partial(floor, eager=False),
        "floor of 7": partial(floor, eager=False, workflow=FloorOfSteps),
        "Oncelog": partial(oncelog, eager=False),
        "floor, eager": partial(floor, eager=True),
        "floor of 7, eager": partial(floor, eager=True, workflow=FloorOfSteps),
        "Oncelog, eager": partial(oncelog, eager=True),
        "Oncelog, early": partial(oncelog, eager=True, early=True),
        "DBOS": OnDbos(os.environ["ONCELOG_POSTGRESQL_URL"]).opened,
    }
    run_on_uvloop(_prepare(settings))
    blocks: list[Block] = []
    for turn in range(rounds):
        for name, opening in openings.items():
            reporter.note(f"round {turn + 1} of {rounds}: {name}")
            blocks += run_on_uvloop(_turn(stack, settings, name, opening, turn, seconds))
    reporter.note("what one command costs")
    costs = [run_on_uvloop(_cost(settings, name, opening)) for name, opening in openings.items()]
    streams: list[StreamCost] = []
    for length in STREAM_LENGTHS:
        reporter.note(f"a stream of {length:,} events")
        streams += run_on_uvloop(measure_stream(settings, length))
    batches: list[Batch] = []
    for turn in range(rounds):
        reporter.note(f"round {turn + 1} of {rounds}: {BATCH_EVENTS:,} events at once")
        batches += run_on_uvloop(_batches(settings, turn))
    width = None if sys.stdout.isatty() else 130
    print_report(Console(width=width), blocks, costs, streams, batches)


async def _prepare(settings: Settings) -> None:
    await connection.prepare(await connection.connect())
    async with await Stores.connect(settings) as stores:
        await stores.prepare()


async def _turn(
    stack: Stack, settings: Settings, name: str, opening: Opening, turn: int, seconds: float
) -> list[Block]:
    async with opening(settings) as contender:
        await measure(contender.ask, concurrency=4, seconds=WARM_UP_S)
        return [
            await block_of(stack, name, contender, turn=turn, concurrency=concurrency, seconds=seconds)
            for concurrency in CONCURRENCIES
        ]


async def _batches(settings: Settings, turn: int) -> list[Batch]:
    """Give what writes many events its turn, with as many requests at a time as the command path has connections."""
    batches = []
    for name, opening in (("conditional PUT", conditional_put), ("boto3's put_object", boto3_put)):
        async with opening(settings) as put:
            await write_all(put, events=BATCH_WARM_UP_EVENTS, concurrency=settings.s3.connections_max)
            writing = write_all(put, events=BATCH_EVENTS, concurrency=settings.s3.connections_max)
            batches.append(await timed(name, turn, BATCH_EVENTS, writing))
    async with bulk(settings) as ours:
        await (await ours.prepare(BATCH_WARM_UP_EVENTS))()
        batches.append(await timed("bulk command", turn, BATCH_EVENTS, (await ours.prepare(BATCH_EVENTS))()))
    return batches


async def _cost(settings: Settings, name: str, opening: Opening) -> Cost:
    async with opening(settings) as contender:
        return await cost_of(name, contender)


if __name__ == "__main__":
    sys.exit(main())
