"""Mutations: the code without one of its rules; each is a change that a careless hand might make.

They are sorted by how soon a story shows them: ``SOON`` within some dozens, the others within some hundreds.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from oncelog.bulk.chunk import ChunkCommitter, Written
from oncelog.bulk.chunk_planner import ChunkPlanner
from oncelog.domain.bulk import binding as binding_rules
from oncelog.domain.bulk.binding import ConflictOutcome
from oncelog.domain.bulk.records import BoundSlot, BulkRecord, ChunkRecord
from oncelog.domain.bulk.results import BulkResult, rejected_bulk
from oncelog.domain.events import Event
from oncelog.domain.instance import Instance
from oncelog.domain.records import AnyRecord, CommandRecord
from oncelog.domain.results import Rejection, RejectionCode
from oncelog.errors import StoreUnavailable
from oncelog.ports import StreamProgress, Watermark
from oncelog.reconcile.aggregates import AggregateReconciler
from oncelog.reconcile.bulk import BulkReconciler
from oncelog.reconcile.commands import CommandReconciler
from oncelog.reconcile.summary import ReconcileSummary
from oncelog.stores.s3.bucket import StoredObject
from oncelog.stores.s3.command_records import S3ChunkRecords, S3CommandRecords
from oncelog.stores.s3.event_log import S3EventLog
from oncelog.testing.memory.elasticsearch import MemoryDocuments
from oncelog.testing.memory.s3 import MemoryBucket
from oncelog.write import commit, event_writer
from oncelog.write.commit import Committer
from oncelog.write.publication import Publication
from oncelog.write.stream_head import StreamHead, StreamHeads

Mutation = Callable[[pytest.MonkeyPatch], None]

SOON: dict[str, Mutation] = {}
LATE: dict[str, Mutation] = {}


def found_soon(mutate: Mutation) -> Mutation:
    SOON[mutate.__name__] = mutate
    return mutate


def found_late(mutate: Mutation) -> Mutation:
    LATE[mutate.__name__] = mutate
    return mutate


@found_soon
def events_overwrite(patch: pytest.MonkeyPatch) -> None:
    real = MemoryBucket.put_if_absent

    async def put(self: MemoryBucket, key: str, body: bytes, *, metadata: Any = None) -> StoredObject | None:
        if not key.startswith("events/"):
            return await real(self, key, body, metadata=metadata)
        await self._begin("PutObject", key)
        self.objects[key] = StoredObject(body, dict(metadata))
        return None

    patch.setattr(MemoryBucket, "put_if_absent", put)


@found_soon
def redis_is_believed_about_the_predecessor(patch: pytest.MonkeyPatch) -> None:
    real = StreamHeads.of

    async def of(self: StreamHeads, aggregate_id: Any, turn: Any, *, may_be_first: bool) -> StreamHead:
        if not turn.known:
            return await real(self, aggregate_id, turn, may_be_first=may_be_first)
        state = turn.state or Instance(aggregate_id=str(aggregate_id), sequence_number=turn.head)
        return StreamHead(state, turn.published, is_verified=False)

    patch.setattr(StreamHeads, "of", of)


@found_soon
def no_record_is_written(patch: pytest.MonkeyPatch) -> None:
    async def write(_self: S3CommandRecords, record: CommandRecord) -> CommandRecord:
        return record

    patch.setattr(S3CommandRecords, "write_record", write)


@found_soon
def the_record_that_stands_is_ignored(patch: pytest.MonkeyPatch) -> None:
    real = S3CommandRecords.write_record

    async def write(self: S3CommandRecords, record: AnyRecord) -> AnyRecord:
        await real(self, record)
        return record

    patch.setattr(S3CommandRecords, "write_record", write)


@found_late
def another_slot_without_a_further_record(patch: pytest.MonkeyPatch) -> None:
    real = S3CommandRecords.write_record

    async def write(self: S3CommandRecords, record: AnyRecord) -> AnyRecord:
        return await real(self, record) if record.number == 1 else record

    patch.setattr(S3CommandRecords, "write_record", write)


def the_record_carries_no_event(patch: pytest.MonkeyPatch) -> None:
    """Of commands of one's own only: ``tests.machine.own_commands`` shows it."""
    patch.setattr(event_writer, "_recorded_event", lambda *_: None)


@found_soon
def content_is_not_compared(patch: pytest.MonkeyPatch) -> None:
    real = commit._refusal
    patch.setattr(commit, "_refusal", lambda command, record: real(command, _as_if_of(command, record)))


def _as_if_of(command: Any, record: CommandRecord) -> CommandRecord:
    return record.model_copy(update={"command_hash": command.hash})


@found_late
def every_attempt_has_a_time_of_its_own(patch: pytest.MonkeyPatch) -> None:
    real = Committer._bind

    async def bind(self: Committer, command: Any, number: int, *, occurred_at: str, **more: Any) -> Any:
        record, head = await real(self, command, number, occurred_at=occurred_at, **more)
        return record.model_copy(update={"occurred_at": occurred_at}), head

    patch.setattr(Committer, "_bind", bind)


@found_late
def a_rejection_is_recorded_on_the_word_of_redis(patch: pytest.MonkeyPatch) -> None:
    async def verified(_self: StreamHeads, _aggregate_id: Any, position: StreamHead) -> StreamHead:
        return replace(position, is_verified=True)

    patch.setattr(StreamHeads, "verified", verified)


@found_late
def only_the_own_event_is_published(patch: pytest.MonkeyPatch) -> None:
    async def send(self: Publication, _aggregate_id: Any, events: list[Event], *, watermark: Watermark) -> Watermark:
        await self._publisher.publish_events(events)
        return Watermark(watermark.generation, events[-1].sequence_number)

    patch.setattr(Publication, "send", send)


