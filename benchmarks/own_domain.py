"""The cost of one's own code: commands of an own aggregate beside those of instances, reactions beside plain starts.

python -m benchmarks.own_domain                          some four minutes, on servers of its own
python -m benchmarks.own_domain --seconds 4 --rounds 2 --events 1000

*Commands*: creations with the same data, by one service in turn: per second, CPU of all servers and this process per
command, requests and history events per command.

*Reactions*: a reactor starts one command for each event of a topic that is there already. The plain side has finished
commands in memory and starts as many workflows at once by ``Client.start_workflow``. No worker takes them: only
starting is measured, from the first start to the last.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.common import WorkflowIDReusePolicy

from benchmarks.bulk import bulk
from benchmarks.commands import creation
from benchmarks.contenders import Contender, Service, asked, service
from benchmarks.costs import Block, Cost, block_of, cost_of
from benchmarks.load import measure
from oncelog import Command, Event, NewCommand, Reaction, command_to, new_command_id
from oncelog.bounded_gather import bounded_gather
from oncelog.client import connection
from oncelog.client.client import Oncelog
from oncelog.client.reactions import command_starter
from oncelog.composition.read_models import assemble_projector, event_services_of
from oncelog.domain.aggregates import (
    Aggregate,
    DecisionContext,
    DomainCommand,
    DomainEvent,
    DomainState,
    registered,
)
from oncelog.process import collect_garbage_rarely, run_on_uvloop
from oncelog.reactions.model import AGGREGATES_AT_ONCE_MAX, ReactionModel
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.settings import Settings
from oncelog.stores.kafka.subscription import KafkaSubscription, projector_group
from oncelog.stores.opening import Stores
from stack import Stack
from stack.terminal import terminal_reporter

CONCURRENCIES = (1, 32)
WARM_UP_S = 2.0


class Made(DomainEvent):
    name: str
    price: float
    tags: list[str]
    description: str


class Lamp(DomainState):
    name: str = ""
    price: float = 0.0
    tags: tuple[str, ...] = ()
    description: str = ""


class Make(DomainCommand):
    name: str
    price: float
    tags: list[str]
    description: str


def decide(_state: Lamp, command: Make, _context: DecisionContext) -> Made:
    return Made(**command.model_dump())


def evolve(_state: Lamp, event: Made) -> Lamp:
    return Lamp.model_validate(event.model_dump())


lamp = Aggregate(
    name="OwnLamp", state=Lamp, initial=Lamp(), commands=(Make,), events=(Made,), decide=decide, evolve=evolve
)


def own_creation() -> Command:
    """Return a command that makes a new aggregate of the same data as ``creation`` does an instance."""
    command_id = new_command_id()
    return command_to(lamp, "bench", command_id, Make(**creation().payload), command_id=command_id)


@dataclass(frozen=True)
class Starts:
    """How many commands were started per second, and CPU time of this process for each."""

    per_s: float
    cpu_us: float


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.own_domain",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=8, help="of load per side, concurrency and round")
    parser.add_argument("--rounds", type=int, default=3, help="how often all sides take their turn")
    parser.add_argument("--events", type=int, default=3_000, help="that a reaction starts a command for")
    options = parser.parse_args()
    collect_garbage_rarely()  # as a worker's process does
    with Stack.temporary(reporter=terminal_reporter()) as stack, registered(lamp):
        os.environ.update(stack.environment())
        settings = Settings.from_environment()
        run_on_uvloop(_prepare(settings))
        blocks, costs = run_on_uvloop(_commands(stack, settings, seconds=options.seconds, rounds=options.rounds))
        reacted, plain = run_on_uvloop(_reactions(settings, events=options.events, rounds=options.rounds))
    _print_commands(blocks, costs)
    _print_starts(reacted, plain)
    return 0


async def _prepare(settings: Settings) -> None:
    await connection.prepare(await connection.connect())
    async with await Stores.connect(settings) as stores:
        await stores.prepare()


async def _commands(stack: Stack, settings: Settings, *, seconds: float, rounds: int) -> tuple[list[Block], list[Cost]]:
    """Let both sides take their turn in each round; one service serves them all."""
    async with service(settings, eager=True) as ours:
        sides = {"instance": _contender(ours, own=False), "own aggregate": _contender(ours, own=True)}
        for contender in sides.values():
            await measure(contender.ask, concurrency=4, seconds=WARM_UP_S)
        blocks = [
            await block_of(stack, name, contender, turn=turn, concurrency=concurrency, seconds=seconds)
            for turn in range(rounds)
            for concurrency in CONCURRENCIES
            for name, contender in sides.items()
        ]
        return blocks, [await cost_of(name, contender) for name, contender in sides.items()]


def _contender(ours: Service, *, own: bool) -> Contender:
    last = ""

    async def ask() -> None:
        nonlocal last
        command = own_creation() if own else creation()
        last = command.command_id
        result = await ours.client.submit(command)
        assert result.sequence_number == 1, result

    return Contender(ask, lambda: asked(ours.stores), lambda: ours.temporal.get_workflow_handle(last).fetch_history())


async def _reactions(settings: Settings, *, events: int, rounds: int) -> tuple[list[Starts], list[Starts]]:
    async with bulk(settings, class_id="Order") as path:
        await (await path.prepare(events))()
    temporal = await connection.connect()
    reacted, plain = list[Starts](), list[Starts]()
    for _ in range(rounds + 1):  # the first round warms up
        reacted.append(await _by_reactor(settings, temporal, events))
        plain.append(await _by_plain_starts(settings, temporal, events))
    return reacted[1:], plain[1:]


async def _by_reactor(settings: Settings, temporal: Client, events: int) -> Starts:
    """Run a reactor with a new reaction, to which all events are new."""

    def react(event: Event) -> Iterator[NewCommand]:
        yield NewCommand(
            command_type="CREATE_INSTANCE",
            db_name="bench",
            class_id="Shipment",
            instance_id=event.instance_id,
            payload=event.data,
        )

    reaction = Reaction(f"r{new_command_id()}", react, classes=["bench/Order"])
    stopping = asyncio.Event()
    began, number = (0.0, 0.0), 0
    async with await Stores.connect(settings) as stores:
        await stores.kafka.open()
        starting = command_starter(Oncelog(stores.ports, settings, temporal=temporal))

        async def start(command: Command) -> None:
            nonlocal began, number
            if began == (0.0, 0.0):
                began = time.perf_counter(), time.process_time()
            await starting(command)
            number += 1
            if number == events:
                stopping.set()

        model = ReactionModel(reaction, stores.ports, start=start)
        reactor = assemble_projector(
            stores.ports,
            event_services_of(model, stores.ports, by="benchmark"),
            subscription=KafkaSubscription(settings, group=projector_group(model.name)),
            metrics=ProjectorMetrics(model.name),
        )
        running = asyncio.create_task(reactor.run(stopping))
        await stopping.wait()
        starts = _starts(events, *began)
        await running
    return starts


async def _by_plain_starts(settings: Settings, temporal: Client, events: int) -> Starts:
    commands = [creation() for _ in range(events)]

    async def start(command: Command) -> None:
        await temporal.start_workflow(
            "InstanceCommand",
            command,
            id=command.command_id,
            task_queue=settings.task_queue,
            id_reuse_policy=WorkflowIDReusePolicy.REJECT_DUPLICATE,
        )

    began = time.perf_counter(), time.process_time()
    await bounded_gather(start, commands, at_once=AGGREGATES_AT_ONCE_MAX)
    return _starts(events, *began)


def _starts(events: int, began_s: float, began_cpu_s: float) -> Starts:
    return Starts(events / (time.perf_counter() - began_s), (time.process_time() - began_cpu_s) * 1e6 / events)


def _print_commands(blocks: list[Block], costs: list[Cost]) -> None:
    for concurrency in CONCURRENCIES:
        print(f"\nat {concurrency:<16} commands/s   p50 ms   CPU ms per command, all of it")
        sides = {
            name: [block for block in blocks if (block.contender, block.load.concurrency) == (name, concurrency)]
            for name in dict.fromkeys(block.contender for block in blocks)
        }
        for name, own in sides.items():
            rate = statistics.median(block.load.throughput for block in own)
            p50_ms = statistics.median(block.load.p50_ms for block in own)
            print(f"{name:<20} {rate:>9.1f} {p50_ms:>8.1f} {statistics.median(map(_cpu_ms, own)):>8.1f}")
        pairs = list(zip(sides["own aggregate"], sides["instance"], strict=True))
        rate = statistics.median(one.load.throughput / other.load.throughput for one, other in pairs)
        cpu = statistics.median(_cpu_ms(one) / _cpu_ms(other) for one, other in pairs)
        print(f"{'ratio':<20} {rate:>9.2f} {'':>8} {cpu:>8.2f}")
    for cost in costs:
        requests = ", ".join(f"{number:g} {what}" for what, number in sorted(cost.requests.items()))
        print(f"{cost.contender:<20} {cost.history_events} history events, {requests}")


def _cpu_ms(block: Block) -> float:
    return sum(block.cpu_ms_each.values())


def _print_starts(reacted: list[Starts], plain: list[Starts]) -> None:
    print(f"\n{'starts':<20} per second   CPU µs of this process")
    for name, turns in (("reaction", reacted), ("start_workflow", plain)):
        per_s = statistics.median(turn.per_s for turn in turns)
        print(f"{name:<20} {per_s:>9,.0f} {statistics.median(turn.cpu_us for turn in turns):>10,.0f}")
    ratios = [one.per_s / other.per_s for one, other in zip(reacted, plain, strict=True)]
    cpu = statistics.median(other.cpu_us / one.cpu_us for one, other in zip(reacted, plain, strict=True))
    print(f"{'ratio':<20} {statistics.median(ratios):>9.2f} ({min(ratios):.2f} to {max(ratios):.2f}), of CPU {cpu:.2f}")


if __name__ == "__main__":
    sys.exit(main())
