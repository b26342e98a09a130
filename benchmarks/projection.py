"""The projector against Elasticsearch's own bulk helper, on the same documents, in turn.

python -m benchmarks.projection                          some two minutes, on servers of its own
python -m benchmarks.projection --documents 3000 --rounds 3

The helper is given finished documents in memory. The projector fetches messages from Kafka, verifies and parses them,
migrates and folds the events, writes the same documents, and commits its offsets. Every message is of another
instance, so that nothing is saved by writing only the newest one of each. Joining the group is not counted, its time
begins with the first message. Beside them, what the projector cannot do without: fetching the same messages, and
nothing else. CPU time is that of this process; the servers' comes on top, and is the same for both.
"""

import argparse
import asyncio
import os
import statistics
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from elasticsearch import AsyncElasticsearch
from elasticsearch.helpers import async_streaming_bulk
from rich.console import Console
from rich.table import Table

from oncelog.domain.commands import Command, CommandType
from oncelog.domain.decide import decide
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.ports import Delivery, Document, EventSubscription
from oncelog.process import collect_garbage_rarely
from oncelog.projector import new_projector
from oncelog.read_models.document import document_of
from oncelog.read_models.projector.loop import BATCH_MESSAGES_MAX
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.replay.trace import utc_now
from oncelog.settings import Settings
from oncelog.stores.kafka.subscription import KafkaSubscription
from oncelog.stores.opening import Stores
from stack import Stack
from stack.terminal import terminal_reporter

SENDS_AT_ONCE = 200
SERVERS = ("s3", "kafka", "elasticsearch")
EXISTING_VARIABLE = "ONCELOG_BENCH_STACK"


@dataclass(frozen=True)
class Rate:
    """Documents per second, and CPU time of this process for each."""

    per_s: float
    cpu_us: float


@dataclass(frozen=True)
class Round:
    """All of them, one after the other. ``reading``: messages fetched, and left at that."""

    projector: Rate
    helper: Rate
    reading: Rate

    @property
    def ratio(self) -> float:
        return self.projector.per_s / self.helper.per_s


class Stopwatch:
    """Begins when it is made."""

    def __init__(self) -> None:
        self._began_s, self._cpu_began_s = time.perf_counter(), time.process_time()

    def rate(self, documents: int) -> Rate:
        """Return the rate until now."""
        took_s, cpu_s = time.perf_counter() - self._began_s, time.process_time() - self._cpu_began_s
        return Rate(documents / took_s, cpu_s / documents * 1e6)


class Watched:
    """A subscription that measures from its first message until all of so many messages are committed."""

    def __init__(self, inner: EventSubscription, messages: int) -> None:
        self._inner = inner
        self._messages = messages
        self._committed: dict[int, int] = {}
        self._watch: Stopwatch | None = None
        self.rate: asyncio.Future[Rate] = asyncio.get_running_loop().create_future()

    async def start(self, giving_up: Callable[[], Awaitable[None]]) -> None:
        await self._inner.start(giving_up)

    async def next_batch(self, *, messages_max: int, wait_s: float) -> Sequence[Delivery]:
        batch = await self._inner.next_batch(messages_max=messages_max, wait_s=wait_s)
        if batch and not self._watch:
            self._watch = Stopwatch()
        return batch

    async def commit_offsets(self, offsets: Mapping[int, int]) -> None:
        await self._inner.commit_offsets(offsets)
        self._committed.update(offsets)
        if self._watch and sum(self._committed.values()) >= self._messages and not self.rate.done():
            self.rate.set_result(self._watch.rate(self._messages))

    def lag(self) -> Mapping[int, int]:
        return self._inner.lag()

    async def stop(self) -> None:
        await self._inner.stop()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.projection",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--documents", type=int, default=8_000, help="per contender and round")
    parser.add_argument("--rounds", type=int, default=5, help="how often both take their turn")
    options = parser.parse_args()
    collect_garbage_rarely()
    if os.environ.get(EXISTING_VARIABLE) == "existing":
        rounds = asyncio.run(_measure(options.documents, options.rounds))
    else:
        with Stack.temporary(SERVERS, reporter=terminal_reporter()) as stack:
            os.environ.update(stack.environment())
            rounds = asyncio.run(_measure(options.documents, options.rounds))
    _print(Console(width=None if sys.stdout.isatty() else 130), rounds)
    return 0


async def _measure(documents: int, rounds: int) -> list[Round]:
    reporter = terminal_reporter()
    found: list[Round] = []
    for turn in range(rounds + 1):  # the first one warms servers and this process up
        namespace = f"bench-{uuid.uuid4().hex[:8]}"
        settings = Settings.from_environment().model_copy(update={"namespace": namespace})
        async with await Stores.connect(settings) as stores:
            await stores.prepare(with_redis=False)
            events = [_event(turn, number) for number in range(documents)]
            await _send(stores, events)
            if turn % 2:
                helper, projector = await _by_helper(stores, events), await _by_projector(stores, settings, documents)
            else:
                projector, helper = await _by_projector(stores, settings, documents), await _by_helper(stores, events)
            reading = await _by_reading(settings, documents)
            await _drop_indices(settings)
        if turn:
            found.append(Round(projector, helper, reading))
            reporter.note(f"round {turn} of {rounds}: projector {projector.per_s:,.0f}/s, helper {helper.per_s:,.0f}/s")
    return found


