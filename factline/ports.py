"""The few protocols the rest is written against; each has a real server and an in-memory twin behind it.

One contract suite per port holds both to the same behaviour (``tests/contract``). Every method may raise
``StoreUnavailable``, which says nothing about whether the call took effect; all of them may be repeated. May import
the domain only.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from factline.domain.bulk.records import ChunkRecord
from factline.domain.bulk.results import BulkResult
from factline.domain.canonical import canonical_bytes, sha256_hex
from factline.domain.dead_letters import DeadLetter
from factline.domain.events import DefinitionReference, Event
from factline.domain.graph import GraphNode
from factline.domain.identifiers import AggregateId
from factline.domain.instance import Instance
from factline.domain.queries import Search
from factline.domain.records import AnyRecord
from factline.domain.results import CommandResult
from factline.errors import StoreUnavailable

Item = TypeVar("Item")


@dataclass(frozen=True)
class StoredEvent:
    """An event as its slot holds it. ``published_through``: the watermark known when it was written (rule R3)."""

    event: Event
    published_through: int


class EventLog(Protocol):
    """The truth: one immutable event per slot. A slot never changes once it is written."""

    async def append(self, event: Event, *, published_through: int) -> StoredEvent:
        """Write the event into its slot if that is free and return what now stands there, be it another's event.

        Returns only after a definite answer: an acknowledged write or a read-back. Raises LogDamaged if what stands
        there is not an event.
        """
        ...

    async def read(self, aggregate_id: AggregateId, sequence_number: int) -> StoredEvent | None:
        """Return what stands in the slot, verified, or None if it is free. Raises LogDamaged."""
        ...

    async def head(self, aggregate_id: AggregateId, *, after: int = 0) -> int:
        """Return the highest slot taken above ``after``, or ``after`` itself if there is none."""
        ...


class CommandRecords(Protocol):
    """The memory of commands: written once, never changed."""

    async def write(self, record: AnyRecord) -> AnyRecord:
        """Write the record unless its number is taken, and return the one that now stands. Raises LogDamaged.

        What stands may be a record of the other kind, where one ID was used for two commands.
        """
        ...

    async def read(self, command_id: str, number: int) -> AnyRecord | None:
        """Return a command's record, or None. Raises LogDamaged."""
        ...


class ChunkRecords(Protocol):
    """The memory of bulk commands, chunk by chunk: written once, never changed."""

    async def write(self, record: ChunkRecord) -> ChunkRecord:
        """Write the record unless its number is taken, and return the one that now stands. Raises LogDamaged."""
        ...

    async def read(self, command_id: str, chunk: int, number: int) -> ChunkRecord | None:
        """Return a chunk's record, or None. Raises LogDamaged."""
        ...


class LargeObjects(Protocol):
    """Objects too large to be held in memory: what bulk commands are given, and what they answer with."""

    async def size(self, key: str) -> int | None:
        """Return how many bytes the object has, or None if there is none."""
        ...

    async def read(self, key: str, wanted: range) -> bytes:
        """Return the bytes in that range; raises LogDamaged if the object is gone or shorter."""
        ...

    async def write(self, key: str, parts: AsyncIterator[bytes]) -> None:
        """Write the object whole or not at all, replacing what stands there; no part but the last below 5 MiB."""
        ...


@dataclass(frozen=True)
class Page(Generic[Item]):
    """Some of many, in the order of their keys. ``position``: what to go on after, None on the last page."""

    items: Sequence[Item]
    position: str | None


@dataclass(frozen=True)
class KnownCommand:
    """A command that has a record. ``written_at``: when the newest was written that was listed, by S3's clock."""

    command_id: str
    written_at: datetime


@dataclass(frozen=True)
class Extent:
    """How far an aggregate's log goes. ``written_at``: when its head was written, by S3's clock.

    ``missing``: the lowest slot below the head that was not listed; of a log longer than a page only what the page
    shows is looked at.
    """

    aggregate_id: AggregateId
    head: int
    written_at: datetime
    missing: int | None = None


class Inventory(Protocol):
    """What there is in the log, by listing alone: for those who go through all of it, never to decide on a command."""

    async def commands(self, *, after: str = "") -> Page[KnownCommand]:
        """Return the next commands that have a record; ``after``: the position of the page before."""
        ...

    async def extents(
        self, *, after: str = "", db_name: str | None = None, class_id: str | None = None
    ) -> Page[Extent]:
        """Return the next aggregates that have events; ``class_id`` goes with ``db_name`` only."""
        ...

    async def classes(self, *, after: str = "", db_name: str | None = None) -> Page[Extent]:
        """Return the next classes that have events of their own; a page may be empty and not be the last."""
        ...


