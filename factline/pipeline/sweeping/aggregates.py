"""Aggregates whose events may not all be on the stream, or whose document is behind their log."""

from collections.abc import Mapping, Sequence
from functools import partial

from factline.domain.dead_letters import skipped_through
from factline.domain.identifiers import AggregateId
from factline.errors import LogDamaged
from factline.pipeline.delivering import Deliverer
from factline.pipeline.log_reader import LogReader
from factline.pipeline.sweeping.tally import Finding, FindingKind, Tally
from factline.pipeline.sweeping.terms import Terms, each, half_done
from factline.pipeline.trace import Trace
from factline.ports import DeadLetters, Documents, EventLog, Extent, RunningWorkflows, Turns
from factline.projections.documents_model import DocumentsModel

AGGREGATES_PER_READ = 100


class AggregateSweep:
    """Compares head, watermark and document of each aggregate, and makes good what is behind."""

    def __init__(
        self,
        *,
        log: EventLog,
        reader: LogReader,
        deliverer: Deliverer,
        turns: Turns,
        documents: Documents,
        letters: DeadLetters,
        running: RunningWorkflows,
    ) -> None:
        self._log = log
        self._reader = reader
        self._deliverer = deliverer
        self._turns = turns
        self._documents = documents
        self._letters = letters
        self._running = running

    async def page(self, extents: Sequence[Extent], terms: Terms) -> Tally:
        """Sweep these aggregates; raises StoreUnavailable if a server kept it from every one of some."""
        tally = Tally()
        for start in range(0, len(extents), AGGREGATES_PER_READ):
            some = extents[start : start + AGGREGATES_PER_READ]
            reached = await self._reached([extent.aggregate_id for extent in some])
            tally += await each(some, partial(self._aggregate, reached, terms), place=_place)
        return tally

    async def _reached(self, aggregate_ids: Sequence[AggregateId]) -> Mapping[AggregateId, tuple[int, int | None]]:
        """Return how far each one's document has come, and its watermark."""
        documents = await self._documents.read(aggregate_ids)
        watermarks = await self._turns.published(aggregate_ids)
        versions = [document.sequence_number if document else 0 for document in documents]
        return dict(zip(aggregate_ids, zip(versions, watermarks, strict=True), strict=True))

    async def _aggregate(
        self, reached: Mapping[AggregateId, tuple[int, int | None]], terms: Terms, extent: Extent
    ) -> Tally:
        seen = Tally(aggregates=1)
        if extent.missing is not None:
            raise _missing(extent)
        projected, published = reached[extent.aggregate_id]
        if max(projected, published or 0) > extent.head:  # others have gone on since it was listed, or it is wrong
            published = await self._checked(extent, published, projected, terms)
        unpublished = not terms.are_settled(extent.written_at) if published is None else published < extent.head
        if not unpublished and projected >= extent.head:
            return seen
        if terms.are_recent(extent.written_at):
            return seen + Tally(recent=1)
        head = await self._reader.required(extent.aggregate_id, extent.head)
        if await self._running.is_running(head.event.command_id):
            return seen + Tally(running=1, oldest_left=extent.written_at)
        tally = seen
        if unpublished:
            tally += await self._publish(extent, published, terms)
        if projected < extent.head:
            tally += await self._project(extent, projected, terms)
        return tally

    async def _checked(self, extent: Extent, published: int | None, projected: int, terms: Terms) -> int | None:
        """Return the watermark, None if it is beyond the log; raises LogDamaged if the document is."""
        head = await self._log.head(extent.aggregate_id, after=extent.head)
        if projected > head:
            raise LogDamaged(
                f"aggregate {extent.aggregate_id}: its document is at version {projected}, but the log ends at {head}; "
                "restore the missing events, or delete the document and check again",
                aggregate_id=str(extent.aggregate_id),
            )
        if published is None or published <= head:
            return published
        if terms.repair:
            await self._turns.forget(extent.aggregate_id)
        return None

    async def _publish(self, extent: Extent, published: int | None, terms: Terms) -> Tally:
        """The head is the last thing to publish: whoever wrote it sends all before it along (rule R3)."""
        known = "unknown" if published is None else str(published)
        found = half_done(_place(extent), f"head {extent.head}, known to be published: {known}")
        if not terms.repair:
            return found + Tally(oldest_left=extent.written_at)
        await self._deliverer.publish(extent.aggregate_id, extent.head)
        return found + Tally(published=1)

    async def _project(self, extent: Extent, projected: int, terms: Terms) -> Tally:
        was = f"at version {projected}" if projected else "missing"
        parked = await self._parked(extent)
        if parked is not None:
            return parked
        found = half_done(_place(extent), f"head {extent.head}, its document is {was}")
        if not terms.repair:
            return found
        if await self._deliverer.project_or_park(extent.aggregate_id, extent.head, Trace()):
            return found + Tally(projected=1)
        return found + (await self._parked(extent) or Tally())

    async def _parked(self, extent: Extent) -> Tally | None:
        """Return the tally of an aggregate whose document need not be at its head, or None."""
        letters = await self._letters.history(DocumentsModel.name, extent.aggregate_id)
        letter = letters[-1] if letters and letters[-1].waits else skipped_through(letters, extent.head)
        if letter is None:
            return None
        what = f"{letter.kind} at version {letter.sequence_number} since {letter.at}: {letter.reason}"
        return Tally(parked=1, findings=(Finding(kind=FindingKind.PARKED, place=_place(extent), what=what),))


def _place(extent: Extent) -> str:
    return f"aggregate {extent.aggregate_id}"


def _missing(extent: Extent) -> LogDamaged:
    return LogDamaged(
        f"aggregate {extent.aggregate_id}: slot {extent.missing} is missing below {extent.head}; "
        "restore the object from its versions",
        where=f"slot {extent.aggregate_id} {extent.missing}",
        aggregate_id=str(extent.aggregate_id),
        sequence_number=extent.missing,
    )
