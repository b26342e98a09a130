"""Unique values: a command with one against the same command without, new, in bulk, and wanted by many at once.

python -m benchmarks.unique                                              some twelve minutes, on servers of its own
python -m benchmarks.unique --seconds 2 --rounds 1 --items 2000          a first impression

All sides have the same payload in classes with the same schema; one class declares that ``email`` is unique. Sides
take turns, and a ratio is the median of the rounds' ratios.
"""

import argparse
import os
import statistics
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks.bulk import bulk
from benchmarks.commands import command, creation, payload
from benchmarks.contenders import Service, asked, service
from benchmarks.load import Measurement, measure
from benchmarks.raw_store import Batch, timed
from oncelog.client import connection
from oncelog.client.client import new_command_id
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.process import collect_garbage_rarely, run_on_uvloop
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from stack import Stack
from stack.terminal import terminal_reporter

CONCURRENCIES = (1, 32)
WARM_UP_S = 1.0
WARM_UP_ITEMS = 100
COUNTED_COMMANDS = 20
FREE, UNIQUE = "Free", "Unique"
"""Two classes of one schema: without a constraint and with one."""

Ask = Callable[[], Awaitable[int]]
"""Does something, and returns in how many commands."""


@dataclass(frozen=True)
class Block:
    """One side under load once. ``requests``: per command, by store and operation."""

    side: str
    turn: int
    load: Measurement
    commands: int
    requests: Mapping[str, float]

    @property
    def rate(self) -> float:
        """Commands per second."""
        return self.commands / self.load.duration_s


class Creations:
    """Commands of one service. Each returns in how many commands it was done."""

    def __init__(self, ours: Service) -> None:
        self._client = ours.client
        self._name = new_command_id()

    async def without_constraint(self) -> int:
        return await self._applied(creation(FREE, email=new_command_id()))

    async def without_value(self) -> int:
        return await self._applied(creation(UNIQUE))

    async def with_new_value(self) -> int:
        return await self._applied(creation(UNIQUE, email=new_command_id()))

    async def with_held_value(self) -> int:
        """Want a value that one instance holds all the time, and be refused."""
        result = await self._client.submit(creation(UNIQUE, email=f"{self._name}-held"))
        assert is_refused(result), result
        return 1

    async def hold(self) -> None:
        """Create the instance that holds that value."""
        await self._applied(creation(UNIQUE, email=f"{self._name}-held"))

    async def with_contended_value(self) -> int:
        """Want a value that all others want, too; delete the instance if it got it, which sets the value free."""
        result = await self._client.submit(creation(UNIQUE, email=f"{self._name}-contended"))
        if result.outcome is not Outcome.APPLIED:
            assert is_refused(result), result
            return 1
        instance_id = str(result.aggregate_id).rpartition("/")[2]
        await self._applied(command(CommandType.DELETE_INSTANCE, {}, class_id=UNIQUE, instance_id=instance_id))
        return 2

    async def _applied(self, command: Command) -> int:
        result = await self._client.submit(command)
        assert result.outcome is Outcome.APPLIED, result
        return 1


def is_refused(result: CommandResult) -> bool:
    """Return whether a command was refused a value."""
    return result.rejection is not None and result.rejection.code is RejectionCode.UNIQUE_VIOLATED


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.unique", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=6, help="of load per side, concurrency and round")
    parser.add_argument("--rounds", type=int, default=3, help="how often all sides take their turn")
    parser.add_argument("--items", type=int, default=100_000, help="of a bulk command, per side")
    options = parser.parse_args()
    collect_garbage_rarely()  # as a worker's process does
    with Stack.temporary(reporter=terminal_reporter()) as stack:
        os.environ.update(stack.environment())
        settings = Settings.from_environment()
        run_on_uvloop(_prepare(settings))
        blocks = run_on_uvloop(_measured(settings, seconds=options.seconds, rounds=options.rounds))
        batches = run_on_uvloop(_in_bulk(settings, items=options.items))
    _print_blocks(blocks)
    _print_batches(batches)
    return 0