class SweepMarks(Protocol):
    """How far the log is known to be whole, by S3's own clock, so that a sweep need not read all of it every time."""

    async def now(self) -> datetime:
        """Return what S3's clock says."""
        ...

    async def settled_through(self) -> datetime | None:
        """Return the mark: all that was written until then was seen whole. None if there is none that is readable."""
        ...

    async def settle(self, through: datetime) -> None:
        """Keep the mark."""
        ...


class RunningWorkflows(Protocol):
    """Who is at work. What it says may be out of date at once, so it is for saving work, never for safety."""

    async def is_running(self, command_id: str) -> bool:
        """Return whether the command's workflow is open; False where Temporal knows nothing of it (any more)."""
        ...


class Snapshots(Protocol):
    """Derived: the latest kept state per aggregate, so that the cost of a command does not grow with its stream."""

    async def save(self, state: Instance) -> None:
        """Keep the state; a later one replaces it."""
        ...

    async def latest(self, aggregate_id: AggregateId) -> Instance | None:
        """Return the kept state, or None; damage counts as none, since the log has it all."""
        ...


class ClassNames(Protocol):
    """Which spelling of a class name is taken, since the read side folds case."""

    async def claim(self, db_name: str, class_id: str) -> tuple[str, str]:
        """Return the spelling ``(db_name, class_id)`` that stands; the first to ask sets it."""
        ...


@dataclass(frozen=True)
class Turn:
    """A turn on an aggregate, granted. Head and watermark are proposals, S3 decides.

    ``known`` is False where Redis remembers nothing of the aggregate: ``head`` and ``published`` are then 0.
    ``state`` is the cached state at ``head``, if it is small enough to be kept.
    """

    head: int
    published: int
    known: bool
    state: Instance | None


@dataclass(frozen=True)
class Waiting:
    """Somebody else's turn. ``position``: how many are to come before us, the holder included."""

    position: int


@dataclass(frozen=True)
class Settlement:
    """What is known of an aggregate now: its ``state`` at the head (None leaves the head), and its watermark.

    ``release`` gives up the turn and the place in the queue, if its holder has them.
    """

    aggregate_id: AggregateId
    state: Instance | None = None
    published: int = 0
    release: bool = False


class Turns(Protocol):
    """Who may write to an aggregate next, and what is known of its head: for speed, never for safety (rule R5).

    Every call takes many aggregates in one round trip.
    """

    async def take(
        self, aggregate_ids: Sequence[AggregateId], holder: str, *, queueing: bool = True
    ) -> Sequence[Turn | Waiting]:
        """Take each turn that is free, run out or already ours, and that nobody waits longer for.

        ``holder`` is the command ID. Where it is not granted, one who is ``queueing`` stands in the queue, and loses
        its place by not asking again for a while.
        """
        ...

    async def settle(self, settlements: Sequence[Settlement], holder: str) -> None:
        """Raise what is known of each aggregate, never lower it, and give up the turns that are to be released."""
        ...

    async def published(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int | None]:
        """Return each watermark, the last sequence number known to be published, or None where it is not known."""
        ...

    async def heads(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int | None]:
        """Return each head, the highest slot known to be taken, or None where it is not known."""
        ...

    async def forget(self, aggregate_id: AggregateId) -> None:
        """Drop what is known of head and watermark, because it was seen to be wrong; turn and queue stay."""
        ...


class Stage(StrEnum):
    """How far a command has come, in order."""

    ACCEPTED = "ACCEPTED"
    PERSISTED = "PERSISTED"
    PUBLISHED = "PUBLISHED"
    PROJECTED = "PROJECTED"
    COMPLETED = "COMPLETED"
    REJECTED = "REJECTED"


@dataclass(frozen=True)
class CommandStatus:
    """What is known of a command. ``history``: each stage and when it was first reached (RFC 3339, worker's clock).

    ``workflow``: what Temporal calls the state of a command that had not come to its end when it was asked, UNKNOWN
    where it has none; None where it was not asked or gave no answer. ``remark``: what to do about one that nobody is at
    work on. Neither is kept.
    """

    command_id: str
    command_hash: str
    command_type: str
    aggregate_id: str
    stage: Stage
    history: Sequence[tuple[Stage, str]] = field(default_factory=tuple)
    result: BulkResult | CommandResult | None = None
    workflow: str | None = None
    remark: str = ""


class CommandStatuses(Protocol):
    """The fast answer to a duplicate, and the status of a command from acceptance on; forgotten after a while."""

    async def claim(self, status: CommandStatus) -> CommandStatus | None:
        """Claim a command ID (SET NX with TTL): None if it is ours now, else what stands under it."""
        ...

    async def complete(self, status: CommandStatus) -> None:
        """Keep the final status with its result, adding to the history that stands, also if it was forgotten."""
        ...

    async def read(self, command_id: str) -> CommandStatus | None:
        """Return the status, or None."""
        ...


