"""The fold of many streams: events in, states out, each with every link of its chain verified."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from oncelog.archive.stretch import EventBatch, EventOrigin, StreamDamage
from oncelog.domain.events import Event
from oncelog.domain.instance import Instance, evolve
from oncelog.errors import LogDamaged, SchemaUnsupported

#: States that are handed on at a time: a read model is asked about so many in one request.
BATCH_STATES = 500
#: Or fewer, once their events come to so many bytes.
BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class FoldedBatch:
    """Some states, one per aggregate, and the streams that cannot be folded to their end. ``events``: how many were
    read; ``archived``: how many of them came from the archive. ``events_read``: they themselves, if they are asked for;
    the state of the last of their aggregates may come with the next batch.

    A damage with ``origin`` ARCHIVE says that the archive is to blame: its stream is folded from its slots.
    """

    states: Sequence[Instance]
    damages: Sequence[StreamDamage]
    aggregates: int
    events: int
    archived: int
    events_read: Sequence[Event] = ()


@dataclass
class _OpenStream:
    """The aggregate that is being folded. ``kept``: its state as of the scope's moment, None before it existed."""

    state: Instance
    kept: Instance | None = None
    is_damaged: bool = False


@dataclass
class Fold:
    """Folds events in the order of their keys.

    ``as_of_version``, ``as_of_time`` (RFC 3339): the moment as of which states are wanted, if not the head.
    ``keeps_events``: hand the events on, too.
    """

    as_of_version: int | None = None
    as_of_time: str | None = None
    keeps_events: bool = False
    _open: _OpenStream | None = None
    _states: list[Instance] = field(default_factory=list)
    _damages: list[StreamDamage] = field(default_factory=list)
    _events_read: list[Event] = field(default_factory=list)
    _aggregates: int = 0
    _events: int = 0
    _archived: int = 0
    _bytes: int = 0

    def add(self, event: Event) -> None:
        """Take the next event. Event 1 begins its aggregate, anew if the archive had given a part of it wrongly."""
        self._events += 1
        if self.keeps_events:
            self._events_read.append(event)
        self._bytes += len(event.canonical)
        opened = self._opened(event.aggregate_id, anew=event.sequence_number == 1)
        if opened.is_damaged:
            return
        try:
            opened.state = evolve(opened.state, event)
        except (LogDamaged, SchemaUnsupported) as error:
            opened.is_damaged = True
            self._damages.append(StreamDamage(event.aggregate_id, event.sequence_number, EventOrigin.SLOTS, error))
            return
        if self._counts(event):
            opened.kept = opened.state

    def add_damage(self, damage: StreamDamage) -> None:
        """Take note of a stream that cannot be read on; it comes again if the archive is to blame."""
        opened = self._opened(damage.aggregate_id)
        opened.is_damaged = damage.origin is not EventOrigin.ARCHIVE
        self._damages.append(damage)

    def add_archived(self, count: int) -> None:
        """Count events that came from the archive."""
        self._archived += count

    def taken(self) -> FoldedBatch:
        """Return the aggregates that are folded, and forget them."""
        batch = FoldedBatch(
            self._states, self._damages, self._aggregates, self._events, self._archived, self._events_read
        )
        self._states, self._damages, self._events_read = [], [], []
        self._aggregates = self._events = self._archived = self._bytes = 0
        return batch

    @property
    def is_full(self) -> bool:
        """Whether enough is folded to be handed on."""
        return len(self._states) + len(self._damages) >= BATCH_STATES or self._bytes >= BATCH_BYTES

    def end(self) -> FoldedBatch:
        """Return the remaining aggregates, the last one included."""
        self._close()
        return self.taken()

    def _opened(self, aggregate_id: str, *, anew: bool = False) -> _OpenStream:
        if self._open is None or self._open.state.aggregate_id != aggregate_id:
            self._close()
            self._open = _OpenStream(Instance(aggregate_id=aggregate_id))
        elif anew:
            self._open = _OpenStream(Instance(aggregate_id=aggregate_id))
        return self._open

    def _counts(self, event: Event) -> bool:
        """Return whether the event had happened by the moment that is asked for."""
        if self.as_of_version is not None:
            return event.sequence_number <= self.as_of_version
        return self.as_of_time is None or event.occurred_at <= self.as_of_time

    def _close(self) -> None:
        if self._open is None:
            return
        self._aggregates += 1
        if not self._open.is_damaged and self._open.kept is not None:
            self._states.append(self._open.kept)
        self._open = None


async def folded(batches: AsyncIterator[EventBatch], fold: Fold) -> AsyncIterator[FoldedBatch]:
    """Fold a reader's batches into batches of states; a stream that cannot be folded gives its damage, and no state."""
    async for batch in batches:
        fold.add_archived(batch.archived)
        for event in batch.events:
            fold.add(event)
            if fold.is_full:
                yield fold.taken()
        for damage in batch.damages:
            fold.add_damage(damage)
    yield fold.end()
