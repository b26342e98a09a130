"""Broken versions of the system: the real command path with one part of it taken out, run until the checker sees it.

Each run is a schedule drawn from a seed: two waves of commands with several attempts each, of which some die, on
servers that forget and fall silent; a client that reads with the tokens it was given; then everything is healed, every
command is asked for once more, and what lies in the servers is verified together with what clients saw.
"""

import asyncio
import contextlib
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

import oncelog.domain.instance
from oncelog.checks.verify import Report, nothing_in_flight, verify
from oncelog.client.client import Oncelog
from oncelog.domain.commands import Command
from oncelog.domain.instance import Instance
from oncelog.domain.results import CommandResult
from oncelog.errors import OncelogError, StoreUnavailable
from oncelog.ports import Lease, StoredEvent, Watermark
from oncelog.query import visibility
from oncelog.stores.s3 import S3CommandRecords, S3EventLog
from oncelog.testing.memory.elasticsearch import MemoryDocuments
from oncelog.testing.memory.kafka import MemoryPublisher
from oncelog.testing.memory.redis import MemoryCommandStatuses, MemoryLeases
from oncelog.testing.memory.s3 import MemoryBucket
from oncelog.verification.findings import Code, Severity
from oncelog.verification.history import Kind, ReadAsked, ReadFound, document_digest
from oncelog.write import commit, lease_queue
from oncelog.write.command_outcomes import rejected
from oncelog.write.commit import Committer
from oncelog.write.publication import Publication
from oncelog.write.stream_head import StreamHead, StreamHeads
from tests.commands import create, delete, update
from tests.verification.seen import Recorder
from tests.write.schedules import PLACE, Dead, Schedule, mishaps_of
from tests.write.world import Process, World

ATTEMPTS = 2
RUN_TIMEOUT_S = 60
READ_DEADLINE_S = 0.05


async def play(seed: int) -> Report:
    """Run one schedule on whatever the system is at the moment, and verify what it leaves behind."""
    dice = random.Random(seed)
    world, recorder = World(), Recorder()
    waves = [_commands(dice, "cu", "cud", "cuu"), _commands(dice, "cud", "duu", "ccu", "uucd")]
    servers = (world.bucket, world.redis, world.publisher, world.documents)
    mishaps = mishaps_of(world)  # one for both waves, so that Redis may be rolled back to what it was in the first
    for commands in waves:
        schedule = Schedule(dice, mishaps, chance=0.15, dying=0.02)
        for server in servers:
            server.pause = schedule.pause
        # Of one command in each wave, another content is sent under the same ID.
        other = commands[0].model_copy(update={"actor": "somebody else"})
        asked = [*commands * ATTEMPTS, other]
        trying = [_attempt(recorder, world.process(), command, client=n) for n, command in enumerate(asked)]
        reading = [_read_back(recorder, world, command) for command in commands[:2]]
        await schedule.drive([asyncio.create_task(each) for each in (*trying, *reading)])
        await heal(world)
        for command in (*commands, other):
            await _attempt(recorder, world.process(), command, client=99)
    return await verify(world.sources, in_flight=nothing_in_flight, history=recorder.history)


async def heal(world: World) -> None:
    """Let all servers answer again, and no lease exclude anybody."""

    async def at_once() -> None:
        """Leases exclude no other holder any more."""

    for server in (world.bucket, world.redis, world.publisher, world.documents):
        server.pause = at_once
    world.publisher.available = True
    world.redis.leases.clear()
    world.redis.queues.clear()


def _commands(dice: random.Random, *kinds: str) -> list[Command]:
    make: dict[str, Callable[..., Command]] = {"c": create, "u": update, "d": delete}
    return [make[kind]() for kind in dice.choice(kinds)]


async def _attempt(recorder: Recorder, process: Process, command: Command, *, client: int) -> CommandResult | None:
    op_id = recorder.invoke(command, client=client)
    try:
        result = await process.run(command)
    except (Dead, OncelogError, asyncio.CancelledError, AssertionError) as error:
        recorder.add(Kind.INFO, op_id, error=repr(error))
        return None
    recorder.answered(op_id, result)
    return result