async def _prepare(settings: Settings) -> None:
    """Define both classes."""
    await connection.prepare(await connection.connect())
    async with await Stores.connect(settings) as stores:
        await stores.prepare()
    text = {"type": "string"}
    schema = {"type": "object", "properties": {"name": text, "email": text}, "required": ["name"]}
    async with service(settings, eager=True) as ours:
        for class_id, unique in ((FREE, {}), (UNIQUE, {"unique": {"email": ["/email"]}})):
            definition = {"version": "1.0.0", "schema": schema, **unique}
            result = await ours.client.submit(command(CommandType.DEFINE_CLASS, definition, class_id=class_id))
            assert result.outcome is Outcome.APPLIED, result


async def _measured(settings: Settings, *, seconds: float, rounds: int) -> list[Block]:
    """Let all sides take their turn in each round; one service serves them all."""
    blocks: list[Block] = []
    async with service(settings, eager=True) as ours:
        made = Creations(ours)
        await made.hold()
        sides: dict[str, Ask] = {
            "no constraint": made.without_constraint,
            "a constraint, no value": made.without_value,
            "a new value": made.with_new_value,
            "a value that is held": made.with_held_value,
            "a value taken and let go": made.with_contended_value,
        }
        for ask in sides.values():
            await measure(_counted(ask, Counter()), concurrency=4, seconds=WARM_UP_S)
        for turn in range(rounds):
            for side, ask in sides.items():
                blocks += [await _block(ours.stores, side, ask, turn, at_once, seconds) for at_once in CONCURRENCIES]
    return blocks


async def _block(stores: Stores, side: str, ask: Ask, turn: int, concurrency: int, seconds: float) -> Block:
    commands: Counter[str] = Counter()
    before = asked(stores)
    load = await measure(_counted(ask, commands), concurrency=concurrency, seconds=seconds)
    number = commands["done"]
    return Block(side, turn, load, number, {name: count / number for name, count in (asked(stores) - before).items()})


def _counted(ask: Ask, commands: Counter[str]) -> Callable[[], Awaitable[None]]:
    async def counted() -> None:
        number = await ask()
        commands["done"] += number

    return counted


async def _in_bulk(settings: Settings, *, items: int) -> list[tuple[Batch, Mapping[str, float]]]:
    """Create instances in bulk without a constraint and with a new value each."""
    found: list[tuple[Batch, Mapping[str, float]]] = []
    for class_id in (FREE, UNIQUE):
        async with bulk(settings, class_id=class_id, payload_of=lambda name: {**payload(), "email": name}) as ours:
            await (await ours.prepare(WARM_UP_ITEMS))()
            apply = await ours.prepare(items)
            before = asked(ours.stores)
            batch = await timed(class_id, 0, items, apply())
            requests = asked(ours.stores) - before
            found.append((batch, {name: number / items for name, number in requests.items()}))
    return found


def _print_blocks(blocks: list[Block]) -> None:
    first = blocks[0].side
    for concurrency in CONCURRENCIES:
        print(f"\nat {concurrency:<22} commands/s   to the first     p50 ms   per command")
        for side in dict.fromkeys(block.side for block in blocks):
            own = _of(blocks, side, concurrency)
            others = _of(blocks, first, concurrency)
            rate = statistics.median(block.rate for block in own)
            ratio = statistics.median(one.rate / other.rate for one, other in zip(own, others, strict=True))
            p50_ms = statistics.median(block.load.p50_ms for block in own)
            print(f"{side:<25} {rate:>10.1f} {ratio:>14.2f} {p50_ms:>10.1f}   {_words(own[-1].requests)}")


def _of(blocks: Iterable[Block], side: str, concurrency: int) -> list[Block]:
    return [block for block in blocks if (block.side, block.load.concurrency) == (side, concurrency)]


def _print_batches(batches: list[tuple[Batch, Mapping[str, float]]]) -> None:
    first = batches[0][0]
    print(f"\n{first.events:,} items in bulk     items/s   to the first   CPU ms each   per item")
    for (batch, requests), side in zip(batches, ("no constraint", "a new value each"), strict=True):
        cpu_ms = batch.cpu_s * 1000 / batch.events
        print(f"{side:<20} {batch.rate:>12,.0f} {batch.rate / first.rate:>14.2f} {cpu_ms:>13.2f}   {_words(requests)}")


def _words(requests: Mapping[str, float]) -> str:
    """Return requests per command, those of S3 first; rare ones are left out."""
    shown = sorted(requests.items(), key=lambda pair: (not pair[0].startswith("S3"), pair[0]))
    return ", ".join(f"{number:.2f} {name}" for name, number in shown if number >= 0.005)


if __name__ == "__main__":
    sys.exit(main())
