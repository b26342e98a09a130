"""The work of a mode on the states that a replay folds, besides their digests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from oncelog.archive.log_part import LogPosition
from oncelog.replay.fold import FoldedBatch
from oncelog.replay_runs.files import ReplayFiles
from oncelog.replay_runs.partitions import Partition
from oncelog.replay_runs.request import ReplayCounts, ReplayEnd, ReplayRequest


@dataclass(frozen=True)
class ReplayRun:
    """A replay under way, as its steps know it.

    ``classes``: its scope, at its beginning; ``partitions``: how many there are, at its end.
    """

    files: ReplayFiles
    request: ReplayRequest
    classes: Sequence[tuple[str, str]] = ()
    partitions: int = 0

    @property
    def name(self) -> str:
        """A short name in lower case, for the objects that the run makes elsewhere."""
        return self.files.short_name


@dataclass(frozen=True)
class PartitionStep:
    """One partition of a replay. ``done``: the position to which an earlier attempt is known to have come."""

    run: ReplayRun
    partition: Partition
    done: LogPosition | None = None


class PartitionWork(Protocol):
    """The work on one partition. Its batches come in the order of the log, one after the other."""

    async def add(self, batch: FoldedBatch, /) -> ReplayCounts:
        """Take a batch; returns its addition to the counts. May be repeated from the partition's beginning."""
        ...

    async def end(self) -> ReplayCounts:
        """Write the remaining output."""
        ...


class ModeWork(Protocol):
    """The work of one mode on a whole replay. ``wants_events``: whether batches are to have their events, too."""

    wants_events: bool

    async def begin(self, run: ReplayRun, /) -> None:
        """Prepare the run, before the log is listed; may be repeated."""
        ...

    async def partition(self, step: PartitionStep, /) -> PartitionWork:
        """Return the work on a partition."""
        ...

    async def end(self, run: ReplayRun, end: ReplayEnd, /) -> ReplayEnd:
        """Finish the work after all partitions, and add it to the end of the replay; may be repeated."""
        ...


class NoPartitionWork:
    """Nothing besides the digests."""

    async def add(self, _batch: FoldedBatch) -> ReplayCounts:
        """Leave the batch as it is."""
        return ReplayCounts()

    async def end(self) -> ReplayCounts:
        """There is nothing to end."""
        return ReplayCounts()


class NoWork:
    """The work of a mode that has none, and the default for those that have no beginning or no end."""

    wants_events = False

    async def begin(self, _run: ReplayRun) -> None:
        """There is nothing to prepare."""

    async def partition(self, _step: PartitionStep) -> PartitionWork:
        """Return no work."""
        return NoPartitionWork()

    async def end(self, _run: ReplayRun, end: ReplayEnd) -> ReplayEnd:
        """Add nothing."""
        return end
