"""Many events at once: S3's throughput for this client, against which a bulk command is measured.

Each contender writes the same number of events of the same bytes with as many requests at a time, and says how long it
took. The floor is the plain conditional PUT through the client that the command path uses; beside it boto3's
``put_object`` in threads, as one would write it without us.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import boto3
from botocore.config import Config

from benchmarks.commands import command, payload
from oncelog.client.client import new_command_id
from oncelog.domain.commands import CommandType
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, decide
from oncelog.replay.trace import utc_now
from oncelog.settings import Settings
from oncelog.stores.s3 import open_bucket

#: Writes an object unless one stands there, under a key of its own.
Put = Callable[[str, bytes], Awaitable[None]]


@dataclass(frozen=True)
class Batch:
    """One contender's turn: how many events it wrote, in which time, and the CPU time of its own process."""

    contender: str
    turn: int
    events: int
    duration_s: float
    cpu_s: float

    @property
    def rate(self) -> float:
        """Events per second."""
        return self.events / self.duration_s


@asynccontextmanager
async def conditional_put(settings: Settings) -> AsyncIterator[Put]:
    """The client that the command path uses, and nothing around it."""
    bucket = await open_bucket(settings)

    async def put(key: str, body: bytes) -> None:
        assert await bucket.put_if_absent(key, body, metadata={"published-through": "0"}) is None

    yield put
    await bucket.close()


@asynccontextmanager
async def boto3_put(settings: Settings) -> AsyncIterator[Put]:
    """boto3 as it comes, in as many threads as it may hold connections."""
    config = Config(max_pool_connections=settings.s3.connections_max)
    client = boto3.session.Session().client("s3", endpoint_url=settings.s3.endpoint_url, config=config)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(settings.s3.connections_max) as threads:

        async def put(key: str, body: bytes) -> None:
            request = partial(client.put_object, Bucket=settings.s3.bucket, Key=key, Body=body, IfNoneMatch="*")
            await loop.run_in_executor(threads, request)

        yield put
    client.close()


async def write_all(put: Put, *, events: int, concurrency: int) -> None:
    """Write so many events into slots that are free, ``concurrency`` of them at a time."""
    objects = _objects(events)

    async def writer() -> None:
        for key, body in objects:
            await put(key, body)

    await asyncio.gather(*(writer() for _ in range(concurrency)))


async def timed(contender: str, turn: int, events: int, work: Awaitable[None]) -> Batch:
    """Measure what writes so many events."""
    began, cpu_before = time.perf_counter(), time.process_time()
    await work
    return Batch(contender, turn, events, time.perf_counter() - began, time.process_time() - cpu_before)


def _objects(events: int) -> Iterator[tuple[str, bytes]]:
    """Yield keys and bytes like those of the log, beside it. One event gives all bytes: making them is not measured."""
    name = new_command_id()
    body = _event(f"{name}-0").canonical
    for index in range(events):
        aggregate_id = AggregateId.of("bench", "Raw", f"{name}-{index}")
        yield f"raw/{aggregate_id}/{1:020d}.json", body


def _event(instance_id: str) -> Event:
    aggregate_id = AggregateId.of("bench", "Raw", instance_id)
    creating = command(CommandType.CREATE_INSTANCE, payload(), class_id="Raw", instance_id=instance_id)
    event = decide(Instance(aggregate_id=str(aggregate_id)), creating, occurred_at=utc_now())
    assert isinstance(event, Event)
    return event
