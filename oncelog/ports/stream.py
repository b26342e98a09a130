"""Ports of Kafka: events for subscribers, and announcements of projection failures."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from oncelog.domain.events import Event
from oncelog.domain.identifiers import CLASSES, AggregateId

FIRST_GENERATION = 1


class Watermark(NamedTuple):
    """The last sequence number of an aggregate known to be published, in one generation of its topic.

    A watermark says nothing of any other generation. The order of two watermarks is that of their content: the later
    generation first, then the higher number.
    """

    generation: int
    through: int

    def through_in(self, generation: int) -> int:
        """Return the sequence number if this is a watermark of that generation, else 0: nothing is known of it."""
        return self.through if self.generation == generation else 0

    def at_most(self, sequence_number: int) -> "Watermark":
        """Return the watermark, lowered to a sequence number it may not be beyond."""
        return Watermark(self.generation, min(self.through, sequence_number))


UNPUBLISHED = Watermark(FIRST_GENERATION, 0)


@dataclass(frozen=True)
class Generations:
    """The current generation of each topic of events. A topic that was lost and recreated is the next generation."""

    instances: int = FIRST_GENERATION
    classes: int = FIRST_GENERATION

    def of(self, aggregate_id: AggregateId) -> int:
        """Return the generation of the topic that the aggregate's events go to."""
        return self.classes if aggregate_id.class_id == CLASSES else self.instances


@dataclass(frozen=True)
class TopicRecord:
    """One generation of a topic, as it was first opened: generations are numbered from 1.

    ``topic_id``: Kafka's own ID of the topic, empty where its brokers have none. ``partitions``: the number that
    partitions are computed over for as long as the generation lasts.
    """

    generation: int
    topic_id: str
    partitions: int


@dataclass(frozen=True)
class TopicFacts:
    """A topic of events as its brokers report it. ``topic_id``: empty where they have none."""

    topic: str
    topic_id: str
    of_classes: bool = False


class EventPublisher(Protocol):
    """The stream of events, per aggregate in order."""

    @property
    def answers(self) -> bool:
        """Whether it is worth trying now: False for a moment after a failure, so that no lease is held up by it."""
        ...

    async def generations(self) -> Generations:
        """Return the current generation of each topic, as of a few seconds ago at most while the server answers.

        To know how far an aggregate is published, ask this first, then for the watermark:
        ``watermark.through_in((await publisher.generations()).of(aggregate_id))``. Raises StoreUnavailable only
        where no generation is known yet.
        """
        ...

    async def publish_events(self, events: Sequence[Event]) -> None:
        """Send the events of one aggregate in the given order, each acknowledged before the next is sent.

        The acknowledgements are of the generation that ``generations`` gave before only if it gives the same after.
        """
        ...


class TopicPublisher(Protocol):
    """Events to a topic that an operator names, for a consumer of its own."""

    async def demand_topic(self, topic: str) -> None:
        """Raise InputInvalid unless the topic is there, and none of the streams of events."""
        ...

    async def publish_to(self, topic: str, events: Sequence[Event]) -> None:
        """Send the events of one aggregate in the given order, each acknowledged before the next is sent."""
        ...


class Delivery(NamedTuple):
    """One message of the stream as a subscriber gets it. ``sent_at_ms``: Unix time, the sender's clock."""

    partition: int
    offset: int
    key: bytes | None
    headers: Sequence[tuple[str, bytes]]
    value: bytes | None
    sent_at_ms: int


class EventSubscription(Protocol):
    """A share of the stream, divided among all subscribers under one group's name."""

    async def start(self, giving_up: Callable[[], Awaitable[None]]) -> None:
        """Join. ``giving_up`` is awaited before partitions go to another subscriber: the last chance to commit them."""
        ...

    async def next_batch(self, *, messages_max: int, wait_s: float) -> Sequence[Delivery]:
        """Return the next messages of our partitions, each in order; empty if none comes within ``wait_s``.

        After a rebalance, a restart or a re-created topic it goes on from the committed offsets, so messages may come
        again, and any number of times. Raises StoreUnavailable.
        """
        ...

    async def commit_offsets(self, offsets: Mapping[int, int]) -> None:
        """Keep, by partition, the offset to go on from; partitions that were handed over are left to their new owner.

        Raises StoreUnavailable.
        """
        ...

    def lag(self) -> Mapping[int, int]:
        """Return how many messages of each of our partitions were not handed out yet, as far as is known."""
        ...

    async def stop(self) -> None:
        """Leave, within seconds, even if the server does not answer."""
        ...


@dataclass(frozen=True)
class TopicOffsets:
    """How far a reader has come in one topic: its ID, empty where brokers have none, and next offsets."""

    topic_id: str
    offsets: Mapping[int, int]


class EventFeed(Protocol):
    """The topics of events, read from offsets that the reader keeps itself: no group's offsets change."""

    async def open_feed(self, start: Mapping[str, TopicOffsets] | None) -> None:
        """Begin at these offsets, by topic; None: at the end of each. Raises StoreUnavailable.

        A topic that was recreated since, or that is not named, begins at its beginning.
        """
        ...

    async def next_messages(self, *, messages_max: int, wait_s: float) -> Sequence[Delivery]:
        """Return the next messages, each partition in order; empty if none comes within ``wait_s``.

        A topic that is recreated is read from its beginning, so messages may come again. Raises StoreUnavailable.
        """
        ...

    def feed_offsets(self) -> Mapping[str, TopicOffsets]:
        """Return where the feed goes on after all that was handed out."""
        ...

    async def close_feed(self) -> None:
        """Leave, within seconds, even if the server does not answer."""
        ...


class FailureStream(Protocol):
    """Announces projection failures to subscribers; their records lie in ``DeadLetters``."""

    async def announce(self, key: str, body: Mapping[str, Any]) -> None:
        """Send one failure, acknowledged; it may arrive twice. ``body`` is JSON."""
        ...
