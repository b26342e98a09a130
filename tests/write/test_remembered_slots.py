"""A check reads each slot once, and never believes what it remembers of one that was free."""

from collections.abc import Collection

from oncelog.domain.identifiers import AggregateId
from oncelog.reconcile.group import RememberedSlots
from tests.commands import create, update
from tests.write.sweeper import sweep
from tests.write.world import World

PLACE = AggregateId.parse("shop/Product/p1")


async def test_slot_is_read_once_and_a_free_one_again():
    world = World()
    process = world.process()
    slots = RememberedSlots(process.ports.event_log)
    assert await slots.read_event(PLACE, 1) is None
    await process.commit(create())
    first = await slots.read_event(PLACE, 1)
    world.bucket.requests.clear()
    assert await slots.read_event(PLACE, 1) is first is not None
    assert not world.bucket.requests
    slots.clear()
    assert await slots.read_event(PLACE, 1) == first
    assert world.bucket.requests == {"GetObject": 1}


async def test_remembered_slots_are_bounded_by_bytes():
    world = World()
    process = world.process()
    for command in (create(), update(), update()):
        await process.commit(command)
    first = await process.ports.event_log.read_event(PLACE, 1)
    assert first is not None
    slots = RememberedSlots(process.ports.event_log, bytes_max=2 * len(first.event.canonical) + 10)
    for number in (1, 2, 3, 1):
        await slots.read_event(PLACE, number)
    world.bucket.requests.clear()
    await slots.read_event(PLACE, 1)
    assert not world.bucket.requests, "the last one is kept"
    await slots.read_event(PLACE, 2)
    assert world.bucket.requests == {"GetObject": 1}, "the oldest one is not"


async def test_restore_reads_each_slot_once_and_asks_temporal_once():
    """200 aggregates without Redis, documents and nodes: one group, and as few requests as there can be."""
    world = World()
    process = world.process()
    for number in range(200):
        await process.complete(create(f"p{number}"))
    world.redis.flush()
    world.publisher.messages.clear()
    world.documents.clear()
    world.graph.nodes.clear()
    world.bucket.requests.clear()
    asked: list[int] = []
    among = world.workflows.running_among

    async def counted(command_ids: Collection[str]) -> Collection[str]:
        asked.append(len(command_ids))
        return await among(command_ids)

    world.workflows.running_among = counted  # type: ignore[method-assign]
    tally = await sweep(world)
    assert (tally.published, tally.projected) == (200, 200)
    assert asked == [200]
    records_and_slots_of_commands, slots_of_aggregates = 2 * 200, 200
    assert world.bucket.requests["GetObject"] == records_and_slots_of_commands + slots_of_aggregates
    assert world.bucket.requests["ListObjectsV2"] < 20
    world.check()
    world.check_shown()
