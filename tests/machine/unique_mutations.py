"""Mutations: the code without one of the rules of unique values (docs/protocol.md, V1 to V6).

Each has the name of its rule in ``tests/model``, and is a change that a careless hand might make.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from oncelog.bulk.chunk import ChunkCommitter
from oncelog.bulk.chunk_attempt import ChunkAttempt
from oncelog.domain.identifiers import derive_event_id
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.records import AnyRecord, CommandRecord
from oncelog.domain.results import Rejection
from oncelog.domain.unique.entry import EndedBy, UniqueEntry, ValueChain
from oncelog.ports import StoredEvent
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.stores.s3.bucket import StoredObject
from oncelog.stores.s3.command_records import S3CommandRecords
from oncelog.stores.s3.unique_entries import S3UniqueEntries
from oncelog.testing.memory.s3 import MemoryBucket
from oncelog.write.commit import Committer
from oncelog.write.record_decision import RecordDecision, RecordDecisions
from oncelog.write.stream_head import StreamHead
from oncelog.write.unique.chains import ChainEnd, ValueChains
from oncelog.write.unique.claims import Claims, UniqueClaims
from oncelog.write.unique.helper import Helper
from tests.machine.mutations import Mutation

#: The mutation and the commands that show it, by name of the rule.
MUTATIONS: dict[str, tuple[Mutation, tuple[str, ...]]] = {}

TWO_CREATE = ("1 create p1 mail=v", "1 create p2 mail=v")


def shown_by(*orders: str) -> Callable[[Mutation], Mutation]:
    """Note a mutation under its rule with the orders of a contest (``UniqueContest.orders``) that shows it."""

    def note(mutate: Mutation) -> Mutation:
        MUTATIONS[mutate.__name__] = (mutate, orders)
        return mutate

    return note


@shown_by(*TWO_CREATE)
def record(patch: pytest.MonkeyPatch) -> None:
    """V1: entries go before the record that names them."""
    real = S3CommandRecords.write_record

    async def write(self: S3CommandRecords, record: AnyRecord) -> AnyRecord:
        for entry in record.entries if isinstance(record, CommandRecord) else ():
            await S3UniqueEntries(self._bucket).write_entry(entry)
        return await real(self, record)

    patch.setattr(S3CommandRecords, "write_record", write)


@shown_by("1 create p1 mail=v", "2 create p2 mail=v", "1 delete p1")
def named(patch: pytest.MonkeyPatch) -> None:
    """V1: an entry goes where the chain ends by now, if that is over, and not only into the place its record names."""

    async def write(self: UniqueClaims, entries: Sequence[UniqueEntry]) -> bool:
        for entry in entries:
            wanted = entry
            while await self._entries.write_entry(wanted) != wanted:
                end = await self._chains.end(entry.chain, last_place=None)
                if end.holder is not None:
                    return False
                wanted = entry.model_copy(update={"n": end.n})
        return True

    patch.setattr(UniqueClaims, "write", write)


@shown_by(*TWO_CREATE)
def look(patch: pytest.MonkeyPatch) -> None:
    """V2: the place after the last entry is named, whatever that entry has come to."""

    async def end(self: ValueChains, chain: ValueChain, *, last_place: int | None) -> ChainEnd:
        return ChainEnd(n=(await self._entries.last_place(chain) if last_place is None else last_place) + 1)

    patch.setattr(ValueChains, "end", end)


@shown_by(*TWO_CREATE)
def pending(patch: pytest.MonkeyPatch) -> None:
    """V2: an entry whose slot is empty counts as over."""
    real = ValueChains._judge

    async def judge(self: ValueChains, entry: UniqueEntry) -> ChainEnd | None:
        over = ChainEnd(n=entry.n + 1, ended_by=EndedBy(key=entry.key, checksum=entry.checksum))
        return await real(self, entry) or over

    patch.setattr(ValueChains, "_judge", judge)


@shown_by("1 create p1 mail=v plate=w", "1 create p2 plate=w", "1 create p3 mail=v")
def broken(patch: pytest.MonkeyPatch) -> None:
    """V2: an entry stays pending though another place of its event is another's."""

    async def nothing(_self: ValueChains, _entry: UniqueEntry) -> None:
        return None

    patch.setattr(ValueChains, "_broken", nothing)


@shown_by(*TWO_CREATE)
def claim(patch: pytest.MonkeyPatch) -> None:
    """V3: the event goes before its entries."""

    async def persist(self: Committer, command: Any, record: AnyRecord, head: StreamHead) -> StoredEvent | None:
        stored = await self._event_writer.write(command, record, state=head.state, published=head.published)
        own = isinstance(record, CommandRecord) and await self._claims.write(record.entries)
        return stored if own else None

    patch.setattr(Committer, "_persist", persist)