async def _read_back(recorder: Recorder, world: World, command: Command) -> CommandResult | None:
    """Do as a client does that wants to see what it wrote: take the early answer's token, and read with it."""
    process = world.process()
    op_id = recorder.invoke(command, client=50)
    try:
        result = await process.commit(command)
        recorder.answered(op_id, result)
        if result.consistency_token is None:
            return None
        asked = ReadAsked(aggregate_id=str(PLACE), token=result.consistency_token)
        op_id = recorder.add(Kind.INVOKE, client=50, op="read", asked=asked)
        client = Oncelog(process.ports, world.settings)
        document = await client.get(PLACE, token=result.consistency_token, deadline_s=READ_DEADLINE_S)
        found = ReadFound(sequence_number=0)
        if document:
            found = ReadFound(sequence_number=document.sequence_number, digest=document_digest(document))
        recorder.add(Kind.OK, op_id, found=found)
    except (Dead, OncelogError, asyncio.CancelledError, AssertionError) as error:
        recorder.add(Kind.INFO, op_id, error=repr(error))
    return None


Patch = pytest.MonkeyPatch


def without_records(patch: Patch) -> None:
    async def write(_: S3CommandRecords, record: Any) -> Any:
        return record

    async def read(_: S3CommandRecords, _command_id: str, _number: int) -> None:
        return None

    patch.setattr(S3CommandRecords, "write_record", write)
    patch.setattr(S3CommandRecords, "read_record", read)


def with_records_overwritten(patch: Patch) -> None:
    async def write(self: S3CommandRecords, record: Any) -> Any:
        await self._bucket.put(f"commands/{record.command_id}/{record.number:06d}.json", record.canonical)
        return record

    async def claim(_: MemoryCommandStatuses, _status: Any) -> None:
        return None

    patch.setattr(S3CommandRecords, "write_record", write)
    patch.setattr(MemoryCommandStatuses, "claim_command", claim)


def with_unconditional_put(patch: Patch) -> None:
    conditional = MemoryBucket.put_if_absent

    async def put(self: MemoryBucket, key: str, body: bytes, **more: Any) -> Any:
        if not key.startswith("events/"):
            return await conditional(self, key, body, **more)
        return await self.put(key, body)

    patch.setattr(MemoryBucket, "put_if_absent", put)


def with_412_taken_for_success(patch: Patch) -> None:
    append = S3EventLog.append_event

    async def blind(self: S3EventLog, event: Any, *, published_through: Watermark) -> StoredEvent:
        await append(self, event, published_through=published_through)
        return StoredEvent(event, published_through)

    patch.setattr(S3EventLog, "append_event", blind)


def with_publishing_without_range(patch: Patch) -> None:
    async def send(self: Publication, _aggregate_id: Any, events: Any, *, watermark: Watermark) -> Watermark:
        await self._publisher.publish_events(events)
        return Watermark(watermark.generation, events[-1].sequence_number)

    async def ensure(self: Publication, aggregate_id: Any, sequence_number: int) -> str:
        await self._publisher.publish_events(
            await self._reader.events(aggregate_id, range(sequence_number, sequence_number + 1))
        )
        return "published"

    patch.setattr(Publication, "send", send)
    patch.setattr(Publication, "ensure", ensure)


def with_watermark_overstated(patch: Patch) -> None:
    publish = Committer._publish

    async def hopeful(self: Committer, event: Any, *, watermark: Watermark) -> Watermark:
        await publish(self, event, watermark=watermark)
        return Watermark(watermark.generation, event.sequence_number)

    patch.setattr(Committer, "_publish", hopeful)


def with_acknowledgement_before_sending(patch: Patch) -> None:
    publish = MemoryPublisher.publish_events

    async def fire_and_forget(self: MemoryPublisher, events: Any) -> None:
        with contextlib.suppress(StoreUnavailable):
            await publish(self, events)

    patch.setattr(MemoryPublisher, "publish_events", fire_and_forget)


def without_external_versions(patch: Patch) -> None:
    write = MemoryDocuments._write

    def overwrite(self: MemoryDocuments, document: Any, **more: Any) -> Exception | None:
        for index in self.indices.values():
            index.pop(document.aggregate_id.instance_key, None)
        return write(self, document, **more)

    patch.setattr(MemoryDocuments, "_write", overwrite)


def with_rejections_on_redis_word(patch: Patch) -> None:
    async def believed(_: StreamHeads, _aggregate_id: Any, position: StreamHead) -> StreamHead:
        return replace(position, is_verified=True)

    patch.setattr(StreamHeads, "verified", believed)


def with_head_on_redis_word(patch: Patch) -> None:
    of = StreamHeads.of

    async def believed(self: StreamHeads, aggregate_id: Any, turn: Lease, *, may_be_first: bool) -> StreamHead:
        if turn.known and turn.state is None:
            state = Instance(aggregate_id=str(aggregate_id), sequence_number=turn.head, checksum="0" * 64)
            return StreamHead(state, turn.published, is_verified=False)
        return await of(self, aggregate_id, turn, may_be_first=may_be_first)

    patch.setattr(StreamHeads, "of", believed)


