"""The steps of a replay run: plan it, replay a partition, end it. Each may be repeated and gives the same files."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import structlog
from pydantic import BaseModel, ConfigDict

from oncelog.archive.log_part import LogPosition
from oncelog.archive.log_reader import LogReader
from oncelog.archive.stretch import EventOrigin, StreamDamage
from oncelog.domain.events import rfc3339
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.signed_note import Checkpoint, Signer
from oncelog.domain.state_digest import FORMAT, StateDigest, TreeDigest
from oncelog.errors import InputInvalid
from oncelog.ports import LargeObjects, ListedStream, LogCatalogue
from oncelog.replay.fold import Fold, FoldedBatch, folded
from oncelog.replay_runs.digests import DigestComparison, InclusionProof, join_digests, prove, read_digests
from oncelog.replay_runs.files import ReplayFiles, checkpoint_name, newest_name, partition_name
from oncelog.replay_runs.listings import ListingFiles, read_listing
from oncelog.replay_runs.partitions import PlanTotals
from oncelog.replay_runs.plan import Listed, is_in, keep_plan, parts_of, plan_replay, read_partition, read_totals
from oncelog.replay_runs.request import (
    Comparison,
    ReplayCounts,
    ReplayEnd,
    ReplayFinding,
    ReplayMode,
    ReplayReport,
    ReplayRequest,
    ReplayScope,
)
from oncelog.replay_runs.work import ModeWork, PartitionStep, ReplayRun

_log = structlog.get_logger()

#: Events that are held at a time; three such batches are in memory.
BATCH_EVENTS = 500

END = "end.json"
REPORT = "report.json"
NEWEST = "replay_id"
#: The replay of the same scope that had ended last before this one was planned, empty for none: a later one may have
#: read events that this one has not.
COMPARE_WITH = "compare_with.txt"


class PartitionProgress(BaseModel):
    """How far a partition has come. ``position``: the last event of which all work is done."""

    model_config = ConfigDict(frozen=True)

    counts: ReplayCounts = ReplayCounts()
    position: LogPosition | None = None


#: Called after each batch with the progress of the partition.
Counted = Callable[[PartitionProgress], None]


class ReplayRunner:
    """Runs replays on the log. ``replay_id`` names the run, and the folder of its files.

    ``works``: by mode, the work on the states besides their digests.
    """

    def __init__(
        self,
        catalogue: LogCatalogue,
        reader: LogReader,
        objects: LargeObjects,
        *,
        works: Mapping[ReplayMode, ModeWork],
        signer: Signer | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._reader = reader
        self._objects = objects
        self._works = works
        self._signer = signer

    def files(self, replay_id: str) -> ReplayFiles:
        """Return the files of a run."""
        return ReplayFiles(self._objects, replay_id)

    async def plan(self, replay_id: str, request: ReplayRequest, *, listed: Listed = lambda _: None) -> PlanTotals:
        """Let the mode prepare, divide the scope into partitions and keep the plan.

        Raises StoreUnavailable, and InputInvalid if the replay to compare with is not there.
        """
        files = self.files(replay_id)
        if request.compare_with:
            await read_totals(self.files(request.compare_with))
        if not request.dry_run:
            classes = [(part.db_name, part.class_id) for part in await parts_of(self._catalogue, request.scope)]
            await self._works[request.mode].begin(ReplayRun(files, request, classes))
            await files.write(COMPARE_WITH, (await self._newest(request) or "").encode())
        # Of a part of each class, the listing would be long beside the partition.
        keeps_listing = not request.dry_run and request.scope.since is None
        plan = await plan_replay(
            self._catalogue,
            request.scope,
            events_per_partition=request.partition_events,
            listed=listed,
            keeper=ListingFiles(files, self._reader) if keeps_listing else None,
        )
        return await keep_plan(files, plan)

    async def partition(
        self,
        replay_id: str,
        request: ReplayRequest,
        number: int,
        *,
        counted: Counted = lambda _: None,
        done: LogPosition | None = None,
    ) -> ReplayCounts:
        """Replay one partition of the plan and write its files; raises StoreUnavailable, InputInvalid.

        ``done``: the position that an earlier attempt has counted.
        """
        run = ReplayRun(self.files(replay_id), request)
        partition = await read_partition(run.files, number)
        work = self._works[request.mode]
        partition_work = await work.partition(PartitionStep(run, partition, done))
        lines: list[str] = []
        pace = _Pace(request.events_per_s / request.parallel if request.events_per_s else None)
        progress = PartitionProgress(counts=ReplayCounts(partitions=1), position=done)
        batches = self._reader.batches(
            partition.part,
            batch_events=BATCH_EVENTS,
            wanted=_wanted(request.scope),
            listed=await read_listing(run.files, partition),
        )
        async for batch in folded(batches, _fold(request.scope, keeps_events=work.wants_events)):
            lines += await asyncio.to_thread(_lines, batch.states)
            counts = progress.counts + _counts(batch) + await partition_work.add(batch)
            progress = PartitionProgress(counts=counts, position=_position(batch) or progress.position)
            counted(progress)
            await pace.keep(counts.events)
        digests = "".join(lines).encode()
        await run.files.write(partition_name(number, "digests", "txt"), digests)
        return progress.counts + await partition_work.end() + ReplayCounts(bytes_written=len(digests))

    async def end(self, replay_id: str, request: ReplayRequest, totals: PlanTotals) -> ReplayEnd:
        """Join the digests of all partitions, hold them against an earlier run of the scope, and let the mode end."""
        files = self.files(replay_id)
        end = await join_digests(read_digests(files, range(totals.partitions)))
        if self._signer is not None and request.scope.is_whole:
            for tree in end.databases:
                checkpoint = Checkpoint(
                    f"{self._signer.verifier.name}/{tree.name}", tree.size, bytes.fromhex(tree.root)
                )
                await files.write(checkpoint_name(tree.name), self._signer.signed(checkpoint.text).encode())
        earlier = request.compare_with or await self._earlier(files, request)
        if earlier and earlier != replay_id:
            end = end.model_copy(update={"comparison": await self._compared(files, totals, earlier)})
        end = await self._works[request.mode].end(ReplayRun(files, request, partitions=totals.partitions), end)
        await files.write(END, end.model_dump_json().encode())
        return end

    async def _compared(self, files: ReplayFiles, totals: PlanTotals, earlier: str) -> Comparison | None:
        """Hold the digests against those of an earlier run; None if its files have been deleted since it ended."""
        before = self.files(earlier)
        try:
            partitions = (await read_totals(before)).partitions
        except InputInvalid as error:
            _log.warning("earlier_digests_unreadable", replay_id=earlier, reason=error.message)
            return None
        return await DigestComparison(earlier).compare(
            read_digests(before, range(partitions)), read_digests(files, range(totals.partitions))
        )

    async def keep(self, request: ReplayRequest, report: ReplayReport) -> None:
        """Keep the report with the run, and let the next run of the same scope be compared with this one."""
        await self.files(report.replay_id).write(REPORT, report.model_dump_json().encode())
        if request.scope.is_whole:
            await self._newest_files(request).write(NEWEST, report.replay_id.encode())

    async def prove(self, replay_id: str, aggregate_id: AggregateId) -> InclusionProof | None:
        """Return the proof that a state is under a replay's root, None if the replay did not see the aggregate.

        Memory: 32 bytes per aggregate of the class. Raises InputInvalid for a replay that is not there.
        """
        files = self.files(replay_id)
        totals = await read_totals(files)
        ended = await files.read(END)
        if ended is None:
            raise InputInvalid(f"replay {replay_id}: expected it to have ended; wait for it, or start another one")
        proof = await prove(files, totals.partitions, aggregate_id)
        if proof is None:
            return None
        checkpoint = await files.read(checkpoint_name(aggregate_id.db_name))
        trees = ReplayEnd.model_validate_json(ended).classes
        lines = [TreeDigest(tree.name, tree.size, bytes.fromhex(tree.root)).line for tree in trees]
        return replace(
            proof,
            classes=tuple(line for line in lines if line.startswith(f"{aggregate_id.db_name}/")),
            checkpoint=checkpoint.decode() if checkpoint else None,
        )

    async def _earlier(self, files: ReplayFiles, request: ReplayRequest) -> str | None:
        planned = await files.read(COMPARE_WITH)
        return await self._newest(request) if planned is None else planned.decode()

    async def _newest(self, request: ReplayRequest) -> str | None:
        if not request.scope.is_whole:
            return None
        found = await self._newest_files(request).read(NEWEST)
        return found.decode() if found else None

    def _newest_files(self, request: ReplayRequest) -> ReplayFiles:
        return self.files(f"{newest_name(request.scope.name)}-format-{FORMAT}")


def _wanted(scope: ReplayScope) -> Callable[[ListedStream], bool] | None:
    return None if scope.since is None else lambda stream: is_in(stream, scope)


def _fold(scope: ReplayScope, *, keeps_events: bool) -> Fold:
    as_of_time = rfc3339(scope.as_of_time) if scope.as_of_time else None
    return Fold(as_of_version=scope.as_of_version, as_of_time=as_of_time, keeps_events=keeps_events)


def _counts(batch: FoldedBatch) -> ReplayCounts:
    return ReplayCounts(
        aggregates=batch.aggregates,
        events=batch.events,
        archived=batch.archived,
        findings_count=len(batch.damages),
        findings=tuple(map(_finding, batch.damages)),
    )


def _finding(damage: StreamDamage) -> ReplayFinding:
    code = "ArchiveDamaged" if damage.origin is EventOrigin.ARCHIVE else damage.error.code
    where = f"aggregate {damage.aggregate_id} event {damage.sequence_number}"
    return ReplayFinding(code=code, where=where, found=damage.error.message)


def _position(batch: FoldedBatch) -> LogPosition | None:
    """Return the last event of a batch that has its events; work that goes on after one asks for them."""
    if not batch.events_read:
        return None
    last = batch.events_read[-1]
    return LogPosition(aggregate_id=last.aggregate_id, sequence_number=last.sequence_number, checksum=last.checksum)


def _lines(states: Sequence[Instance]) -> list[str]:
    return [f"{StateDigest.of(state).line}\n" for state in states]


class _Pace:
    """Keeps a partition below a rate. ``events_per_s`` None: no limit."""

    def __init__(self, events_per_s: float | None) -> None:
        self._events_per_s = events_per_s
        self._started_s = time.monotonic()

    async def keep(self, events: int) -> None:
        """Wait until so many events may have been read."""
        if self._events_per_s is not None:
            due_s = self._started_s + events / self._events_per_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
