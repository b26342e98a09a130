"""Reads the stored data for an audit: many objects at once, each again where a server gives no answer."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Protocol, TypeVar

import stamina

from oncelog.domain.dead_letters import DeadLetter, skipped_through
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import results_key, summary_key
from oncelog.errors import LogDamaged, StoreUnavailable
from oncelog.ports import (
    UNPUBLISHED,
    CommandStatuses,
    Document,
    Documents,
    IndexFacts,
    LargeObjects,
    TopicFacts,
    Watermark,
    WholeGraph,
    last_numbers,
)
from oncelog.stores.kafka.messages import Message
from oncelog.stores.s3 import Bucket, ListedObject, S3DeadLetters, StoredObject
from oncelog.stores.s3.bucket import KEYS_PER_LIST_MAX
from oncelog.stores.s3.event_log import watermark_of
from oncelog.verification.bulk import BulkReader
from oncelog.verification.findings import Finding
from oncelog.verification.log import SLOT_KEY

READS_IN_FLIGHT_MAX = 32
BLOCK_BYTES = 1 << 20
TRIES_MAX = 5
FIRST_PAUSE_S = 0.4

Answer = TypeVar("Answer")

#: Called with the kind of the objects being read and the number of those read so far.
Progress = Callable[[str, int], None]


class TimedBucket(Bucket, Protocol):
    """A bucket that tells the time."""

    async def now(self) -> datetime:
        """Return the time by S3's clock, in whole seconds on some servers; raises StoreUnavailable."""
        ...


class Stream(Protocol):
    """The topic of events, from its beginning."""

    def messages(self, *, after: Mapping[int, int]) -> AsyncIterator[Message]:
        """Yield the messages there now, each partition's in order; ``after``: the last offset seen, by partition."""
        ...

    async def topics(self) -> Sequence[TopicFacts]:
        """Return the topics of events that there are. Raises StoreUnavailable."""
        ...


class Projectors(Protocol):
    """The projectors that project the stream, where commands leave it to them."""

    async def reached(self, read_model: str) -> Mapping[int, int]:
        """Return by partition of the stream the offset that they go on from, 0 where they were never seen.

        Partitions that are not theirs to read are not named. Raises StoreUnavailable.
        """
        ...


class Scan(Protocol):
    """All documents, tombstones included."""

    def documents(self, *, db_name: str | None = None, but: Collection[str] = ()) -> AsyncIterator[Document]:
        """Yield every document under the name by which a reader finds it, those behind the aliases ``but`` left out."""
        ...

    async def indices(self, *, db_name: str | None = None) -> Sequence[IndexFacts]:
        """Return the indices of documents and of the graph, those without an alias too. Raises StoreUnavailable."""
        ...


@dataclass(frozen=True)
class Sources:
    """Where everything lies. ``large_objects``: how archived rows are read; None: the archive is left aside.

    ``statuses``: the results that clients are told; None: they are not compared.
    """

    bucket: TimedBucket
    stream: Stream
    scan: Scan
    documents: Documents
    graph: WholeGraph
    large_objects: LargeObjects | None = None
    statuses: CommandStatuses | None = None


@dataclass(frozen=True)
class ReadObject:
    """An object as it was found. ``body`` None: it could not be read for the reason in ``damage``.

    ``watermark``: stored with an event. ``written_at``: by S3's clock, where that was listed.
    ``is_there``: whether there is an object at all.
    """

    key: str
    body: bytes | None
    damage: str = ""
    watermark: Watermark = UNPUBLISHED
    written_at: datetime | None = None
    is_there: bool = True


class PatientBucket:
    """A bucket that sends requests for reading again where they get no answer."""

    def __init__(self, bucket: TimedBucket) -> None:
        self._bucket = bucket

    async def get(self, key: str) -> StoredObject | None:
        return await answered(partial(self._bucket.get, key))

    async def list_after(
        self, prefix: str, after: str, *, count_max: int = KEYS_PER_LIST_MAX
    ) -> tuple[list[ListedObject], bool]:
        return await answered(partial(self._bucket.list_after, prefix, after, count_max=count_max))

    async def now(self) -> datetime:
        return await answered(self._bucket.now)

    async def put_if_absent(
        self, key: str, body: bytes, *, metadata: Mapping[str, str] | None = None
    ) -> StoredObject | None:
        return await self._bucket.put_if_absent(key, body, metadata=metadata)

    async def put(self, key: str, body: bytes) -> None:
        await self._bucket.put(key, body)

    async def delete(self, key: str) -> None:
        await self._bucket.delete(key)


