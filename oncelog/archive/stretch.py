"""Stretches of streams: consecutive events of one stream from one source, checked one by one against the chain."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from oncelog.archive.log_part import LogPosition
from oncelog.domain.events import Event, read_event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import EVENTS
from oncelog.errors import ArchiveDamaged, LogDamaged, OncelogError, SchemaUnsupported


class EventOrigin(StrEnum):
    """The source that an event was read from."""

    ARCHIVE = "archive"
    SLOTS = "slots"


@dataclass(frozen=True)
class StreamDamage:
    """A stream that cannot be read on from its event ``sequence_number``.

    ``origin`` SLOTS: the log itself is damaged there (``LogDamaged``) or not for this release (``SchemaUnsupported``);
    no later event of the stream is given. ``origin`` ARCHIVE: the archive disagrees with itself or with the slots; if
    events of the stream were given by then, all of it is given again from its first event, from its slots.
    """

    aggregate_id: str
    sequence_number: int
    origin: EventOrigin
    error: OncelogError


@dataclass(frozen=True)
class Stretch:
    """Consecutive events of one stream. ``events``: their canonical bytes, or the error from reading a slot.

    ``first``: the sequence number of the first of them.
    """

    aggregate_id: AggregateId
    first: int
    origin: EventOrigin
    events: Sequence[bytes | Event | OncelogError]


@dataclass
class EventBatch:
    """Some events in order: by stream, in the order of the slots' keys, and within a stream by sequence number.

    A stream may go on in the next batch. ``damages``: streams that cannot be read on. ``position``: the last event, to
    continue after. ``archived``: how many of the events came from the archive.
    """

    events: list[Event] = field(default_factory=list)
    damages: list[StreamDamage] = field(default_factory=list)
    position: LogPosition | None = None
    archived: int = 0


class ChainCheck:
    """Holds each event against its checksum, its place and the event before it, stream after stream.

    ``after``: the event that was read last; a stream that continues there is held against it.
    """

    def __init__(self, after: LogPosition | None = None) -> None:
        self._aggregate_id = after.aggregate_id if after else ""
        self._number = after.sequence_number if after else 0
        self._checksum = after.checksum if after else None
        self._is_archived = after is not None  # whether events of this stream may have come from the archive
        self._left_out = ""  # the damaged stream, with later events to be passed over
        self.position = after  #: the last event that was taken, None before the first

    def take(self, stretch: Stretch, batch: EventBatch) -> StreamDamage | None:
        """Add the events of the stretch to the batch, up to the first that is damaged, which is returned."""
        name = str(stretch.aggregate_id)
        if name == self._left_out:
            return None
        return self._take(name, stretch, batch)

    def end(self, batch: EventBatch) -> None:
        """Note in a batch that gets no more events which event was the last."""
        if batch.events:
            last = batch.events[-1]
            self.position = LogPosition(
                aggregate_id=last.aggregate_id, sequence_number=last.sequence_number, checksum=last.checksum
            )
        batch.position = self.position

    def _take(self, name: str, stretch: Stretch, batch: EventBatch) -> StreamDamage | None:
        if name != self._aggregate_id:
            self._aggregate_id, self._number, self._checksum, self._is_archived = name, 0, None, False
        self._is_archived |= stretch.origin is EventOrigin.ARCHIVE
        for number, given in enumerate(stretch.events, start=stretch.first):
            try:
                event = self._checked(given, number)
            except (LogDamaged, SchemaUnsupported) as error:
                self._left_out = name
                return StreamDamage(name, number, self._origin_of(error, given), error)
            batch.events.append(event)
            if stretch.origin is EventOrigin.ARCHIVE:
                batch.archived += 1
            self._number, self._checksum = number, event.checksum
        return None

    def _origin_of(self, error: OncelogError, given: bytes | Event | OncelogError) -> EventOrigin:
        """Return where to look: a slot that does not follow archived events may be the one that is right."""
        is_unreadable = isinstance(given, OncelogError) or isinstance(error, SchemaUnsupported)
        return EventOrigin.ARCHIVE if self._is_archived and not is_unreadable else EventOrigin.SLOTS

    def begin_again(self) -> None:
        """Expect the first event of the damaged stream next: it is read from its slots."""
        self._aggregate_id, self._left_out = "", ""

    def leave_out(self, aggregate_id: AggregateId) -> None:
        """Pass over all later events of this stream."""
        self._left_out = str(aggregate_id)

    def _checked(self, given: bytes | Event | OncelogError, number: int) -> Event:
        where = f"slot {self._aggregate_id} {number}"
        if isinstance(given, OncelogError):
            raise given
        event = read_event(given, where=where) if isinstance(given, bytes) else given
        if (event.aggregate_id, event.sequence_number) != (self._aggregate_id, number):
            found = f"{event.aggregate_id} {event.sequence_number}"
            raise LogDamaged(f"{where}: expected its own event, found {found}; run oncelog verify", where=where)
        if number != self._number + 1 or event.previous_checksum != self._checksum:
            raise LogDamaged(
                f"{where}: expected event {self._number + 1} after checksum {self._checksum}, found {number} after "
                f"{event.previous_checksum}; the chain is broken, run oncelog verify",
                where=where,
            )
        return event


def surplus_damage(keys: Sequence[str]) -> StreamDamage:
    """Return the damage of archived events of one stream that have no slots."""
    aggregate_id, _, name = keys[0].removeprefix(EVENTS).rpartition("/")
    problem = f"archived events {keys[0]} to {keys[-1]}: expected them in their slots, found none there"
    error = ArchiveDamaged(f"{problem}; run oncelog verify", where=keys[0])
    return StreamDamage(aggregate_id, int(name.removesuffix(".json")), EventOrigin.ARCHIVE, error)
