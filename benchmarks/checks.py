"""The memory of a check of the invariants, on an installation that is made up: ``python -m benchmarks.checks EVENTS``.

Bucket, stream and read models are computed from a number, so that the process holds nothing but the check. Each of
``EVENTS / EVENTS_EACH`` instances has that many events, each by a command of its own.
"""

import asyncio
import resource
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from oncelog.checks.verify import nothing_in_flight, verify
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.events import Event
from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, decide, evolve
from oncelog.domain.records import record_of
from oncelog.domain.stored_names import PUBLISHED_THROUGH
from oncelog.ports import Document, FoundNode, IndexFacts, TopicFacts
from oncelog.read_models.document import document_of
from oncelog.stores.kafka.messages import Message, headers_of
from oncelog.stores.s3.bucket import KEYS_PER_LIST_MAX, ListedObject, StoredObject
from oncelog.verification.reading import Sources

EVENTS_EACH = 4
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
NOON = "2026-01-01T12:00:00.000000Z"
DATA_BYTES = 200


def command(instance: int, number: int) -> Command:
    """Return the command that made an event."""
    return Command(
        command_id=f"c-{instance:08d}-{number:02d}",
        command_type=CommandType.CREATE_INSTANCE if number == 1 else CommandType.UPDATE_INSTANCE,
        db_name="shop",
        class_id="Product",
        instance_id=f"p{instance:08d}",
        payload={"name": f"product {instance}", f"k{number}": number, "text": "x" * DATA_BYTES},
    )


@lru_cache(maxsize=2_000)
def stream(instance: int) -> tuple[list[Event], Instance]:
    """Return the events of an instance, and what they fold to."""
    state = Instance(aggregate_id=f"shop/Product/p{instance:08d}")
    events: list[Event] = []
    for number in range(1, EVENTS_EACH + 1):
        event = decide(state, command(instance, number), occurred_at=NOON, accepted=True)
        assert isinstance(event, Event)
        events.append(event)
        state = evolve(state, event)
    return events, state


class Bucket:
    """A bucket that computes what it holds."""

    def __init__(self, instances: int) -> None:
        self._instances = instances

    async def get(self, key: str) -> StoredObject | None:
        parts = key.split("/")
        if parts[0] == "events" and len(parts) == 5:
            body = stream(int(parts[3][1:]))[0][int(parts[4][:20]) - 1].canonical
            return StoredObject(body, {PUBLISHED_THROUGH: "0"})
        if parts[0] == "commands":
            _, instance, number = parts[1].split("-")
            made = record_of(command(int(instance), int(number)), number=1, occurred_at=NOON, end=int(number))
            return StoredObject(made.canonical)
        return None

    async def list_after(
        self, prefix: str, after: str, *, count_max: int = KEYS_PER_LIST_MAX
    ) -> tuple[list[ListedObject], bool]:
        found: list[ListedObject] = []
        of_events = "events/".startswith(prefix[:7]) and prefix.startswith("events/")
        if not of_events and not prefix.startswith("commands/"):
            return [], False
        for instance in range(self._first(after), self._instances):
            for number in range(1, EVENTS_EACH + 1):
                key = (
                    f"events/shop/Product/p{instance:08d}/{number:020d}.json"
                    if of_events
                    else f"commands/c-{instance:08d}-{number:02d}/000001.json"
                )
                if key > after and key.startswith(prefix):
                    found.append(ListedObject(key, LONG_AGO))
            if len(found) > count_max + EVENTS_EACH:
                break
        return found[:count_max], len(found) > count_max

    def _first(self, after: str) -> int:
        parts = after.split("/")
        name = parts[3][1:9] if parts[0] == "events" and len(parts) > 3 else parts[1][2:10] if len(parts) > 1 else ""
        if parts[0] == "events" and len(parts) == 3 and parts[2] > "Product":
            return self._instances
        return int(name) if name.isdigit() else 0

    async def now(self) -> datetime:
        return LONG_AGO + timedelta(seconds=time.monotonic())

    async def put_if_absent(self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None) -> None:
        raise NotImplementedError

    async def put(self, key: str, body: bytes) -> None:
        raise NotImplementedError

    async def delete(self, key: str) -> None:
        raise NotImplementedError


class Servers:
    """Stream, documents and graph, computed as well."""

    def __init__(self, instances: int) -> None:
        self._instances = instances

    async def messages(self, *, after: Mapping[int, int]) -> AsyncIterator[Message]:
        if after:
            return
        for instance in range(self._instances):
            for event in stream(instance)[0]:
                offset = instance * EVENTS_EACH + event.sequence_number
                yield Message(0, offset, event.aggregate_id.encode(), tuple(headers_of(event)), event.canonical)

    async def topics(self) -> Sequence[TopicFacts]:
        return []

    async def documents(self, **_: object) -> AsyncIterator[Document]:
        for instance in range(self._instances):
            yield document_of(stream(instance)[1])

    async def indices(self, **_: object) -> Sequence[IndexFacts]:
        return []

    async def read_documents(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Any]:
        raise NotImplementedError("nothing is looked at twice here")

    async def scan_nodes(self, _db_name: str) -> AsyncIterator[FoundNode]:
        for instance in range(self._instances):
            node = GraphNode(AggregateId.parse(f"shop/Product/p{instance:08d}"), EVENTS_EACH)
            yield FoundNode(node.aggregate_id, node.version, node)


async def main(events: int) -> None:
    """Check, and print the time and the most memory that the process had."""
    instances = events // EVENTS_EACH
    servers: Any = Servers(instances)
    sources = Sources(Bucket(instances), servers, servers, servers, servers)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started_s = time.monotonic()
    report = await verify(sources, in_flight=nothing_in_flight)
    seconds = time.monotonic() - started_s
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    cpu = time.process_time()
    print(f"{report.verdict}: {report.read.events} events of {report.read.aggregates} aggregates in {seconds:.0f} s")
    print(f"{cpu:.0f} s of CPU time; {before:.0f} MiB before, {peak:.0f} MiB at most")
    if report.findings:
        print(report.findings[:3])


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 200_000))