class EventPublisher(Protocol):
    """The stream of events, per aggregate in order."""

    @property
    def answers(self) -> bool:
        """Whether it is worth trying now: False for a moment after a failure, so that no turn is held up by it."""
        ...

    async def publish(self, events: Sequence[Event]) -> None:
        """Send the events of one aggregate in the given order, each acknowledged before the next is sent."""
        ...


@dataclass(frozen=True, slots=True)
class Document:
    """An instance as the read side holds it, at one sequence number; tombstones have ``deleted`` and no data.

    ``definition``: what the data was validated against. ``form``: the definition whose form the data is in now, None
    where it is as the log has it. Neither is part of the document.
    """

    aggregate_id: AggregateId
    sequence_number: int
    body: Mapping[str, Any]
    definition: DefinitionReference | None = field(default=None, compare=False)
    form: DefinitionReference | None = field(default=None, compare=False)


class Documents(Protocol):
    """The documents: the newest by sequence number wins, whatever the order of writes (rule R4)."""

    async def write(self, documents: Sequence[Document]) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written.

        ``StoreUnavailable`` per item is worth repeating; ``InputInvalid`` means that this document can never be held.
        """
        ...

    async def read(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Document | None]:
        """Return each one's document as it stands now (not subject to refresh), tombstones included, or None."""
        ...


@dataclass(frozen=True)
class SearchPage:
    """Some of what a search finds, deleted instances left out. ``total``: how many there are in all, at least.

    ``cursor``: where to go on from, empty after the last page.
    """

    documents: Sequence[Document]
    total: int
    cursor: str


class Searches(Protocol):
    """Finds documents by what they hold. Near real time: what was just written is found a moment later."""

    async def find(self, search: Search) -> SearchPage:
        """Return a page, the best matches first, equal ones in order of their IDs.

        Raises InputInvalid for a question that makes no sense, StoreUnavailable.
        """
        ...

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number as of which a search finds each one's document, 0 where it finds none."""
        ...


class OutOfForm(StoreUnavailable):
    """A document is not in the form of the index that its class has now: form it anew."""


@dataclass(frozen=True)
class Form:
    """How the documents of a class lie in an index: in the form of which definition, and how their data is mapped.

    ``definition`` None: as the log has them, of whatever definition. ``mapping`` None: in one flattened field.
    """

    definition: DefinitionReference | None = None
    mapping: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str | None:
        """What two mappings that are the same have in common; None for the flattened one."""
        return None if self.mapping is None else sha256_hex(canonical_bytes(self.mapping))


@dataclass(frozen=True)
class DocumentIndex:
    """One index of a class's documents. ``mapping_digest``: that of its form.

    As it was when it was looked at, ``closed``: it takes no more writes; ``pinned``: somebody wants readers to see this
    one, whatever the class's definition is by now.
    """

    name: str
    definition: DefinitionReference | None
    mapping_digest: str | None
    closed: bool = field(default=False, compare=False)
    pinned: bool = field(default=False, compare=False)


@dataclass(frozen=True)
class Changed:
    """Documents of an index in the order in which they were last changed. ``position``: what to go on after."""

    documents: Sequence[tuple[str, int]]  # instance key and version
    position: int


class DocumentIndices(Protocol):
    """Where the documents of a class lie: the one index that readers see, and one that may follow it.

    A class is named by its own aggregate ID.
    """

    async def current(self, class_name: AggregateId) -> DocumentIndex | None:
        """Return the index that readers see, or None if there is none yet."""
        ...

    async def create(self, class_name: AggregateId, form: Form, *, first: bool) -> DocumentIndex:
        """Make an index of this form unless it is there; the first one is what readers see."""
        ...

    async def copy(self, index: DocumentIndex, documents: Sequence[Document]) -> Sequence[Exception | None]:
        """Write documents into this very index, as ``Documents.write`` does."""
        ...

    async def changed(self, index: DocumentIndex, *, after: int, close: bool) -> Changed:
        """Return what was changed in an index after a position, the oldest change first, some hundreds at a time.

        ``close``: let no write into it any more; whatever was written before is seen, and later ones fail until the
        switch, which is worth waiting for.
        """
        ...

    async def switch(self, class_name: AggregateId, old: DocumentIndex, new: DocumentIndex) -> bool:
        """Let readers see the new index instead of the old one, at once; False if they do not see the old one.

        The old one stays as it is, those of switches before this one are dropped. Raises StoreUnavailable unless the
        new one has as many documents.
        """
        ...


