"""``EventLog``: one immutable event per slot."""

import asyncio

import pytest

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.errors import LogDamaged
from oncelog.ports import UNPUBLISHED, StoredEvent, Watermark
from tests.commands import create
from tests.contract.chains import PLACE, chain, event_of
from tests.contract.conftest import Opened

SLOT_1 = f"events/{PLACE}/{1:020d}.json"


async def test_a_free_slot_takes_the_event_and_keeps_what_it_was_told(opened: Opened):
    log = opened.ports.event_log
    first, second = chain(2)
    assert await log.append_event(first, published_through=UNPUBLISHED) == StoredEvent(first, UNPUBLISHED)
    assert await log.append_event(second, published_through=Watermark(1, 1)) == StoredEvent(second, Watermark(1, 1))
    assert await log.read_event(PLACE, 1) == StoredEvent(first, UNPUBLISHED)
    assert await log.read_event(PLACE, 2) == StoredEvent(second, Watermark(1, 1))


async def test_a_free_slot_reads_as_none(opened: Opened):
    assert await opened.ports.event_log.read_event(PLACE, 1) is None
    assert await opened.ports.event_log.last_sequence_number(PLACE) == 0


async def test_a_taken_slot_never_changes(opened: Opened):
    log = opened.ports.event_log
    ours, others = (event_of(Instance(aggregate_id=str(PLACE)), create()) for _ in range(2))
    await log.append_event(ours, published_through=UNPUBLISHED)
    assert await log.append_event(others, published_through=UNPUBLISHED) == StoredEvent(ours, UNPUBLISHED)
    assert await log.append_event(ours, published_through=UNPUBLISHED) == StoredEvent(ours, UNPUBLISHED)
    assert await log.read_event(PLACE, 1) == StoredEvent(ours, UNPUBLISHED)


async def test_of_many_writers_at_once_one_wins_and_all_are_told(opened: Opened):
    events = [event_of(Instance(aggregate_id=str(PLACE)), create()) for _ in range(12)]
    told = await asyncio.gather(
        *(opened.ports.event_log.append_event(event, published_through=UNPUBLISHED) for event in events)
    )
    (existing,) = {stored.event.event_id for stored in told}
    assert existing in {event.event_id for event in events}


async def test_the_head_is_that_of_its_own_log(opened: Opened):
    log = opened.ports.event_log
    for events in (chain(3), chain(5, "p10"), chain(1, "p/1"), chain(2, "p")):
        for event in events:
            await log.append_event(event, published_through=UNPUBLISHED)
    assert await log.last_sequence_number(PLACE) == 3
    assert await log.last_sequence_number(PLACE, after=2) == 3
    assert await log.last_sequence_number(PLACE, after=3) == 3
    assert await log.last_sequence_number(AggregateId.parse("shop/Product/p10")) == 5
    assert await log.last_sequence_number(AggregateId.parse("shop/Product/p%2F1")) == 1
    assert await log.last_sequence_number(AggregateId.parse("shop/Product/p")) == 2


@pytest.mark.parametrize("instance_id", ["ö", "a b", "..", "%2F", "x" * 200, "日本"])
async def test_every_name_has_slots_of_its_own(opened: Opened, instance_id: str):
    (event,) = chain(1, instance_id)
    await opened.ports.event_log.append_event(event, published_through=UNPUBLISHED)
    assert await opened.ports.event_log.read_event(event.aggregate, 1) == StoredEvent(event, UNPUBLISHED)
    assert await opened.ports.event_log.last_sequence_number(event.aggregate) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda _body: b"",
        lambda body: body[:-1],
        lambda body: body.replace(b'"n":0', b'"n":1'),
        lambda _body: b"{}",
        lambda _body: b"[" * 100_000,
    ],
    ids=["empty", "cut off", "altered", "another object", "deep"],
)
async def test_damage_is_named_and_never_returned(opened: Opened, change):
    (event,) = chain(1)
    await opened.put_object(SLOT_1, change(event.canonical))
    with pytest.raises(LogDamaged, match="shop/Product/p1 1"):
        await opened.ports.event_log.read_event(PLACE, 1)
    with pytest.raises(LogDamaged, match="shop/Product/p1 1"):
        await opened.ports.event_log.append_event(event, published_through=UNPUBLISHED)


async def test_an_event_in_a_slot_that_is_not_its_own_is_damage(opened: Opened):
    (event,) = chain(1, "p2")
    await opened.put_object(SLOT_1, event.canonical)
    with pytest.raises(LogDamaged, match="shop/Product/p2 1"):
        await opened.ports.event_log.read_event(PLACE, 1)


async def test_a_lost_watermark_counts_as_none_published(opened: Opened):
    (event,) = chain(1)
    await opened.put_object(SLOT_1, event.canonical)
    assert await opened.ports.event_log.read_event(PLACE, 1) == StoredEvent(event, UNPUBLISHED)
