"""The cost of a command on streams of different lengths, in a process that has them cached and in one that has not."""

import asyncio
import statistics
import time
from collections import Counter
from dataclasses import dataclass

from benchmarks.contenders import asked
from oncelog.client.client import new_command_id
from oncelog.composition.pipeline import assemble
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, decide, evolve
from oncelog.ports import Watermark
from oncelog.replay.trace import Trace, utc_now
from oncelog.settings import Settings
from oncelog.stores.opening import Stores

WRITES_AT_ONCE = 32
WARM_COMMANDS = 100
COLD_PROCESSES = 10


@dataclass(frozen=True)
class StreamCost:
    """The cost of a commit: its median latency, and how often each store is asked for one command."""

    length: int
    knowing: str
    p50_ms: float
    requests: dict[str, float]


async def measure_stream(settings: Settings, length: int) -> list[StreamCost]:
    """Make a stream and commit updates to it.

    First each in a process of its own that knows nothing of the stream, and neither does Redis; then in one process
    that wrote the event before.
    """
    aggregate_id = AggregateId.of("bench", "Stream", f"of-{length}-{new_command_id()}")
    await _make(settings, aggregate_id, length)
    cold: list[float] = []
    requests: Counter[str] = Counter()
    for _ in range(COLD_PROCESSES):
        async with await _opened(settings, aggregate_id) as stores:
            await stores.ports.leases.forget_stream(aggregate_id)
            latencies_ms, asked_for = await _commits(stores, settings, aggregate_id, number=1)
            cold += latencies_ms
            requests += asked_for
    async with await _opened(settings, aggregate_id) as stores:
        warm, asked_for = await _commits(stores, settings, aggregate_id, number=WARM_COMMANDS)
    return [
        StreamCost(length, "nothing", statistics.median(cold), _each(requests, COLD_PROCESSES)),
        StreamCost(length, "the last event", statistics.median(warm), _each(asked_for, WARM_COMMANDS)),
    ]


async def _opened(settings: Settings, aggregate_id: AggregateId) -> Stores:
    """Connect, and ask what is asked once per process and class."""
    stores = await Stores.connect(settings)
    await stores.ports.names.claim_class_name(aggregate_id.db_name, aggregate_id.class_id)
    await stores.ports.leases.published([aggregate_id])
    await stores.kafka.start()
    return stores


async def _commits(
    stores: Stores, settings: Settings, aggregate_id: AggregateId, *, number: int
) -> tuple[list[float], Counter[str]]:
    pipeline = assemble(stores.ports, settings)
    latencies_ms = []
    before = asked(stores)
    for _ in range(number):
        began = time.perf_counter()
        await pipeline.committer.commit(_command(aggregate_id), occurred_at=utc_now(), trace=Trace())
        latencies_ms.append((time.perf_counter() - began) * 1000)
    return latencies_ms, asked(stores) - before


def _each(requests: Counter[str], commands: int) -> dict[str, float]:
    return {name: number / commands for name, number in sorted(requests.items())}


def _command(aggregate_id: AggregateId, kind: CommandType = CommandType.UPDATE_INSTANCE, number: int = 0) -> Command:
    return Command(
        command_id=new_command_id(),
        command_type=kind,
        db_name=aggregate_id.db_name,
        class_id=aggregate_id.class_id,
        instance_id=aggregate_id.instance_id,
        payload={"n": number},
    )


async def _make(settings: Settings, aggregate_id: AggregateId, length: int) -> None:
    """Write the stream as commands would have left it, snapshot included, without sending each event to Kafka."""
    state = Instance(aggregate_id=str(aggregate_id))
    snapshot = None
    events: list[Event] = []
    for number in range(length):
        kind = CommandType.UPDATE_INSTANCE if number else CommandType.CREATE_INSTANCE
        event = decide(state, _command(aggregate_id, kind, number), occurred_at=utc_now())
        assert isinstance(event, Event)
        events.append(event)
        state = evolve(state, event)
        if state.sequence_number % settings.snapshot_interval_events == 0:
            snapshot = state
    async with await Stores.connect(settings) as stores:
        for start in range(0, length, WRITES_AT_ONCE):
            part = events[start : start + WRITES_AT_ONCE]
            await asyncio.gather(
                *(
                    stores.ports.event_log.append_event(
                        event, published_through=Watermark(1, event.sequence_number - 1)
                    )
                    for event in part
                )
            )
        if snapshot:
            await stores.ports.snapshots.save_snapshot(snapshot)
        await stores.ports.publisher.publish_events(events[-1:])