@found_late
def the_watermark_is_raised_although_kafka_is_silent(patch: pytest.MonkeyPatch) -> None:
    async def publish(self: Committer, event: Event, *, watermark: Watermark) -> Watermark:
        try:
            return await self._publication.send(event.aggregate, [event], watermark=watermark)
        except StoreUnavailable:
            return Watermark(watermark.generation, event.sequence_number)

    patch.setattr(Committer, "_publish", publish)


@found_soon
def the_watermark_is_raised_before_the_acknowledgement(patch: pytest.MonkeyPatch) -> None:
    real = Publication.ensure

    async def ensure(self: Publication, aggregate_id: Any, sequence_number: int) -> str:
        (published,) = await self._leases.published([aggregate_id])
        if published is not None and published.through < sequence_number:
            raised = Watermark(published.generation, sequence_number)
            await self._leases.save_progress([StreamProgress(aggregate_id, published=raised)], "")
        return await real(self, aggregate_id, sequence_number)

    patch.setattr(Publication, "ensure", ensure)


@found_soon
def an_events_metadata_overstates_what_is_published(patch: pytest.MonkeyPatch) -> None:
    real = S3EventLog.append_event

    async def append(self: S3EventLog, event: Event, *, published_through: Watermark) -> Any:
        overstated = Watermark(published_through.generation, event.sequence_number - 1)
        return await real(self, event, published_through=overstated)

    patch.setattr(S3EventLog, "append_event", append)


@found_soon
def watermarks_of_a_lost_topic_are_believed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Watermark, "through_in", lambda watermark, _generation: watermark.through)


@found_soon
def an_older_document_replaces_a_newer_one(patch: pytest.MonkeyPatch) -> None:
    real = MemoryDocuments._write

    def write(self: MemoryDocuments, document: Any) -> Exception | None:
        for index in self.indices.values() if self.available else ():
            index.pop(document.aggregate_id.instance_key, None)
        return real(self, document)

    patch.setattr(MemoryDocuments, "_write", write)


@found_late
def the_sweep_leaves_intents(patch: pytest.MonkeyPatch) -> None:
    async def page(_self: CommandReconciler, _commands: Any, _terms: Any) -> ReconcileSummary:
        return ReconcileSummary()

    patch.setattr(CommandReconciler, "page", page)


@found_late
def the_sweep_leaves_what_is_unpublished(patch: pytest.MonkeyPatch) -> None:
    async def page(_self: AggregateReconciler, _extents: Any, _terms: Any) -> ReconcileSummary:
        return ReconcileSummary()

    patch.setattr(AggregateReconciler, "page", page)


@found_late
def what_is_void_is_written_all_the_same(patch: pytest.MonkeyPatch) -> None:
    async def write(
        self: ChunkCommitter, record: Any, _bound: Any, bindings: Any, attempt: Any, written: Written
    ) -> None:
        name = str(written.aggregate_id)
        for binding in bindings:
            if binding.slot is not None:
                change = attempt.changes[binding.index]
                stored, _ = await self._stored(change, binding.slot, record, attempt, None, written.published)
                attempt.occupied[name, binding.slot] = stored.event.event_id
                if stored.event.event_id == change.event_id:
                    written.events.append(stored.event)
        if written.events:
            written.state = await self._reader.at(written.aggregate_id, written.events[-1].sequence_number)

    patch.setattr(ChunkCommitter, "_write", write)


@found_late
def a_displaced_item_counts_as_applied(patch: pytest.MonkeyPatch) -> None:
    def outcome(slot: BoundSlot, _event_id: str, event_in: Any) -> ConflictOutcome:
        return ConflictOutcome.OPEN if event_in(*slot) is None else ConflictOutcome.APPLIED

    patch.setattr(binding_rules, "_outcome_in_slot", outcome)


@found_soon
def no_chunk_record_is_written(patch: pytest.MonkeyPatch) -> None:
    async def write(_self: S3ChunkRecords, record: ChunkRecord) -> ChunkRecord:
        return record

    patch.setattr(S3ChunkRecords, "write_chunk_record", write)


@found_late
def the_chunk_record_that_stands_is_ignored(patch: pytest.MonkeyPatch) -> None:
    real = S3ChunkRecords.write_chunk_record

    async def write(self: S3ChunkRecords, record: ChunkRecord) -> ChunkRecord:
        await real(self, record)
        return record

    patch.setattr(S3ChunkRecords, "write_chunk_record", write)


@found_late
def a_close_is_not_recorded(patch: pytest.MonkeyPatch) -> None:
    real = S3ChunkRecords.write_chunk_record

    async def write(self: S3ChunkRecords, record: ChunkRecord) -> ChunkRecord:
        existing = await self.read_chunk_record(record.command_id, record.chunk, record.number)
        return existing or record if record.closed else await real(self, record)

    patch.setattr(S3ChunkRecords, "write_chunk_record", write)


@found_late
def the_sweep_does_not_close_bulk_commands(patch: pytest.MonkeyPatch) -> None:
    async def end(_self: BulkReconciler, record: BulkRecord) -> BulkResult:
        return rejected_bulk(record.bulk, Rejection(code=RejectionCode.INVALID_COMMAND, message="left as it is"))

    patch.setattr(BulkReconciler, "end", end)


@found_late
def a_chunk_is_decided_ahead_although_it_shares_an_instance(patch: pytest.MonkeyPatch) -> None:
    real = ChunkPlanner.prepare

    async def prepare(self: ChunkPlanner, record: Any, chunk: int, *, after: Any, trace: Any) -> Any:
        del after
        return await real(self, record, chunk, after=None, trace=trace)

    patch.setattr(ChunkPlanner, "prepare", prepare)
