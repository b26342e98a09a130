"""Reads everything that lies in the servers into an audit: quickly, in bounded memory, and in an order that allows
others to write meanwhile.
"""

import asyncio
import re
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

import stamina

from oncelog.domain.canonical import parse_stored
from oncelog.domain.dead_letters import DeadLetter, skipped_through
from oncelog.domain.graph import GraphNode
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.stored_names import results_key, summary_key
from oncelog.errors import InputInvalid, LogDamaged, StoreUnavailable
from oncelog.ports import (
    UNPUBLISHED,
    Document,
    Documents,
    FoundNode,
    IndexFacts,
    TopicFacts,
    Watermark,
    WholeGraph,
    last_numbers,
)
from oncelog.stores.kafka.messages import Message
from oncelog.stores.s3 import Bucket, S3DeadLetters, S3TopicRecords
from oncelog.stores.s3.event_log import watermark_of
from oncelog.verification.archive import judge_archive
from oncelog.verification.audit import Audit
from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import SLOT_KEY

READS_IN_FLIGHT_MAX = 32
DATABASE_KEY = re.compile(r"names/[^/]+\.json")
SHOWN_PER_READ = 200
TRIES_MAX = 5
FIRST_PAUSE_S = 0.4

Answer = TypeVar("Answer")

#: Called with what is being read and how much of it has been.
Progress = Callable[[str, int], None]


class Stream(Protocol):
    """The topic of events, from its beginning."""

    def messages(self, *, after: Mapping[int, int]) -> AsyncIterator[Message]:
        """Yield what is there now, each partition's in order; ``after``: the last offset seen, by partition."""
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
    """Where everything lies."""

    bucket: Bucket
    stream: Stream
    scan: Scan
    documents: Documents
    graph: WholeGraph


@dataclass(frozen=True)
class ReadObject:
    """An object as it was found. ``body`` None: it could not be read for the reason in ``damage``.

    ``watermark``: the one that an event was written with.
    """

    key: str
    body: bytes | None
    damage: str = ""
    watermark: Watermark = UNPUBLISHED