def with_random_event_ids(patch: Patch) -> None:
    def random_id(_command_id: str, _index: int) -> str:
        return str(uuid.uuid4())

    patch.setattr(Command, "event_id", property(lambda self: random_id(self.command_id, 0)))
    patch.setattr(oncelog.domain.instance, "derive_event_id", random_id, raising=False)


def with_each_attempts_own_clock(patch: Patch) -> None:
    persist = Committer._persist

    async def at_another_time(
        self: Committer, command: Command, record: Any, position: StreamHead
    ) -> StoredEvent | None:
        time = f"2026-01-01T12:00:00.{random.randrange(10**6):06d}Z"
        return await persist(self, command, record.model_copy(update={"occurred_at": time}), position)

    patch.setattr(Committer, "_persist", at_another_time)


def without_comparing_contents(patch: Patch) -> None:
    def any_content(command: Command, record: Any) -> CommandResult | None:
        return rejected(command, record.rejection) if record.rejection else None

    patch.setattr(commit, "_refusal", any_content)


def with_tokens_ignored(patch: Patch) -> None:
    patch.setattr(visibility, "read_token", lambda *_, **__: {})


def without_exclusive_turns(patch: Patch) -> None:
    take = MemoryLeases._take

    def always(self: MemoryLeases, key: str, generation: int, holder: str, **more: Any) -> Any:
        self._redis.leases.drop(key)
        self._redis.queues.pop(key, None)
        return take(self, key, generation, holder, **more)

    patch.setattr(MemoryLeases, "_take", always)


def as_it_is(_: Patch) -> None:
    """Nothing is broken."""


@dataclass(frozen=True)
class Version:
    """One version of the system, and the codes of which one must name what is wrong with it; none: it is harmless."""

    name: str
    make: Callable[[Patch], None]
    codes: frozenset[Code] = frozenset()
    play: Callable[[int], Awaitable[Report]] = play


def _version(name: str, make: Callable[[Patch], None], *codes: Code) -> Version:
    return Version(name, make, frozenset(codes))


LATE = (Code.MESSAGE_MISSING, Code.MESSAGE_OUT_OF_ORDER)

VERSIONS = [
    _version("as it is", as_it_is),
    _version("turns are not exclusive (rule R5: for speed, never for safety)", without_exclusive_turns),
    _version("commands leave no records", without_records, Code.EVENT_DOUBLED),
    _version("records are overwritten, duplicates unseen", with_records_overwritten, Code.EVENT_DOUBLED),
    _version("events are put unconditionally", with_unconditional_put, Code.ACKNOWLEDGED_LOST),
    _version("412 is taken for success", with_412_taken_for_success, Code.ANSWER_WRONG),
    _version("an event alone is published, not the range", with_publishing_without_range, *LATE),
    _version("the watermark is raised without acknowledgement", with_watermark_overstated, *LATE),
    _version("the publisher acknowledges before it sends", with_acknowledgement_before_sending, *LATE),
    _version("documents are written without version", without_external_versions, Code.DOCUMENT_STALE),
    _version("rejections are recorded on Redis' word", with_rejections_on_redis_word, Code.REJECTION_STALE),
    _version("the head is taken on Redis' word", with_head_on_redis_word, Code.SEQUENCE_GAP, Code.CHAIN_BROKEN),
    _version("event IDs are random", with_random_event_ids, Code.EVENT_ID_WRONG),
    _version("each attempt uses its own clock", with_each_attempts_own_clock, Code.EVENT_FORGED),
    _version("contents under one ID are not compared", without_comparing_contents, Code.REUSE_ACCEPTED),
    _version("reads ignore their tokens", with_tokens_ignored, Code.READ_STALE),
]


@dataclass(frozen=True)
class Hunt:
    """``schedules``: how many were run, the last of which showed ``report``; ``caught``: whether it named the fault."""

    version: Version
    schedules: int
    report: Report
    caught: bool


def hunt(version: Version, *, schedules_max: int, first_seed: int = 1) -> Hunt:
    """Run schedules until the checker names what is wrong; of a harmless version, until it finds anything at all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lease_queue, "POLL_S", 0)
        patch.setattr(visibility, "POLL_S", 0.005)
        version.make(patch)
        for number in range(schedules_max):
            report = asyncio.run(_bounded(version.play(first_seed + number)))
            found = set(report.counts.get(Severity.VIOLATION, {}))
            if version.codes & found or (not version.codes and found):
                return Hunt(version, number + 1, report, caught=True)
    return Hunt(version, schedules_max, report, caught=False)


async def _bounded(story: Awaitable[Report]) -> Report:
    async with asyncio.timeout(RUN_TIMEOUT_S):
        return await story