class DeadLetterLookup:
    """The dead letters by which aggregates need not be shown at their head; listed once, at the first question."""

    def __init__(self, bucket: Bucket) -> None:
        self._stored = S3DeadLetters(bucket)
        self._last: dict[str, Mapping[AggregateId, int]] = {}

    async def excusing(self, read_model: str, aggregate_id: str, head: int) -> DeadLetter | None:
        """Return the dead letter that waits for a person, or with which one gave up on the version ``head``, or None.

        Raises LogDamaged, StoreUnavailable.
        """
        place = AggregateId.parse(aggregate_id)
        if read_model not in self._last:
            self._last[read_model] = await answered(partial(last_numbers, self._stored, read_model))
        if place not in self._last[read_model]:
            return None
        dead_letters = await answered(partial(self._stored.dead_letter_history, read_model, place))
        return dead_letters[-1] if dead_letters[-1].waits else skipped_through(dead_letters, head)


async def read_results(bucket: Bucket, bulk: BulkReader) -> list[Finding]:
    """Return the findings about the results of a bulk command that has ended; raises StoreUnavailable."""
    summary = await read_object(bucket, summary_key(bulk.command_id))
    results = await read_object(bucket, results_key(bulk.command_id))
    if summary.body is None or results.body is None:
        return [bulk.no_results()]
    check, body = bulk.results_check(), results.body
    for start in range(0, len(body), BLOCK_BYTES):
        check.add(body[start : start + BLOCK_BYTES])
    sha256 = check.end()
    return [*check.judge(), *bulk.judge_summary(summary.body, sha256)]


async def objects(
    bucket: Bucket, prefix: str, *, after: str | None = None, end: str | None = None
) -> AsyncIterator[ReadObject]:
    """Yield every object with the prefix in the order of the keys, some being read ahead.

    ``after`` and ``end``: only keys above ``after``, up to and with ``end``.
    """
    async for found in read_ahead(bucket, listed_objects(bucket, prefix, after=after, end=end)):
        yield found


async def read_ahead(bucket: Bucket, listing: AsyncIterator[ListedObject]) -> AsyncIterator[ReadObject]:
    """Yield listed objects in their order, some being read ahead."""
    ahead: deque[asyncio.Task[ReadObject]] = deque()
    try:
        async for listed in listing:
            ahead.append(asyncio.create_task(read_object(bucket, listed.key, listed.written_at)))
            if len(ahead) >= READS_IN_FLIGHT_MAX:
                yield await ahead.popleft()
        while ahead:
            yield await ahead.popleft()
    finally:
        for task in ahead:
            task.cancel()


async def listed_objects(
    bucket: Bucket, prefix: str, *, after: str | None = None, end: str | None = None
) -> AsyncIterator[ListedObject]:
    """Yield every object with the prefix as it is listed; ``after`` and ``end`` as in ``objects``."""
    position, more = after or prefix, True
    while more:
        listed, more = await answered(partial(bucket.list_after, prefix, position))
        for each in listed:
            if end is not None and each.key > end:
                return
            yield each
        position = listed[-1].key if listed else position


async def read_object(bucket: Bucket, key: str, written_at: datetime | None = None) -> ReadObject:
    """Return an object as it is now; raises StoreUnavailable where S3 gives no answer however often it is asked."""
    try:
        found = await answered(partial(bucket.get, key))
    except LogDamaged as error:
        return ReadObject(key, None, error.message, written_at=written_at)
    if found is None:
        damage = "nothing, though it was listed just before"
        return ReadObject(key, None, damage, written_at=written_at, is_there=False)
    watermark = watermark_of(found, key) if SLOT_KEY.fullmatch(key) else UNPUBLISHED
    return ReadObject(key, found.body, watermark=watermark, written_at=written_at)


async def answered(ask: Callable[[], Awaitable[Answer]]) -> Answer:
    """Ask until there is an answer; raises StoreUnavailable when there was none ``TRIES_MAX`` times.

    The first time without stamina, which takes half as much CPU as reading an object, and the second time at once.
    """

    async def ask_again() -> Answer:
        return await ask()

    again = stamina.AsyncRetryingCaller(
        attempts=TRIES_MAX - 1, timeout=None, wait_initial=FIRST_PAUSE_S, wait_jitter=FIRST_PAUSE_S
    )
    try:
        return await ask()
    except StoreUnavailable:
        answer: Answer = await again(StoreUnavailable, ask_again)
        return answer
