"""The in-memory twin of Kafka: one append-only list of messages."""

from collections.abc import Sequence

from factline.domain.events import Event
from factline.errors import StoreUnavailable
from factline.stores.kafka import Message, headers_of
from factline.stores.memory.pause import Pause, let_others


class MemoryPublisher:
    """An ``EventPublisher`` without a server. ``messages`` is the topic; ``available`` False plays an outage.

    ``pause`` is what lets others go first.
    """

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.available = True
        self.pause: Pause = let_others

    @property
    def answers(self) -> bool:
        """Whether a call is worth waiting for."""
        return self.available

    async def publish(self, events: Sequence[Event]) -> None:
        """Append the events one by one, letting others in between; raises StoreUnavailable."""
        for event in events:
            await self.pause()
            if not self.available:
                doing = f"publishing {event.aggregate_id} event {event.sequence_number}"
                raise StoreUnavailable("Kafka in memory", doing, "made unavailable")
            key, offset = event.aggregate_id.encode(), len(self.messages)
            self.messages.append(Message(0, offset, key, tuple(headers_of(event)), event.canonical))