class Reading:
    """Reads one audit's worth, and again what others have written since.

    Events come before records, so that an event's record is there already; messages, documents and nodes come
    last, so that what is missing in them was given time, and what is ahead of the log is looked up once more.
    """

    def __init__(self, sources: Sources, audit: Audit, progress: Progress) -> None:
        self._sources = sources
        self._audit = audit
        self._progress = progress
        self._offsets: dict[int, int] = {}
        self._with_dead_letters: dict[str, Mapping[AggregateId, int]] = {}

    async def read_all(self) -> None:
        """Read everything; raises StoreUnavailable when a server gives no answer however often it is asked."""
        of_database = f"events/{self._audit.db_name}/" if self._audit.db_name else "events/"
        classes = tuple([f"events/{db_name}/{CLASSES}/" async for db_name in self._databases()])
        for prefix in classes:
            await self._add_objects("classes", prefix)
        await self._add_objects("events", of_database, but=classes)
        await self.read_archive()
        await self._add_objects("commands", "commands/")
        await self.read_results()
        await self.read_topics()
        await self.read_messages()
        await self.read_indices()
        await self.read_documents()
        await self.read_nodes()
        await self.read_indices()

    async def read_archive(self) -> None:
        """Hold the archive of every class against its log."""
        places = sorted({AggregateId.parse(name)[:2] for name in self._audit.logs})
        for number, (db_name, class_id) in enumerate(places, start=1):
            bucket, logs = self._sources.bucket, self._audit.logs
            async for finding in judge_archive(bucket, logs, db_name, class_id, answered=answered):
                self._audit.archive.append(finding)
            self._progress("archives", number)

    async def read_results(self) -> None:
        """Read the results of the bulk commands that have come to their end."""
        for bulk in self._audit.commands.finished_bulks:
            summary = await _read(self._sources.bucket, summary_key(bulk.command_id))
            results = await _read(self._sources.bucket, results_key(bulk.command_id))
            self._audit.add_results(bulk, summary.body, results.body)

    async def read_topics(self) -> None:
        """Look at the topics of events, and at the records of their generations."""
        records = S3TopicRecords(self._sources.bucket)
        for topic in await answered(self._sources.stream.topics):
            try:
                self._audit.add_topic(topic, await answered(partial(records.topic_history, topic.topic)))
            except LogDamaged as error:
                finding = Finding(Code.OBJECT_UNREADABLE, f"records of topic {topic.topic}", error.message)
                self._audit.stream.findings.append(finding)

    async def read_messages(self) -> None:
        """Read the messages that came since the last time."""
        async for message in self._sources.stream.messages(after=dict(self._offsets)):
            self._audit.add_message(message)
            self._offsets[message.partition] = message.offset
            self._progress("messages", self._audit.stream.messages)

    async def read_indices(self) -> None:
        """Look at the indices of the read models."""
        self._audit.add_indices(await answered(partial(self._sources.scan.indices, db_name=self._audit.db_name)))

    async def read_documents(self) -> None:
        """Read all documents that can be read."""
        unreadable = self._audit.containers.unreadable
        async for document in self._sources.scan.documents(db_name=self._audit.db_name, but=unreadable):
            self._audit.add_document(document)
            self._progress("documents", self._audit.documents.count)

    async def read_documents_again(self, aggregate_ids: Iterable[str]) -> None:
        """Read the documents of some aggregates as they are now."""
        wanted = [AggregateId.parse(each) for each in aggregate_ids if not self._audit.documents.is_unread(each)]
        for start in range(0, len(wanted), SHOWN_PER_READ):
            some = wanted[start : start + SHOWN_PER_READ]
            for document in await self._sources.documents.read_documents(some):
                if document is not None:
                    self._audit.add_document(document)

    async def read_nodes(self) -> None:
        """Read the graph of every database that the log names."""
        readable = (each for each in self._audit.logs if not self._audit.nodes.is_unread(each))
        for db_name in sorted({AggregateId.parse(aggregate_id).db_name for aggregate_id in readable}):
            async for found in self._sources.graph.scan_nodes(db_name):
                self._audit.add_node(found)
                self._progress("nodes", self._audit.nodes.count)

    async def read_nodes_again(self, aggregate_ids: Iterable[str]) -> None:
        """Read the nodes of some aggregates as they are now."""
        wanted = [AggregateId.parse(each) for each in aggregate_ids if not self._audit.nodes.is_unread(each)]
        for start in range(0, len(wanted), SHOWN_PER_READ):
            for node in await self._nodes(wanted[start : start + SHOWN_PER_READ]):
                if node is not None:
                    self._audit.add_node(FoundNode(node.aggregate_id, node.version, node))

    async def _nodes(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[GraphNode | None]:
        """Read nodes; None for one that cannot be read, which the scan has told already."""
        try:
            return await self._sources.graph.read_nodes(aggregate_ids)
        except LogDamaged:
            if len(aggregate_ids) == 1:
                return [None]
            return [node for aggregate_id in aggregate_ids for node in await self._nodes([aggregate_id])]

    async def parked(self, read_model: str, aggregate_id: str) -> DeadLetter | None:
        """Return the dead letter by which an aggregate need not be projected at its head, or None.

        It waits for a person, or one has given up on that version. Aggregates with dead letters are listed once, at the
        first call.
        """
        stored, place = S3DeadLetters(self._sources.bucket), AggregateId.parse(aggregate_id)
        if read_model not in self._with_dead_letters:
            self._with_dead_letters[read_model] = await answered(partial(last_numbers, stored, read_model))
        if place not in self._with_dead_letters[read_model]:
            return None
        dead_letters = await answered(partial(stored.dead_letter_history, read_model, place))
        return (
            dead_letters[-1]
            if dead_letters[-1].waits
            else skipped_through(dead_letters, self._audit.logs[aggregate_id].head)
        )

    async def look_again(self, aggregate_ids: Iterable[str], command_ids: Iterable[str]) -> None:
        """Read the logs of some aggregates, classes first, and the records of some commands as they are now."""
        for aggregate_id in sorted(aggregate_ids, key=lambda name: f"/{CLASSES}/" not in name):
            slots: dict[int, tuple[bytes | None, str]] = {}
            async for found in objects(self._sources.bucket, f"events/{aggregate_id}/"):
                match = SLOT_KEY.fullmatch(found.key)
                if match:
                    slots[int(match[2])] = (found.body, found.damage)
            self._audit.look_again(aggregate_id, slots)
        for command_id in command_ids:
            async for found in objects(self._sources.bucket, f"commands/{command_id}/"):
                self._audit.add_object(found.key, found.body, damage=found.damage)
        await self.read_results()

    async def _databases(self) -> AsyncIterator[str]:
        """Yield the databases whose names are legible; classes of others are read with the rest."""
        async for found in objects(self._sources.bucket, "names/"):
            match = DATABASE_KEY.fullmatch(found.key)
            try:
                db_name = parse_stored(found.body or b"", where=found.key)["db_name"] if match else None
            except (InputInvalid, KeyError, TypeError):
                continue
            if isinstance(db_name, str) and self._audit.db_name in (None, db_name):
                yield db_name

    async def _add_objects(self, what: str, prefix: str, *, but: tuple[str, ...] = ()) -> None:
        count = 0
        async for found in objects(self._sources.bucket, prefix):
            if found.key.startswith(but):
                continue
            self._audit.add_object(found.key, found.body, damage=found.damage, watermark=found.watermark)
            count += 1
            self._progress(what, count)


async def objects(bucket: Bucket, prefix: str) -> AsyncIterator[ReadObject]:
    """Yield every object with the prefix in the order of the keys, some being read ahead."""
    ahead: deque[asyncio.Task[ReadObject]] = deque()
    try:
        async for key in _keys(bucket, prefix):
            ahead.append(asyncio.create_task(_read(bucket, key)))
            if len(ahead) >= READS_IN_FLIGHT_MAX:
                yield await ahead.popleft()
        while ahead:
            yield await ahead.popleft()
    finally:
        for task in ahead:
            task.cancel()


async def _keys(bucket: Bucket, prefix: str) -> AsyncIterator[str]:
    after, more = prefix, True
    while more:
        listed, more = await answered(partial(bucket.list_after, prefix, after))
        for found in listed:
            yield found.key
        after = listed[-1].key if listed else after


async def _read(bucket: Bucket, key: str) -> ReadObject:
    try:
        found = await answered(partial(bucket.get, key))
    except LogDamaged as error:
        return ReadObject(key, None, error.message)
    if found and SLOT_KEY.fullmatch(key):
        return ReadObject(key, found.body, watermark=watermark_of(found, key))
    return ReadObject(key, found.body) if found else ReadObject(key, None, "nothing, though it was listed just before")


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
