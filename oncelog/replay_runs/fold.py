"""The fold of a partition: events in, states out, each with every link of its chain verified."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from oncelog.archive.stretch import EventBatch, EventOrigin, StreamDamage
from oncelog.domain.events import Event, rfc3339
from oncelog.domain.instance import Instance, evolve
from oncelog.errors import LogDamaged, SchemaUnsupported
from oncelog.replay_runs.request import ReplayFinding, ReplayScope

#: States that are handed on at a time: a read model is asked about so many in one request.
BATCH_STATES = 200
#: Or fewer, once their events come to so many bytes.
BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class FoldedBatch:
    """Some states, one per aggregate, and the damage that was found. ``events``: how many were read.

    ``archived``: how many of them came from the archive.
    """

    states: Sequence[Instance]
    findings: Sequence[ReplayFinding]
    aggregates: int
    events: int
    archived: int


@dataclass
class _OpenStream:
    """The aggregate that is being folded. ``kept``: its state as of the scope's moment, None before it existed."""

    state: Instance
    kept: Instance | None = None
    is_damaged: bool = False


@dataclass
class Fold:
    """Folds events in the order of their keys. ``scope``: the moment as of which states are wanted, if not the head."""

    scope: ReplayScope
    _open: _OpenStream | None = None
    _states: list[Instance] = field(default_factory=list)
    _findings: list[ReplayFinding] = field(default_factory=list)
    _aggregates: int = 0
    _events: int = 0
    _archived: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._version = self.scope.as_of_version
        self._time = rfc3339(self.scope.as_of_time) if self.scope.as_of_time else None

    def add(self, event: Event) -> None:
        """Take the next event. Event 1 begins its aggregate, anew if the archive had given a part of it wrongly."""
        self._events += 1
        self._bytes += len(event.canonical)
        opened = self._opened(event.aggregate_id, anew=event.sequence_number == 1)
        if opened.is_damaged:
            return
        try:
            opened.state = evolve(opened.state, event)
        except (LogDamaged, SchemaUnsupported) as error:
            opened.is_damaged = True
            self._find(error.code, event.aggregate_id, event.sequence_number, error.message)
            return
        if self._counts(event):
            opened.kept = opened.state

    def add_damage(self, damage: StreamDamage) -> None:
        """Take note of a stream that cannot be read on; one that the archive is to blame for comes again."""
        opened = self._opened(damage.aggregate_id)
        from_archive = damage.origin is EventOrigin.ARCHIVE
        opened.is_damaged = not from_archive
        code = "ArchiveDamaged" if from_archive else damage.error.code
        self._find(code, damage.aggregate_id, damage.sequence_number, damage.error.message)

    def add_archived(self, count: int) -> None:
        """Count events that came from the archive."""
        self._archived += count

    def taken(self) -> FoldedBatch:
        """Return the aggregates that are folded, and forget them."""
        batch = FoldedBatch(self._states, self._findings, self._aggregates, self._events, self._archived)
        self._states, self._findings = [], []
        self._aggregates = self._events = self._archived = self._bytes = 0
        return batch

    @property
    def is_full(self) -> bool:
        """Whether enough is folded to be handed on."""
        return len(self._states) + len(self._findings) >= BATCH_STATES or self._bytes >= BATCH_BYTES

    def end(self) -> FoldedBatch:
        """Return what is left, the last aggregate included."""
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
        if self._version is not None:
            return event.sequence_number <= self._version
        return self._time is None or event.occurred_at <= self._time

    def _find(self, code: str, aggregate_id: str, sequence_number: int, found: str) -> None:
        where = f"aggregate {aggregate_id} event {sequence_number}"
        self._findings.append(ReplayFinding(code=code, where=where, found=found))

    def _close(self) -> None:
        if self._open is None:
            return
        self._aggregates += 1
        if not self._open.is_damaged and self._open.kept is not None:
            self._states.append(self._open.kept)
        self._open = None


async def folded(batches: AsyncIterator[EventBatch], fold: Fold) -> AsyncIterator[FoldedBatch]:
    """Fold a reader's batches into batches of states; an aggregate that cannot be folded is a finding, and no state."""
    async for batch in batches:
        fold.add_archived(batch.archived)
        for event in batch.events:
            fold.add(event)
            if fold.is_full:
                yield fold.taken()
        for damage in batch.damages:
            fold.add_damage(damage)
    yield fold.end()