@dataclass(frozen=True)
class FoundNode:
    """A node as it lies in its store. ``aggregate_id``: the name by which it is found, whatever it says of itself.

    ``version``: what the store compares. ``node`` None: it cannot be read, for the reason in ``damage``.
    """

    aggregate_id: AggregateId
    version: int
    node: GraphNode | None
    damage: str = ""


class Graph(Protocol):
    """The graph of instances: the newest node by version wins, whatever the order of writes."""

    async def write(self, nodes: Sequence[GraphNode]) -> Sequence[Exception | None]:
        """Write each unless one of its version or above is there; return per node None, or why it was not written.

        ``StoreUnavailable`` per item is worth repeating; ``InputInvalid`` means that this node can never be held.
        """
        ...

    async def read(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[GraphNode | None]:
        """Return each node as it stands now (real time), tombstones included, or None; raises StoreUnavailable."""
        ...

    async def referring(
        self, db_name: str, targets: Sequence[AggregateId], predicate: str, *, after: str = "", nodes_max: int
    ) -> Sequence[GraphNode]:
        """Return nodes with an edge of this predicate to any of the targets, those whose aggregate ID sorts above
        ``after`` in order of it, ``nodes_max`` at most; raises StoreUnavailable.

        What was just written may be missing for a moment where the store searches an index that is refreshed.
        """
        ...

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number as of which ``referring`` finds each node, 0 where it finds none."""
        ...

    async def refresh(self, db_name: str) -> None:
        """Let ``referring`` find whatever was written so far; for changes of many nodes, not for one reader's sake."""
        ...

    def scan(self, db_name: str) -> AsyncIterator[FoundNode]:
        """Yield every node of a database, tombstones included, in any order; raises StoreUnavailable.

        What is written meanwhile may or may not be among them.
        """
        ...


@dataclass(frozen=True)
class Standing:
    """How far a read model shows an aggregate: at this sequence number, 0 where it shows nothing of it.

    ``outdated``: what is shown there was made under an earlier definition of its class than the newest.
    """

    sequence_number: int
    outdated: bool = False


class ReadModel(Protocol):
    """What the log looks like from one side: documents, a graph. A pure function of each aggregate's events.

    It is shown states, not events: a state at a sequence number carries every event up to it, so that repeated, late
    and left out writes cannot make a read model wrong, and folding is done once for all read models.
    """

    @property
    def name(self) -> str:
        """The name in dead letters, consumer groups and metrics."""
        ...

    async def apply(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Show each state unless a later one is shown; return per state None, or why that one is not shown.

        ``StoreUnavailable`` per item is worth repeating; any other error means that this state can never be shown.
        """
        ...

    async def positions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number that is shown of each aggregate, 0 where nothing is."""
        ...

    async def standings(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Standing]:
        """Return how each aggregate is shown, for those who make good what is behind; raises LogDamaged besides."""
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


class DeadLetters(Protocol):
    """Which aggregates wait in which read model, and all that was done about it; written once, never changed."""

    async def append(self, letter: DeadLetter) -> DeadLetter:
        """Write the letter unless its number is taken, and return the one that now stands. Raises LogDamaged."""
        ...

    async def latest(self, read_model: str, aggregate_id: AggregateId) -> DeadLetter | None:
        """Return the last letter, or None if there never was one. Raises LogDamaged."""
        ...

    async def history(self, read_model: str, aggregate_id: AggregateId) -> Sequence[DeadLetter]:
        """Return all letters of an aggregate, the oldest first. Raises LogDamaged."""
        ...

    async def numbers(self, read_model: str) -> Mapping[AggregateId, int]:
        """Return every aggregate that ever had a letter, and its last letter's number."""
        ...


class FailureStream(Protocol):
    """Where failures are told to whoever wants to hear of them; what is true of them lies in ``DeadLetters``."""

    async def announce(self, key: str, body: Mapping[str, Any]) -> None:
        """Send one failure, acknowledged; it may arrive twice. ``body`` is JSON."""
        ...


@dataclass(frozen=True)
class Ports:
    """All ports of one installation, open and ready to use. ``installation``: the mark that its tokens carry."""

    installation: str
    event_log: EventLog
    records: CommandRecords
    inventory: Inventory
    marks: SweepMarks
    chunk_records: ChunkRecords
    large_objects: LargeObjects
    snapshots: Snapshots
    names: ClassNames
    turns: Turns
    statuses: CommandStatuses
    publisher: EventPublisher
    documents: Documents
    searches: Searches
    indices: DocumentIndices
    graph: Graph
    dead_letters: DeadLetters
    failures: FailureStream
