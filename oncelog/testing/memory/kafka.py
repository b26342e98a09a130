"""The in-memory twin of Kafka: one append-only list of messages, and groups that share its partitions."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oncelog.domain.events import Event
from oncelog.errors import InputInvalid, StoreUnavailable
from oncelog.ports import Delivery, Generations, TopicFacts, TopicOffsets
from oncelog.stores.kafka.messages import Message, headers_of
from oncelog.stores.kafka.topics import partition_of
from oncelog.testing.memory.pause import Pause, let_others

POLL_S = 0.002
MEMORY_TOPIC = "events"


class MemoryPublisher:
    """An ``EventPublisher`` without a server. ``messages`` is the topic; ``available`` False plays an outage.

    ``pause`` lets other callers go first. ``incarnation`` is the topic's ID: a recreated topic has another. Partitions
    that are added later hold nothing.
    """

    def __init__(self, *, partitions: int = 1) -> None:
        self.messages: list[Message] = []
        self.partitions = self._first_partitions = partitions
        self.incarnation = 0
        self.available = True
        self.pause: Pause = let_others

    @property
    def answers(self) -> bool:
        """Whether a call is worth waiting for."""
        return self.available

    async def generations(self) -> Generations:
        """Return the number of the topic as it is; no failure happens here."""
        return Generations(self.incarnation + 1, self.incarnation + 1)

    async def publish_events(self, events: Sequence[Event]) -> None:
        """Append the events one by one, letting others in between; raises StoreUnavailable."""
        for event in events:
            await self.pause()
            if not self.available:
                doing = f"publishing {event.aggregate_id} event {event.sequence_number}"
                raise StoreUnavailable("Kafka in memory", doing, "made unavailable")
            self.append(event.aggregate_id.encode(), event.canonical, tuple(headers_of(event)))

    def append(self, key: bytes, value: bytes, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Append any message, as any producer of the topic can."""
        partition = partition_of(key, self._first_partitions)
        self.messages.append(Message(partition, len(self.of(partition)), key, tuple(headers), value))

    def of(self, partition: int) -> list[Message]:
        """Return a partition's messages."""
        return [message for message in self.messages if message.partition == partition]

    def make_anew(self) -> None:
        """Lose the topic and everything in it, and make an empty one of the same name."""
        self.messages.clear()
        self.incarnation += 1


class MemoryTopics:
    """A ``TopicPublisher`` without a server. ``topics``: the messages by topic; ``available`` False plays an outage."""

    def __init__(self) -> None:
        self.topics: dict[str, list[Event]] = {}
        self.available = True
        self.pause: Pause = let_others

    async def demand_topic(self, topic: str) -> None:
        await self.pause()
        if topic not in self.topics:
            raise InputInvalid(f"topic {topic}: expected it to exist, found none of this name; create it first")

    async def publish_to(self, topic: str, events: Sequence[Event]) -> None:
        for event in events:
            await self.pause()
            if not self.available:
                raise StoreUnavailable("Kafka in memory", f"publishing to {topic}", "made unavailable")
            self.topics[topic].append(event)


class MemoryFailures:
    """A ``FailureStream`` without a server. ``announced`` is the topic; ``available`` False plays an outage."""

    def __init__(self) -> None:
        self.announced: list[tuple[str, Mapping[str, Any]]] = []
        self.available = True

    async def announce(self, key: str, body: Mapping[str, Any]) -> None:
        """Append it; raises StoreUnavailable."""
        await let_others()
        if not self.available:
            raise StoreUnavailable("Kafka in memory", f"announcing {key}", "made unavailable")
        self.announced.append((key, body))


@dataclass
class MemoryGroup:
    """A consumer group's state in Kafka: its members, and its committed offsets with their topic."""

    topic: MemoryPublisher
    members: list["MemorySubscription"] = field(default_factory=list)
    committed: dict[int, tuple[int, int]] = field(default_factory=dict)  # partition: incarnation and offset

    async def rebalance(self, members: Sequence["MemorySubscription"]) -> None:
        """Assign the partitions to these members, after their former owners were informed."""
        await asyncio.gather(*(member.giving_up() for member in self.members if member in members))
        self.members = list(members)
        for index, member in enumerate(self.members):
            mine = range(index, self.topic.partitions, len(self.members))
            member.positions = {partition: self.start_of(partition) for partition in mine}

    def start_of(self, partition: int) -> int:
        """Return a partition's next offset: the committed one, if it is still the same topic."""
        incarnation, offset = self.committed.get(partition, (self.topic.incarnation, 0))
        return offset if incarnation == self.topic.incarnation else 0


