"""Ports of S3: the log, the records that bind commands to it, and the objects derived from both."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple, Protocol

from oncelog.domain.bulk.records import ChunkRecord
from oncelog.domain.dead_letters import DeadLetter
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.records import AnyRecord
from oncelog.domain.unique.entry import UniqueEntry, ValueChain
from oncelog.ports.stream import TopicRecord, Watermark


@dataclass(frozen=True)
class StoredEvent:
    """An event as its slot holds it. ``published_through``: the watermark known by then (docs/protocol.md, R3)."""

    event: Event
    published_through: Watermark


class EventLog(Protocol):
    """The truth: one immutable event per slot. A slot never changes once it is written."""

    async def append_event(self, event: Event, *, published_through: Watermark) -> StoredEvent:
        """Write the event into its slot if that is free and return the event that the slot has now, be it another's.

        Returns only after a definite answer: an acknowledged write or a read-back. Raises LogDamaged if the slot's
        object is not an event.
        """
        ...

    async def read_event(self, aggregate_id: AggregateId, sequence_number: int) -> StoredEvent | None:
        """Return the slot's event, verified, or None if it is free. Raises LogDamaged."""
        ...

    async def last_sequence_number(self, aggregate_id: AggregateId, *, after: int = 0) -> int:
        """Return the highest slot taken above ``after``, or ``after`` itself if there is none."""
        ...


class CommandRecords(Protocol):
    """The memory of commands: written once, never changed."""

    async def write_record(self, record: AnyRecord) -> AnyRecord:
        """Write the record unless its number is taken, and return the stored one. Raises LogDamaged.

        The stored record may be of the other kind, if one ID was used for two commands.
        """
        ...

    async def read_record(self, command_id: str, number: int) -> AnyRecord | None:
        """Return a command's record, or None. Raises LogDamaged."""
        ...


class ChunkRecords(Protocol):
    """The memory of bulk commands, chunk by chunk: written once, never changed."""

    async def write_chunk_record(self, record: ChunkRecord) -> ChunkRecord:
        """Write the record unless its number is taken, and return the stored one. Raises LogDamaged."""
        ...

    async def read_chunk_record(self, command_id: str, chunk: int, number: int) -> ChunkRecord | None:
        """Return a chunk's record, or None. Raises LogDamaged."""
        ...


class UniqueEntries(Protocol):
    """The chains of unique values: numbered entries, each written once (docs/protocol.md, V1 to V6)."""

    async def write_entry(self, entry: UniqueEntry) -> UniqueEntry:
        """Write the entry unless its place is taken, and return the one that the place has. Raises LogDamaged."""
        ...

    async def read_entry(self, chain: ValueChain, n: int) -> UniqueEntry | None:
        """Return entry ``n`` of a chain, or None if its place is free. Raises LogDamaged."""
        ...

    async def last_place(self, chain: ValueChain, *, after: int = 0) -> int:
        """Return the highest place taken above ``after``, or ``after`` itself if there is none."""
        ...


class LargeObjects(Protocol):
    """Objects too large to be held in memory: items and results of bulk commands."""

    async def object_size(self, key: str) -> int | None:
        """Return how many bytes the object has, or None if there is none."""
        ...

    async def read_object(self, key: str, wanted: range) -> bytes:
        """Return the bytes in that range; raises LogDamaged if the object is gone or shorter."""
        ...

    async def write_object(self, key: str, parts: AsyncIterator[bytes]) -> None:
        """Write the object whole or not at all, replacing an existing one; no part but the last below 5 MiB."""
        ...


class Snapshots(Protocol):
    """Derived: the latest kept state per aggregate, so that the cost of a command does not grow with its stream."""

    async def save_snapshot(self, state: Instance) -> None:
        """Keep the state; a later one replaces it."""
        ...

    async def latest_snapshot(self, aggregate_id: AggregateId) -> Instance | None:
        """Return the kept state, or None; damage counts as none, since the log has it all."""
        ...


class ClassNames(Protocol):
    """The claimed form of a class name, since the read side folds case. A claim never changes."""

    async def read_class_name(self, db_name: str, class_id: str) -> tuple[str, str] | None:
        """Return the claimed name ``(db_name, class_id)``, None if there is none. Raises LogDamaged."""
        ...

    async def claim_class_name(self, db_name: str, class_id: str) -> tuple[str, str]:
        """Return the claimed name ``(db_name, class_id)``; the first caller's is claimed. Raises LogDamaged."""
        ...


class TopicRecords(Protocol):
    """The generations of topics: written once each, never changed, by the first program that opens one."""

    async def write_topic_record(self, topic: str, record: TopicRecord) -> TopicRecord:
        """Write the record unless its generation is taken, and return the record of that generation.

        Raises LogDamaged.
        """
        ...

    async def topic_history(self, topic: str) -> Sequence[TopicRecord]:
        """Return a topic's records, the first generation first; none before it was ever opened. Raises LogDamaged."""
        ...


class ListedDeadLetter(NamedTuple):
    """A dead letter as a listing shows it: its aggregate, its number, and when it was written, by S3's clock."""

    aggregate_id: AggregateId
    number: int
    written_at: datetime


class DeadLetters(Protocol):
    """Which aggregates wait in which read model, and all that was done about it; written once, never changed."""

    async def append_dead_letter(self, dead_letter: DeadLetter) -> DeadLetter:
        """Write the dead letter unless its number is taken, and return the stored one. Raises LogDamaged."""
        ...

    async def latest_dead_letter(self, read_model: str, aggregate_id: AggregateId) -> DeadLetter | None:
        """Return the last dead letter, or None if there never was one. Raises LogDamaged."""
        ...

    async def read_dead_letter(self, read_model: str, listed: ListedDeadLetter) -> DeadLetter:
        """Return a dead letter that was listed. Raises LogDamaged."""
        ...

    def list_dead_letters(self, read_model: str) -> AsyncIterator[ListedDeadLetter]:
        """Yield the last dead letter of every aggregate that ever had one, in bounded memory."""
        ...

    async def dead_letter_history(self, read_model: str, aggregate_id: AggregateId) -> Sequence[DeadLetter]:
        """Return all dead letters of an aggregate, the oldest first. Raises LogDamaged."""
        ...


async def last_numbers(dead_letters: DeadLetters, read_model: str) -> Mapping[AggregateId, int]:
    """Return every aggregate that ever had a dead letter, and its last dead letter's number."""
    return {listed.aggregate_id: listed.number async for listed in dead_letters.list_dead_letters(read_model)}
