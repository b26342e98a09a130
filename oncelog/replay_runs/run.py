"""The steps of a replay run: plan it, replay a partition, end it. Each may be repeated and gives the same files."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace

from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader, listed_streams
from oncelog.archive.stretch import EventBatch
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.domain.signed_note import Checkpoint, Signer
from oncelog.domain.state_digest import FORMAT, StateDigest, TreeDigest
from oncelog.errors import InputInvalid
from oncelog.ports import LargeObjects, LogCatalogue
from oncelog.replay_runs.digests import DigestComparison, InclusionProof, join_digests, prove, read_digests
from oncelog.replay_runs.export import MANIFEST, PartitionExport, join_exports
from oncelog.replay_runs.files import ReplayFiles, checkpoint_name, newest_name, partition_name
from oncelog.replay_runs.fold import Fold, folded
from oncelog.replay_runs.plan import Listed, is_in, plan_replay
from oncelog.replay_runs.request import (
    ExportedFiles,
    PlanTotals,
    ReplayCounts,
    ReplayEnd,
    ReplayMode,
    ReplayPlan,
    ReplayReport,
    ReplayRequest,
    ReplayScope,
)

#: Called after each batch with the counts of the partition so far.
Counted = Callable[[ReplayCounts], None]

#: Events that are held at a time; three such batches are in memory.
BATCH_EVENTS = 200

PLAN = "plan.json"
END = "end.json"
REPORT = "report.json"
NEWEST = "replay_id"


class ReplayRunner:
    """Runs replays on the log. ``replay_id`` names the run, and the folder of its files."""

    def __init__(
        self, catalogue: LogCatalogue, reader: LogReader, objects: LargeObjects, *, signer: Signer | None = None
    ) -> None:
        self._catalogue = catalogue
        self._reader = reader
        self._objects = objects
        self._signer = signer

    def files(self, replay_id: str) -> ReplayFiles:
        """Return the files of a run."""
        return ReplayFiles(self._objects, replay_id)

    async def plan(self, replay_id: str, request: ReplayRequest, *, listed: Listed = lambda _: None) -> PlanTotals:
        """Divide the scope into partitions and keep the plan; raises StoreUnavailable."""
        plan = await plan_replay(
            self._catalogue, request.scope, events_per_partition=request.partition_events, listed=listed
        )
        await self.files(replay_id).write(PLAN, plan.model_dump_json().encode())
        return plan.totals

    async def partition(
        self, replay_id: str, request: ReplayRequest, number: int, *, counted: Counted = lambda _: None
    ) -> ReplayCounts:
        """Replay one partition of the plan and write its files; raises StoreUnavailable, InputInvalid."""
        files = self.files(replay_id)
        partition = (await self._plan(files)).partitions[number]
        lines: list[str] = []
        export = PartitionExport(files, number, request.format) if request.mode is ReplayMode.AS_OF else None
        pace = _Pace(request.events_per_s / request.parallel if request.events_per_s else None)
        counts = ReplayCounts(partitions=1)
        async for batch in folded(self._batches(partition.part, request.scope), Fold(request.scope)):
            lines += await asyncio.to_thread(_lines, batch.states)
            if export is not None:
                await export.add(batch.states)
            counts += ReplayCounts(
                aggregates=batch.aggregates,
                events=batch.events,
                archived=batch.archived,
                findings_count=len(batch.findings),
                findings=tuple(batch.findings),
            )
            counted(counts)
            await pace.keep(counts.events)
        digests = "".join(lines).encode()
        await files.write(partition_name(number, "digests", "txt"), digests)
        exported = await export.end() if export else ExportedFiles()
        written = len(digests) + sum(each.size_bytes for each in exported.files)
        return counts + ReplayCounts(bytes_written=written)

    async def end(self, replay_id: str, request: ReplayRequest, totals: PlanTotals) -> ReplayEnd:
        """Join the digests of all partitions and hold them against an earlier run of the same scope."""
        files = self.files(replay_id)
        end = await join_digests(read_digests(files, totals.partitions))
        if self._signer is not None and request.scope.is_whole:
            for tree in end.databases:
                checkpoint = Checkpoint(
                    f"{self._signer.verifier.name}/{tree.name}", tree.size, bytes.fromhex(tree.root)
                )
                await files.write(checkpoint_name(tree.name), self._signer.signed(checkpoint.text).encode())
        earlier = request.compare_with or await self._newest(request)
        if earlier is not None and earlier != replay_id:
            before = self.files(earlier)
            partitions = (await self._plan(before)).totals.partitions
            comparison = DigestComparison(earlier)
            compared = await comparison.compare(
                read_digests(before, partitions), read_digests(files, totals.partitions)
            )
            end = end.model_copy(update={"comparison": compared})
        if request.mode is ReplayMode.AS_OF:
            exported = await join_exports(files, totals.partitions)
            rows = sum(each.rows for each in exported.files)
            end = end.model_copy(update={"manifest": files.folder + MANIFEST, "rows": rows})
        await files.write(END, end.model_dump_json().encode())
        return end

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
        totals = (await self._plan(files)).totals
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

    async def _batches(self, part: LogPart, scope: ReplayScope) -> AsyncIterator[EventBatch]:
        """Yield the events of a part, less those of aggregates that the scope leaves out."""
        wanted: set[str] | None = None
        if scope.since is not None:
            listed = listed_streams(self._catalogue, part)
            wanted = {str(stream.aggregate_id) async for stream in listed if is_in(stream, scope)}
        async for batch in self._reader.batches(part, batch_events=BATCH_EVENTS):
            if wanted is not None:
                batch.events = [event for event in batch.events if event.aggregate_id in wanted]
                batch.damages = [damage for damage in batch.damages if damage.aggregate_id in wanted]
            yield batch

    async def _plan(self, files: ReplayFiles) -> ReplayPlan:
        found = await files.read(PLAN)
        if found is None:
            raise InputInvalid(f"replay {files.folder}: expected its plan in S3, found none; start another replay")
        return ReplayPlan.model_validate_json(found)

    async def _newest(self, request: ReplayRequest) -> str | None:
        if not request.scope.is_whole:
            return None
        found = await self._newest_files(request).read(NEWEST)
        return found.decode() if found else None

    def _newest_files(self, request: ReplayRequest) -> ReplayFiles:
        return self.files(f"{newest_name(request.scope.name)}-format-{FORMAT}")


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
