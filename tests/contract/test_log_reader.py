"""The reader of many streams, on a bucket in memory and on the real server."""

import pytest

from oncelog.archive.log_part import LogPart, order_key
from oncelog.archive.log_reader import LogReader
from oncelog.archive.stretch import EventBatch, EventOrigin
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged
from oncelog.ports import UNPUBLISHED, Ports
from tests.contract.chains import chain
from tests.contract.conftest import Opened

WHOLE = LogPart(db_name="shop", class_id="Product")
LENGTHS = {"p1": 3, "p1-": 1, "p1.b": 4, "p10": 7, "日本": 1, "q": 2}


async def _append(ports: Ports, events: list[Event]) -> None:
    for event in events:
        await ports.event_log.append_event(event, published_through=UNPUBLISHED)


async def _logged(opened: Opened) -> dict[str, list[Event]]:
    """Write streams whose keys sort otherwise than their names."""
    streams = {instance_id: chain(length, instance_id) for instance_id, length in LENGTHS.items()}
    for events in streams.values():
        await _append(opened.ports, events)
    return streams


def _in_order(streams: dict[str, list[Event]]) -> list[Event]:
    by_key = sorted(streams.values(), key=lambda events: order_key(events[0].aggregate.instance_key))
    return [event for events in by_key for event in events]


async def _batches(reader: LogReader, part: LogPart = WHOLE, **options: object) -> list[EventBatch]:
    return [batch async for batch in reader.batches(part, **options)]  # type: ignore[arg-type]


async def _events(reader: LogReader, part: LogPart = WHOLE, **options: object) -> list[Event]:
    return [event for batch in await _batches(reader, part, **options) for event in batch.events]


@pytest.mark.parametrize("batch_events", [1, 2, 5, 1000])
async def test_every_event_of_a_class_is_read_in_order(opened: Opened, batch_events: int):
    streams = await _logged(opened)
    await opened.put_object("events/shop/Product2/x/00000000000000000001.json", b"{}")
    batches = await _batches(LogReader(opened.ports), batch_events=batch_events)
    assert [event for batch in batches for event in batch.events] == _in_order(streams)
    assert not any(batch.damages for batch in batches)


async def test_a_reader_continues_after_each_position(opened: Opened):
    expected = _in_order(await _logged(opened))
    reader, read = LogReader(opened.ports), 0
    for batch in await _batches(reader, batch_events=2):
        read += len(batch.events)
        assert await _events(reader, after=batch.position) == expected[read:]


@pytest.mark.parametrize("count", [1, 2, 3, 50])
async def test_parts_hold_every_stream_once(opened: Opened, count: int):
    expected = _in_order(await _logged(opened))
    reader = LogReader(opened.ports)
    parts = await reader.parts("shop", "Product", count=count)
    assert len(parts) <= count
    assert [event for part in parts for event in await _events(reader, part)] == expected
    if count == 3:
        assert max([len(await _events(reader, part)) for part in parts]) <= 11


async def test_one_stream_is_read_by_itself(opened: Opened):
    streams = await _logged(opened)
    for instance_id in LENGTHS:
        aggregate_id = AggregateId.of("shop", "Product", instance_id)
        batches = [batch async for batch in LogReader(opened.ports).stream(aggregate_id)]
        assert [event for batch in batches for event in batch.events] == streams[instance_id]


async def test_a_damaged_stream_does_not_hold_up_others(opened: Opened):
    streams = await _logged(opened)
    forged = chain(7, "p10", other=True)[4]
    await opened.put_object("events/shop/Product/p10/00000000000000000005.json", forged.canonical)
    await opened.put_object("events/shop/Product/p1/00000000000000000001.json", b"{}")
    batches = await _batches(LogReader(opened.ports), batch_events=3)
    damages = [damage for batch in batches for damage in batch.damages]
    assert [(damage.aggregate_id, damage.sequence_number) for damage in damages] == [
        ("shop/Product/p1", 1),
        ("shop/Product/p10", 5),
    ]
    assert all(damage.origin is EventOrigin.SLOTS and isinstance(damage.error, LogDamaged) for damage in damages)
    streams["p1"], streams["p10"] = [], streams["p10"][:4]
    left = {instance_id: events for instance_id, events in streams.items() if events}
    assert [event for batch in batches for event in batch.events] == _in_order(left)


async def test_an_empty_class_has_no_batch(opened: Opened):
    assert await _batches(LogReader(opened.ports)) == []
    assert await LogReader(opened.ports).parts("shop", "Product", count=4) == [WHOLE]
