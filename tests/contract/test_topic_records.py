"""``TopicRecords``, and watermarks that count in their own generation of a topic only."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged
from oncelog.ports import Generations, Lease, LogCheckpoint, StreamProgress, TopicRecord, Watermark
from tests.contract.chains import PLACE, chain, state_at
from tests.contract.conftest import Opened, Redis

TOPIC = "instance_events"
CLASS = AggregateId.of_class("shop", "Product")


async def test_first_record_of_a_generation_binds(opened: Opened):
    records = opened.topic_records
    assert list(await records.topic_history("elsewhere")) == []
    first, other = TopicRecord(1, "id-a", 6), TopicRecord(1, "id-b", 12)
    assert await records.write_topic_record("elsewhere", first) == first
    assert await records.write_topic_record("elsewhere", other) == first
    second = TopicRecord(2, "", 3)
    assert await records.write_topic_record("elsewhere", second) == second
    assert list(await records.topic_history("elsewhere")) == [first, second]


async def test_programs_that_open_a_topic_at_once_agree(opened: Opened):
    records = opened.topic_records
    told = await asyncio.gather(
        *(records.write_topic_record("raced", TopicRecord(1, f"id-{n}", n)) for n in range(1, 9))
    )
    assert len(set(told)) == 1
    assert list(await records.topic_history("raced")) == [told[0]]


@pytest.mark.parametrize("body", [b"", b"{}", b'{"topic_id":"a","partitions":0}', b'{"topic_id":"a","partitions":"6"}'])
async def test_damaged_topic_record_is_named(opened: Opened, body: bytes):
    await opened.put_object("topics/broken/000001.json", body)
    with pytest.raises(LogDamaged, match=r"topics/broken/000001\.json"):
        await opened.topic_records.topic_history("broken")


async def test_watermark_keeps_its_generation_in_s3(opened: Opened):
    log = opened.ports.event_log
    for event, mark in zip(chain(3), (Watermark(1, 0), Watermark(2, 1), Watermark(12, 0)), strict=True):
        assert (await log.append_event(event, published_through=mark)).published_through == mark
        stored = await log.read_event(PLACE, event.sequence_number)
        assert stored is not None
        assert stored.published_through == mark


async def test_watermark_of_another_generation_is_not_known(redis: Redis):
    current = Generations()

    async def generations() -> Generations:
        return current

    leases = redis.leases(generations=generations, lease_ms=60_000)
    state = state_at(chain(3))
    await leases.save_progress(
        [StreamProgress(PLACE, state, Watermark(1, 3)), StreamProgress(CLASS, published=Watermark(1, 2))], ""
    )
    current = Generations(instances=2)
    assert list(await leases.published([PLACE, CLASS])) == [None, Watermark(1, 2)]
    assert list(await leases.heads([PLACE])) == [3]
    (turn,) = await leases.acquire_leases([PLACE], "a")
    assert turn == Lease(head=3, published=Watermark(2, 0), known=False, state=None)


async def test_watermark_is_raised_in_its_own_generation(redis: Redis):
    current = Generations(instances=2)

    async def generations() -> Generations:
        return current

    leases = redis.leases(generations=generations, lease_ms=60_000)
    await leases.save_progress([StreamProgress(PLACE, state_at(chain(3)), Watermark(2, 1), release=True)], "")
    await leases.save_progress(
        [StreamProgress(PLACE, published=Watermark(1, 3))], ""
    )  # from a process that has not noticed
    assert list(await leases.published([PLACE])) == [Watermark(2, 1)]
    (turn,) = await leases.acquire_leases([PLACE], "a")
    assert isinstance(turn, Lease)
    assert (turn.known, turn.head, turn.published) == (True, 3, Watermark(2, 1))
    current = replace(current, instances=1)
    assert list(await leases.published([PLACE])) == [Watermark(1, 3)]


async def test_end_mark_of_another_generation_is_none(opened: Opened):
    marks, through = opened.ports.checkpoints, datetime(2026, 1, 1, tzinfo=UTC)
    await marks.save_checkpoint(through, Generations(instances=2))
    mark = await marks.read_checkpoint()
    assert mark is not None
    assert mark.through == mark.published_in(Generations(instances=2)) == through
    assert mark.published_in(Generations()) is None
    assert mark.published_in(Generations(instances=2, classes=2)) is None


async def test_end_mark_without_generations_is_of_the_first(opened: Opened):
    await opened.put_object("reports/sweep/settled.json", b'{"settled_through": "2026-01-01T00:00:00Z"}')
    assert await opened.ports.checkpoints.read_checkpoint() == LogCheckpoint(
        datetime(2026, 1, 1, tzinfo=UTC), Generations()
    )
