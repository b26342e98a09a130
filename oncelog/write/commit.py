"""The slot protocol: from a command to the one event or the one rejection it comes to (docs/protocol.md).

Redis proposes, S3 decides. Rules: R1 slots are taken in order by conditional PUT after the predecessor was read;
R2 a command is bound by a record before its first PUT, to a slot and to a definition of its class, and to the event of
a command of one's own, and claims the class's name once it is bound; R3 publication
goes from the watermark on; R5 leases are for speed. V1 to V6 the places of unique values are named in the record, and
their entries written before the event. ``tests/model`` holds the executable model of these rules.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack, nullcontext
from dataclasses import dataclass
from functools import partial

import structlog
from structlog.contextvars import bound_contextvars

from oncelog import metrics
from oncelog.domain.aggregates.aggregate_registry import registry
from oncelog.domain.commands import Command, CommandType
from oncelog.domain.events import Event
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.records import AnyRecord, CommandRecord, record_of
from oncelog.domain.results import CommandResult, Rejection
from oncelog.domain.unique.entry import UniqueEntry
from oncelog.errors import StoreUnavailable
from oncelog.offload import offloaded
from oncelog.ports import CommandStatus, Stage, StoredEvent, StreamProgress, Watermark
from oncelog.replay.trace import Trace
from oncelog.write.command_outcomes import rejected, reused
from oncelog.write.name_collision import claim_name, find_collision
from oncelog.write.record_decision import RecordDecisions
from oncelog.write.stream_head import StreamHead
from oncelog.write.write_path import WritePath

#: A longer range is left to the publish step, so that a backlog does not hold up the aggregate's lease.
UNDER_LEASE_EVENTS_MAX = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Committed:
    """The outcome of a command. ``published``: whether its event is known to be on Kafka already.

    ``duplicate``: it had come to its end before.
    """

    result: CommandResult
    published: bool = False
    duplicate: bool = False


class Committer:
    """Commits commands. Any number of attempts of one command may run at once, in any number of processes."""

    def __init__(self, path: WritePath) -> None:
        self._records = path.ports.records
        self._snapshots = path.ports.snapshots
        self._names = path.ports.names
        self._leases = path.ports.leases
        self._statuses = path.ports.statuses
        self._command_outcomes = path.command_outcomes
        self._publication = path.publication
        self._reader = path.reader
        self._cache = path.cache
        self._stream_heads = path.stream_heads
        self._lease_queue = path.lease_queue
        self._decisions = RecordDecisions(path)
        self._claims = path.claims
        self._event_writer = path.event_writer
        self._snapshot_interval_events = path.snapshot_interval_events

    async def commit(
        self, command: Command, *, occurred_at: str, trace: Trace, publish: bool = True, bounded: bool = True
    ) -> Committed:
        """Bring the command to its end, or raise the error that prevents it; may be repeated at any time.

        ``occurred_at``: the workflow's clock, RFC 3339 UTC; the first record's counts if there is one already.
        ``publish``: whether to publish while holding the lease, if Kafka answers.
        ``bounded``: whether AggregateBusy is raised, before anything is recorded, if enough commands of the aggregate
        are under way in this process. A caller that has few commands under way by itself waits for its lease instead.
        """
        await offloaded(lambda: command.hash, of=command.payload)
        async with trace.step("claim") as step:
            status = await self._claim(command, occurred_at)
            step.note = f"seen before: {status.stage}" if status else "first seen"
        if status and status.result and status.command_hash == command.hash:
            return Committed(status.result, duplicate=True)
        place = self._lease_queue.place(command.aggregate_id, command.command_id, accepted_at=occurred_at)
        with place if bounded else nullcontext():
            record = await self._command_outcomes.last_record(command.command_id) if status else None
            result = await self._result_of(command, record) if record else await self._collision(command)
            if result:
                return Committed(result, duplicate=record is not None)
            return await self._commit_under_lease(
                command, record, occurred_at=occurred_at, trace=trace, publish=publish
            )

    async def _commit_under_lease(
        self, command: Command, record: AnyRecord | None, *, occurred_at: str, trace: Trace, publish: bool
    ) -> Committed:
        async with AsyncExitStack() as lease:
            async with trace.step("allocate") as step:
                head = await self._allocate(command, lease)
                step.note = f"slot {head.state.sequence_number + 1}"
            if record is None:
                bound, head = await self._bind(command, 1, occurred_at=occurred_at, head=head, trace=trace)
            else:
                bound = record
            while (refused := _refusal(command, bound)) is None:
                collision = await claim_name(self._names, command.db_name, command.class_id)
                if collision:  # no attempt was granted the name, so that none can ever write an event
                    record = _next_record(command, bound, collision)
                    await offloaded(partial(getattr, record, "canonical"), of=command.payload)
                    bound = await self._records.write_record(record)
                    continue
                async with trace.step("persist") as step:
                    stored = await self._persist(command, bound, head)
                    step.note = _persist_note(stored)
                if stored is not None and stored.event.command_id == command.command_id:
                    with bound_contextvars(sequence_number=stored.event.sequence_number):
                        await self._claims.remember(_entries_of(bound))
                        return await self._finish(command, stored.event, head, trace=trace, publish=publish)
                (metrics.UNIQUE_CONFLICTS if stored is None else metrics.SLOT_CONFLICTS).inc()
                # A slot or a place is another command's: only now, and through a further record, to others.
                head = await self._stream_heads.reloaded(command.aggregate_id)
                bound, head = await self._bind(
                    command, bound.number + 1, occurred_at=bound.occurred_at, head=head, trace=trace
                )
            return await self._refuse(command, refused, head)

    async def _allocate(self, command: Command, lease: AsyncExitStack) -> StreamHead:
        """Wait for the lease, hold it as long as ``lease`` is open, and find the stream head."""
        granted = await lease.enter_async_context(self._lease_queue.lease(command.aggregate_id, command.command_id))
        return await self._stream_heads.of(command.aggregate_id, granted, may_be_first=_may_be_first(command))

    async def _claim(self, command: Command, occurred_at: str) -> CommandStatus | None:
        return await self._statuses.claim_command(
            CommandStatus(
                command_id=command.command_id,
                command_hash=command.hash,
                command_type=command.command_type,
                aggregate_id=str(command.aggregate_id),
                stage=Stage.ACCEPTED,
                history=((Stage.ACCEPTED, occurred_at),),
            )
        )

    async def _result_of(self, command: Command, record: AnyRecord) -> CommandResult | None:
        """Return the result that the command already has, by its last record and the slot it names."""
        return _refusal(command, record) or await self._command_outcomes.result(record)

    async def _collision(self, command: Command) -> CommandResult | None:
        rejection = await find_collision(self._names, command.db_name, command.class_id)
        return rejected(command, rejection) if rejection else None

    async def _bind(
        self, command: Command, number: int, *, occurred_at: str, head: StreamHead, trace: Trace
    ) -> tuple[AnyRecord, StreamHead]:
        """Decide, and write the next record. The record that is stored under its number binds, whichever
        attempt wrote it (R2).
        """
        async with trace.step("record") as step:
            decided = await self._decisions.of(command, head, occurred_at=occurred_at, hopeful=number == 1)
            class_schema = decided.class_schema
            record = record_of(
                command,
                number=number,
                occurred_at=occurred_at,
                end=decided.end,
                definition=class_schema.reference if class_schema else None,
                places=decided.places,
            )
            await offloaded(partial(getattr, record, "canonical"), of=command.payload)
            bound = await self._records.write_record(record)
            step.note = _record_note(bound)
        return bound, decided.head

    async def _persist(self, command: Command, record: AnyRecord, head: StreamHead) -> StoredEvent | None:
        """Return the event that the record's slot has in the end, or None if one of its places is another's (V3)."""
        if not await self._claims.write(_entries_of(record)):
            return None
        return await self._event_writer.write(command, record, state=head.state, published=head.published)

    async def _refuse(self, command: Command, refused: CommandResult, head: StreamHead) -> Committed:
        state = head.state if head.is_verified and head.state.sequence_number else None
        await self._leases.save_progress(
            [StreamProgress(command.aggregate_id, state, release=True)], command.command_id
        )
        return Committed(refused)

    async def _finish(
        self, command: Command, event: Event, head: StreamHead, *, trace: Trace, publish: bool
    ) -> Committed:
        """Publish while Kafka answers, save the progress in Redis, and release the lease."""
        aggregate_id, slot = command.aggregate_id, event.sequence_number
        before = head.state
        state = (
            evolve(before, event) if before.sequence_number == slot - 1 else await self._reader.at(aggregate_id, slot)
        )
        self._cache.put(aggregate_id, state)
        published = head.published
        if publish and 0 < slot - published.through <= UNDER_LEASE_EVENTS_MAX and self._publication.answers:
            async with trace.step("publish") as step:
                published = await self._publish(event, watermark=published)
                step.note = f"published through {published.through}"
        if slot % self._snapshot_interval_events == 0:
            await self._save_snapshot(state)
        await self._leases.save_progress(
            [StreamProgress(aggregate_id, state, published, release=True)], command.command_id
        )
        return Committed(self._command_outcomes.applied(event), published=published.through >= slot)

    async def _publish(self, event: Event, *, watermark: Watermark) -> Watermark:
        """Return the watermark after trying; when Kafka does not answer, writing goes on and publishing waits."""
        try:
            return await self._publication.send(event.aggregate, [event], watermark=watermark)
        except StoreUnavailable as error:
            log.warning("published_later", aggregate_id=event.aggregate_id, reason=error.message)
            return watermark

    async def _save_snapshot(self, state: Instance) -> None:
        try:
            await self._snapshots.save_snapshot(state)
        except StoreUnavailable as error:  # derived: the next one does as well, until then reading takes longer
            log.warning("snapshot_not_saved", aggregate_id=state.aggregate_id, reason=error.message)


def _may_be_first(command: Command) -> bool:
    """Return whether the command may be the first of its stream: a creation, or any of one's own that is known here.

    Its decision on the empty state shows the rest: a rejection is verified in S3 before it counts (R6).
    """
    begins = command.command_type is CommandType.CREATE_INSTANCE or command.command_type in registry().commands
    return begins and not command.expected_version


def _next_record(command: Command, bound: AnyRecord, rejection: Rejection) -> CommandRecord:
    """Return the record after ``bound``, which rejects the command."""
    definition = bound.definition if isinstance(bound, CommandRecord) else None
    return record_of(
        command, number=bound.number + 1, occurred_at=bound.occurred_at, end=rejection, definition=definition
    )


def _refusal(command: Command, record: AnyRecord) -> CommandResult | None:
    """Return the rejection a record binds the command to, or the refusal of another command under the same ID."""
    if record.command_hash != command.hash:
        return reused(command, record.command_hash)
    return rejected(command, record.rejection) if record.rejection else None


def _entries_of(record: AnyRecord) -> Sequence[UniqueEntry]:
    return record.entries if isinstance(record, CommandRecord) else ()


def _persist_note(stored: StoredEvent | None) -> str:
    if stored is None:
        return "a place of a unique value is another's"
    return f"{stored.event.event_type} {stored.event.sequence_number}"


def _record_note(record: AnyRecord) -> str:
    if record.rejection:
        return f"rejected: {record.rejection.code}"
    return f"bound to slot {record.slot}" if isinstance(record, CommandRecord) else "taken by a bulk command"
