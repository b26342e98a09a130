"""What goes over Kafka: events to whoever subscribes, and word of what could not be shown."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from factline.domain.events import Event


class EventPublisher(Protocol):
    """The stream of events, per aggregate in order."""

    @property
    def answers(self) -> bool:
        """Whether it is worth trying now: False for a moment after a failure, so that no turn is held up by it."""
        ...

    async def publish(self, events: Sequence[Event]) -> None:
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
    """A share of the stream, divided among all who subscribe under one group's name."""

    async def start(self, giving_up: Callable[[], Awaitable[None]]) -> None:
        """Join. ``giving_up`` is awaited before partitions go to somebody else: the last chance to commit them."""
        ...

    async def next_batch(self, *, messages_max: int, wait_s: float) -> Sequence[Delivery]:
        """Return what comes next on our partitions, each in order; nothing if there is nothing within ``wait_s``.

        After a rebalance, a restart or a re-created topic it goes on from what was committed, so messages may come
        again, and any number of times. Raises StoreUnavailable.
        """
        ...

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Keep, by partition, the offset to go on from; what is ours no longer is left to its new owner.

        Raises StoreUnavailable.
        """
        ...

    def lag(self) -> Mapping[int, int]:
        """Return how many messages of each of our partitions were not handed out yet, as far as is known."""
        ...

    async def stop(self) -> None:
        """Leave, within seconds, whatever the server does."""
        ...


class FailureStream(Protocol):
    """Where failures are told to whoever wants to hear of them; what is true of them lies in ``DeadLetters``."""

    async def announce(self, key: str, body: Mapping[str, Any]) -> None:
        """Send one failure, acknowledged; it may arrive twice. ``body`` is JSON."""
        ...