class MemorySubscription:
    """An ``EventSubscription`` without a server. ``available`` False plays an outage."""

    def __init__(self, group: MemoryGroup) -> None:
        self._group = group
        self._incarnation = group.topic.incarnation
        self.positions: dict[int, int] = {}
        self.available = True
        self.giving_up: Callable[[], Awaitable[None]] = let_others

    async def start(self, giving_up: Callable[[], Awaitable[None]]) -> None:
        """Join the group; raises StoreUnavailable."""
        self._demand("joining")
        self.giving_up = giving_up
        self._incarnation = self._group.topic.incarnation
        await self._group.rebalance([*self._group.members, self])

    async def next_batch(self, *, messages_max: int, wait_s: float) -> Sequence[Delivery]:
        """Return the next messages; raises StoreUnavailable."""
        until_s = time.monotonic() + wait_s
        while True:
            self._demand("fetching")
            if self._incarnation != self._group.topic.incarnation:
                await self.giving_up()
                self._incarnation = self._group.topic.incarnation
                self.positions = dict.fromkeys(self.positions, 0)
            found = _taken(self._group.topic, self.positions, messages_max)
            if found or time.monotonic() >= until_s:
                return found
            await asyncio.sleep(POLL_S)

    async def commit_offsets(self, offsets: Mapping[int, int]) -> None:
        """Keep the offsets of partitions that are ours; raises StoreUnavailable."""
        await let_others()
        self._demand("committing")
        for partition, offset in offsets.items():
            if partition in self.positions:
                self._group.committed[partition] = (self._incarnation, offset)

    def lag(self) -> Mapping[int, int]:
        """Return how many messages were not handed out yet."""
        topic = self._group.topic
        return {partition: len(topic.of(partition)) - position for partition, position in self.positions.items()}

    async def stop(self) -> None:
        """Leave the group, as if by a crash if it does not answer."""
        self.positions = {}
        if self in self._group.members:
            await self._group.rebalance([member for member in self._group.members if member is not self])

    def _demand(self, doing: str) -> None:
        if not self.available:
            raise StoreUnavailable("Kafka in memory", doing, "made unavailable")


class MemoryFeed:
    """An ``EventFeed`` without a server. ``available`` False plays an outage."""

    def __init__(self, publisher: MemoryPublisher) -> None:
        self._publisher = publisher
        self._incarnation = publisher.incarnation
        self._offsets: dict[int, int] = {}
        self.available = True

    async def open_feed(self, start: Mapping[str, TopicOffsets] | None) -> None:
        """Begin at these offsets, or at the end; raises StoreUnavailable."""
        self._demand("opening a feed")
        self._incarnation = self._publisher.incarnation
        partitions = range(self._publisher.partitions)
        if start is None:
            self._offsets = {partition: len(self._publisher.of(partition)) for partition in partitions}
            return
        known = start.get(MEMORY_TOPIC)
        same = known is not None and known.topic_id == str(self._incarnation)
        self._offsets = dict.fromkeys(partitions, 0) | (dict(known.offsets) if known and same else {})

    async def next_messages(self, *, messages_max: int, wait_s: float) -> Sequence[Delivery]:
        """Return the next messages; raises StoreUnavailable."""
        until_s = time.monotonic() + wait_s
        while True:
            self._demand("fetching")
            if self._incarnation != self._publisher.incarnation:
                self._incarnation = self._publisher.incarnation
                self._offsets = dict.fromkeys(self._offsets, 0)
            found = _taken(self._publisher, self._offsets, messages_max)
            if found or time.monotonic() >= until_s:
                return found
            await asyncio.sleep(POLL_S)

    def feed_offsets(self) -> Mapping[str, TopicOffsets]:
        """Return where the feed goes on."""
        return {MEMORY_TOPIC: TopicOffsets(str(self._incarnation), dict(self._offsets))}

    async def close_feed(self) -> None:
        """Leave; nothing is kept."""

    def _demand(self, doing: str) -> None:
        if not self.available:
            raise StoreUnavailable("Kafka in memory", doing, "made unavailable")


def _taken(topic: MemoryPublisher, positions: dict[int, int], messages_max: int) -> list[Delivery]:
    """Hand out the next messages of these partitions, and move the positions past them."""
    found: list[Delivery] = []
    for partition, position in positions.items():
        for message in topic.of(partition)[position : position + messages_max - len(found)]:
            sent_at_ms = int(time.time() * 1000)
            found.append(Delivery(partition, message.offset, message.key, message.headers, message.value, sent_at_ms))
            positions[partition] = message.offset + 1
    return found


class MemoryProgress:
    """How far groups of subscribers have come, by the name of the read model that each keeps up to date."""

    def __init__(self, topic: MemoryPublisher, groups: Mapping[str, MemoryGroup]) -> None:
        self._topic = topic
        self._groups = groups

    async def reached(self, read_model: str) -> Mapping[int, int]:
        """Return by partition the offset that a group goes on from, 0 where it never committed any."""
        await let_others()
        group = self._groups.get(read_model) or MemoryGroup(self._topic)
        return {partition: group.start_of(partition) for partition in range(self._topic.partitions)}


class MemoryStream:
    """The topic of a ``MemoryPublisher``, as a verification reads it."""

    def __init__(self, publisher: MemoryPublisher) -> None:
        self._publisher = publisher

    async def topics(self) -> Sequence[TopicFacts]:
        """Return the one topic; its ID is the number of times that it was recreated."""
        return [TopicFacts(MEMORY_TOPIC, str(self._publisher.incarnation))]

    async def messages(self, *, after: Mapping[int, int]) -> AsyncIterator[Message]:
        """Yield the messages that exist now, beyond the offsets in ``after``."""
        for message in list(self._publisher.messages):
            if message.offset > after.get(message.partition, -1):
                yield message
