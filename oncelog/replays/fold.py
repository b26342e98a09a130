"""The fold of a partition: events in, states out, each with every link of its chain verified."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field

from oncelog.domain.events import Event, rfc3339
from oncelog.domain.instance import Instance, evolve
from oncelog.errors import LogDamaged, SchemaUnsupported
from oncelog.replays.request import ReplayFinding, ReplayScope
from oncelog.replays.source import StreamDamage

#: States that are handed on at a time: a read model is asked about so many in one request.
BATCH_STATES = 200
#: Or fewer, once their events come to so many bytes.
BATCH_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True)
class FoldedBatch:
    """Some states, one per aggregate, and the aggregates that cannot be folded. ``events``: how many were read."""

    states: Sequence[Instance]
    findings: Sequence[ReplayFinding]
    events: int


@dataclass
class _OpenStream:
    """The aggregate that is being folded. ``kept``: its state as of the scope's moment, None before it existed."""

    state: Instance
    kept: Instance | None = None
    finding: ReplayFinding | None = None


@dataclass
class Fold:
    """Folds items in the order of their keys. ``scope``: the moment as of which states are wanted, if not the head."""

    scope: ReplayScope
    _open: _OpenStream | None = None
    _states: list[Instance] = field(default_factory=list)
    _findings: list[ReplayFinding] = field(default_factory=list)
    _events: int = 0
    _bytes: int = 0

    def __post_init__(self) -> None:
        self._version = self.scope.as_of_version
        self._time = rfc3339(self.scope.as_of_time) if self.scope.as_of_time else None

    def add(self, item: Event | StreamDamage) -> None:
        """Take the next item."""
        if self._open is None or self._open.state.aggregate_id != item.aggregate_id:
            self._close()
            self._open = _OpenStream(Instance(aggregate_id=item.aggregate_id))
        opened = self._open
        if isinstance(item, Event):
            self._events += 1
            self._bytes += len(item.canonical)
        if opened.finding is not None:
            return
        if isinstance(item, StreamDamage):
            where = f"aggregate {item.aggregate_id} event {item.sequence_number}"
            opened.finding = ReplayFinding(code=item.error.code, where=where, found=item.error.message)
            return
        try:
            opened.state = evolve(opened.state, item)
        except (LogDamaged, SchemaUnsupported) as error:
            where = f"aggregate {item.aggregate_id} event {item.sequence_number}"
            opened.finding = ReplayFinding(code=error.code, where=where, found=error.message)
            return
        if self._counts(item):
            opened.kept = opened.state

    def taken(self) -> FoldedBatch:
        """Return the aggregates that are folded, and forget them."""
        batch = FoldedBatch(self._states, self._findings, self._events)
        self._states, self._findings, self._events, self._bytes = [], [], 0, 0
        return batch

    @property
    def is_full(self) -> bool:
        """Whether enough is folded to be handed on."""
        return len(self._states) + len(self._findings) >= BATCH_STATES or self._bytes >= BATCH_BYTES

    def end(self) -> FoldedBatch:
        """Return what is left, the last aggregate included."""
        self._close()
        return self.taken()

    def _counts(self, event: Event) -> bool:
        """Return whether the event had happened by the moment that is asked for."""
        if self._version is not None:
            return event.sequence_number <= self._version
        return self._time is None or event.occurred_at <= self._time

    def _close(self) -> None:
        if self._open is None:
            return
        if self._open.finding is not None:
            self._findings.append(self._open.finding)
        elif self._open.kept is not None:
            self._states.append(self._open.kept)
        self._open = None


async def folded(
    batches: AsyncIterator[Sequence[Event | StreamDamage]], scope: ReplayScope
) -> AsyncIterator[FoldedBatch]:
    """Fold a source's batches into batches of states; an aggregate that cannot be folded is a finding, and no state."""
    fold = Fold(scope)
    async for items in batches:
        for item in items:
            fold.add(item)
            if fold.is_full:
                yield fold.taken()
    yield fold.end()