@shown_by(*TWO_CREATE)
def conditional(patch: pytest.MonkeyPatch) -> None:
    """V3: an entry is written over another one."""
    real = MemoryBucket.put_if_absent

    async def put(self: MemoryBucket, key: str, body: bytes, *, metadata: Any = None) -> StoredObject | None:
        if not key.startswith("unique/"):
            return await real(self, key, body, metadata=metadata)
        await self.put(key, body)
        return None

    patch.setattr(MemoryBucket, "put_if_absent", put)


@shown_by(
    "0 create p1",
    "0 create p2 mail=v",
    "0 delete p2",
    "forget chains",
    "2 update p1 mail=v; update p1 mail=w",
)
def both(patch: pytest.MonkeyPatch) -> None:
    """V3: a bulk's item counts as applied once its slot has its event, whichever entries have its places."""
    real = ChunkCommitter._claim

    async def claim(self: ChunkCommitter, entries: list[UniqueEntry], attempt: ChunkAttempt) -> bool:
        for entry in entries[:1]:
            stored = await self._log.read_event(entry.aggregate, entry.slot)
            if stored and stored.event.event_id == derive_event_id(entry.command_id, entry.item or 0):
                attempt.claimed.update({(entry.key, entry.item): True for entry in entries})
                return True
        return await real(self, entries, attempt)

    patch.setattr(ChunkCommitter, "_claim", claim)


@shown_by("0 create p1", "1 update p1 mail=v; update p1 mail=w", "1 update p1", "1 create p2 mail=w")
def in_turn(patch: pytest.MonkeyPatch) -> None:
    """V3: the entries of all items go first, whatever the slots before hold."""
    real = ChunkCommitter._persist

    async def persist(self: ChunkCommitter, record: Any, bound: Any, attempt: ChunkAttempt, written: Any) -> None:
        for binding in bound.bindings:
            await self._claims.write(bound.entries_of(binding))
        await real(self, record, bound, attempt, written)

    patch.setattr(ChunkCommitter, "_persist", persist)


@shown_by(*TWO_CREATE)
def helps(patch: pytest.MonkeyPatch) -> None:
    """V4: a command that needs a value waits for the command that has it pending."""

    async def finish(_self: Helper, _entry: UniqueEntry) -> None:
        return None

    patch.setattr(Helper, "finish", finish)


@shown_by("0 create p1", "0 create p2 mail=v", "forget shop/Product/p1", "1 create p1 mail=v")
def seen(patch: pytest.MonkeyPatch) -> None:
    """V5: a value is refused on the word of Redis about where the command's own aggregate ends."""
    _refuse_at_once(patch)


def _refuse_at_once(patch: pytest.MonkeyPatch) -> None:
    real = RecordDecisions.of

    async def of(
        self: RecordDecisions, command: Any, head: StreamHead, *, occurred_at: str, hopeful: bool
    ) -> RecordDecision:
        class_schema, decision = await self._decide(command, head, occurred_at=occurred_at)
        if class_schema is not None and not isinstance(decision, Rejection):
            claims = await self._claims.of(head.state, evolve(head.state, decision), class_schema, hopeful=hopeful)
            if claims.refusal is not None:
                return RecordDecision(head, class_schema, claims.refusal)
        return await real(self, command, head, occurred_at=occurred_at, hopeful=hopeful)

    patch.setattr(RecordDecisions, "of", of)


@shown_by("0 create p1 mail=v", "forget shop/_class/Product", "1 update p1 mail=w")
def back(patch: pytest.MonkeyPatch) -> None:
    """V6: the definition that a process knows is taken, though the aggregate is under a newer one already."""
    real = ClassSchemas.newest

    async def newest(self: ClassSchemas, aggregate_id: Any, *, at_least: int = 0) -> Any:
        del at_least
        return await real(self, aggregate_id)

    patch.setattr(ClassSchemas, "newest", newest)


@shown_by("1 create p1 mail=v plate=v", "1 create p2 mail=v plate=v")
def order(patch: pytest.MonkeyPatch) -> None:
    """V3: some claim their values the other way round."""
    real = UniqueClaims.of

    async def of(self: UniqueClaims, before: Instance, after: Instance, class_schema: Any, *, hopeful: bool) -> Claims:
        claims = await real(self, before, after, class_schema, hopeful=hopeful)
        return replace(claims, places=claims.places[::-1]) if before.aggregate_id.endswith("p2") else claims

    patch.setattr(UniqueClaims, "of", of)
