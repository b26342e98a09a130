"""An index that refuses writes holds up its own aggregates only, and they go on by themselves."""

import asyncio

import pytest

from oncelog.domain.events import Event
from oncelog.domain.instance import Instance
from oncelog.errors import UnusableReason
from oncelog.read_models import parking
from oncelog.read_models.projector import loop
from oncelog.stores.s3 import StoredObject
from tests.commands import create, update
from tests.contract.chains import chain, event_of, state_at
from tests.projector.world import UNTIL_S, Stream


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Stream:
    monkeypatch.setattr(loop, "REFRESH_S", 0.02)
    return Stream()


def _orders(count: int) -> list[Event]:
    commands = [create(f"o{number}", class_id="Order") for number in range(count)]
    return [event_of(Instance(aggregate_id=str(command.aggregate_id)), command) for command in commands]


async def _projected(stream: Stream) -> None:
    async with asyncio.timeout(UNTIL_S):
        while (document := stream.document("p1")) is None or document.sequence_number < 3:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("crashed", [False, True])
async def test_an_unusable_index_holds_up_only_its_own(stream: Stream, crashed: bool):
    products, others = chain(3, "p1"), [chain(2, f"q{number}") for number in range(5)]
    stream.documents.unusable["shop.product"] = UnusableReason.WRITE_BLOCKED
    orders = _orders(5)
    await stream.told(products)
    await stream.told(orders)
    first = stream.start()
    await stream.caught_up()
    assert len(stream.documents.indices["shop.order"]) == 5
    assert stream.document("p1") is None
    if crashed:
        await first.crash()
        first = stream.start()
    for events in others:
        await stream.told(events)
    await stream.caught_up()
    stream.documents.unusable.clear()
    await _projected(stream)
    async with asyncio.timeout(UNTIL_S):
        while first.parking.set_aside():
            await asyncio.sleep(0.01)
    await first.stop()
    stream.check_all_shown()


async def test_a_damaged_log_holds_up_no_other_that_was_set_aside(stream: Stream):
    stream.documents.unusable["shop.product"] = UnusableReason.WRITE_BLOCKED
    damaged, whole = chain(2, "a1"), chain(3, "p1")
    await stream.told(damaged)
    await stream.told(whole)
    running = stream.start()
    await stream.caught_up()
    async with asyncio.timeout(UNTIL_S):
        while len(running.parking.set_aside()) < 2:
            await asyncio.sleep(0.01)
    key = f"events/shop/Product/a1/{2:020d}.json"
    stored = stream.bucket.objects[key]
    stream.bucket.objects[key] = StoredObject(stored.body.replace(b"INSTANCE", b"INSTANCF", 1), stored.metadata)
    stream.documents.unusable.clear()
    await _projected(stream)
    async with asyncio.timeout(UNTIL_S):
        while running.parking.set_aside():
            await asyncio.sleep(0.01)
    await running.stop()
    (dead_letter,) = (each for each in running.parking._last.values() if each.waits)
    assert (str(dead_letter.aggregate), dead_letter.code) == ("shop/Product/a1", "LogDamaged")


async def test_a_class_set_aside_costs_its_batches_one_try(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(loop, "REFRESH_S", 1_000)  # nothing is tried again meanwhile
    stream.documents.unusable["shop.product"] = UnusableReason.SHARDS_UNASSIGNED
    async with stream.projector() as running:
        await stream.told(chain(1, "first"))
        await stream.caught_up()
        labels = {"store": "Elasticsearch in memory", "container": "index shop.product", "reason": "shards_unassigned"}

        def refusals() -> float:
            return running.metrics.registry.get_sample_value("oncelog_container_unusable_total", labels) or 0.0

        first = refusals()
        assert first > 1
        for number in range(5):
            await stream.told(chain(1, f"later{number}"))
            await stream.caught_up()
        assert refusals() == first + 5


async def test_memory_of_waiting_aggregates_is_bounded(stream: Stream, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parking, "LETTERS_MAX", 4)
    stream.documents.unusable["shop.product"] = UnusableReason.WRITE_BLOCKED
    products, orders = [chain(2, f"p{number}") for number in range(20)], _orders(5)
    for events in products:
        await stream.told(events)
    running = stream.start()
    await stream.caught_up()
    assert len(running.parking._last) == 4
    assert running.parking.may_wait(products[-1][0].aggregate)
    await running.crash()
    running = stream.start()  # learns of all of them from S3
    await stream.told([event_of(state_at(products[3]), update("p3"))])
    await stream.told(orders)
    await stream.caught_up()
    assert len(stream.documents.indices["shop.order"]) == 5
    assert len(running.parking._last) == 4
    stream.documents.unusable.clear()
    async with asyncio.timeout(UNTIL_S):
        while len(stream.documents.indices.get("shop.product", {})) < 20 or running.parking._overflowing:
            await asyncio.sleep(0.01)
    await running.stop()
    stream.check_all_shown()
    assert len(running.parking._last) <= 4


async def test_an_unreadable_dead_letter_hides_no_other(stream: Stream):
    stream.documents.unusable["shop.product"] = UnusableReason.WRITE_BLOCKED
    await stream.told(chain(1, "p1"))
    stream.bucket.objects["dead-letters/documents/shop/Order/a/000001.json"] = StoredObject(b"{")
    running = stream.start()
    await stream.caught_up()
    stream.documents.unusable.clear()
    async with asyncio.timeout(UNTIL_S):
        while stream.document("p1") is None:
            await asyncio.sleep(0.01)
    await running.stop()