async def _by_projector(stores: Stores, settings: Settings, documents: int) -> Rate:
    await _make_index(stores, _event("warm", 0))
    watched = Watched(KafkaSubscription(settings, group="bench"), documents)
    stopping = asyncio.Event()
    projector = new_projector(stores, settings, ProjectorMetrics("documents"), subscription=watched)
    running = asyncio.create_task(projector.run(stopping))
    rate = await watched.rate
    stopping.set()
    await running
    return rate


async def _by_reading(settings: Settings, documents: int) -> Rate:
    subscription = KafkaSubscription(settings, group="bench-reading")
    watch: Stopwatch | None = None
    read = 0
    while read < documents:
        batch = await subscription.next_batch(messages_max=BATCH_MESSAGES_MAX, wait_s=1.0)
        watch = watch or (Stopwatch() if batch else None)
        read += len(batch)
    assert watch
    rate = watch.rate(documents)
    await subscription.stop()
    return rate


async def _by_helper(stores: Stores, events: Sequence[Event]) -> Rate:
    """Write to a class of its own with the same mapping, in requests of as many documents as the projector's."""
    alias = stores.documents.alias_of(AggregateId.parse("bench/Helper/x"))
    documents = [_document(event) for event in events]
    await _make_index(stores, _event("warm", 0, class_id="Helper"))
    url = Settings.from_environment().elasticsearch.url
    async with AsyncElasticsearch(url) as client:
        actions = [action_of(alias, document) for document in documents]
        watch = Stopwatch()
        async for ok, result in async_streaming_bulk(client, actions, chunk_size=BATCH_MESSAGES_MAX):
            assert ok, result
        return watch.rate(len(documents))


async def _drop_indices(settings: Settings) -> None:
    """Leave none on servers that stay up: a node of Elasticsearch holds a thousand shards and no more."""
    async with AsyncElasticsearch(settings.elasticsearch.url) as client:
        left = await client.indices.get(index=f"{settings.namespace}.*")
        await client.indices.delete(index=list(left))


async def _make_index(stores: Stores, event: Event) -> None:
    (failure,) = await stores.ports.documents.write_documents([_document(event)])
    if failure:
        raise failure


def action_of(alias: str, document: Document) -> dict[str, Any]:
    return {
        "_op_type": "index",
        "_index": alias,
        "_id": document.aggregate_id.instance_key,
        "version": document.sequence_number,
        "version_type": "external",
        "_source": document.body,
    }


def _document(event: Event) -> Document:
    return document_of(evolve(Instance(aggregate_id=event.aggregate_id), event))


def _event(turn: int | str, number: int, *, class_id: str = "Projected") -> Event:
    command = Command(
        command_id=f"{turn}-{number}-{class_id}",
        command_type=CommandType.CREATE_INSTANCE,
        db_name="bench",
        class_id=class_id,
        instance_id=f"{turn}-{number}",
        payload={
            "name": f"Lamp number {number}",
            "description": "A lamp for the desk, with an arm that turns and a shade of steel.",
            "price": number / 7,
            "tags": ["light", "desk", f"shelf {number % 50}"],
            "maker": {"name": "Leuchten GmbH", "city": "Kassel", "country": "DE"},
        },
    )
    event = decide(Instance(aggregate_id=str(command.aggregate_id)), command, occurred_at=utc_now())
    assert isinstance(event, Event)
    return event


async def _send(stores: Stores, events: Sequence[Event]) -> None:
    for start in range(0, len(events), SENDS_AT_ONCE):
        await asyncio.gather(
            *(stores.ports.publisher.publish_events([event]) for event in events[start : start + SENDS_AT_ONCE])
        )


def _print(console: Console, rounds: Sequence[Round]) -> None:
    table = Table(title="The projector against async_streaming_bulk", title_justify="left", box=None)
    for heading in ("", "documents/s", "CPU µs each", "to the helper"):
        table.add_column(heading, justify="left" if not heading else "right")
    ratios = [each.ratio for each in rounds]
    told = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    _add(table, "projector", [each.projector for each in rounds], told)
    _add(table, "helper", [each.helper for each in rounds], "1")
    _add(table, "fetching alone", [each.reading for each in rounds], "")
    console.print(table)


def _add(table: Table, name: str, rates: Sequence[Rate], ratio: str) -> None:
    per_s, cpu_us = statistics.median(each.per_s for each in rates), statistics.median(each.cpu_us for each in rates)
    table.add_row(name, f"{per_s:,.0f}", f"{cpu_us:.0f}", ratio)


if __name__ == "__main__":
    sys.exit(main())
