"""A topic of events that was lost and made anew is empty: no watermark of the one before it counts."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from oncelog import metrics
from oncelog.domain.events import Event, read_event
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import StoreUnavailable
from oncelog.ports import Generations, StreamProgress, Watermark
from oncelog.replay.trace import Trace
from tests.bulks import bulk_update, item
from tests.commands import create, update
from tests.write.bulks import run_bulk
from tests.write.sweeper import ANY_AGE, LOOK_ONLY, sweep
from tests.write.world import World

PLACE = AggregateId.parse("shop/Product/p1")


@pytest.fixture
def world() -> World:
    return World()


def numbers_of(world: World, aggregate_id: AggregateId = PLACE) -> list[int]:
    events = [read_event(message.value, where="message") for message in world.publisher.messages]
    return [event.sequence_number for event in events if event.aggregate == aggregate_id]


async def test_next_command_publishes_the_whole_log(world: World):
    process = world.process()
    for command in (create(), update(), update()):
        await process.run(command)
    world.publisher.make_anew()
    await process.run(update())
    assert numbers_of(world) == [1, 2, 3, 4]
    world.check()


async def test_new_watermark_names_its_generation_in_s3(world: World):
    process = world.process()
    await process.run(create())
    world.publisher.make_anew()
    for _ in range(2):
        await process.run(update())
    stored = await process.ports.event_log.read_event(PLACE, 3)
    assert stored is not None
    assert stored.published_through == Watermark(2, 2)
    world.redis.flush()
    await world.process().run(update())
    assert numbers_of(world) == [1, 2, 3, 3, 4]  # 3 was not known to be published when 3 was written


async def test_watermark_in_s3_of_a_lost_topic_counts_as_none(world: World):
    process = world.process()
    for command in (create(), update(), update()):
        await process.run(command)
    world.redis.flush()
    world.publisher.make_anew()
    await world.process().pipeline.deliverer.publish(PLACE, 3, Trace())
    assert numbers_of(world) == [1, 2, 3]


async def test_long_log_is_left_to_the_publish_step(world: World):
    process = world.process()
    for command in (create(), *(update() for _ in range(24))):
        await process.run(command)
    world.publisher.make_anew()
    result = await process.commit(update())
    assert numbers_of(world) == []
    assert result.sequence_number is not None
    await process.pipeline.deliverer.publish(PLACE, result.sequence_number, Trace())
    assert numbers_of(world) == list(range(1, 27))


async def test_events_sent_again_are_counted(world: World):
    before = metrics.REGISTRY.get_sample_value("oncelog_events_resent_total")
    assert before is not None
    process = world.process()
    for command in (create(), *(update() for _ in range(24))):
        await process.run(command)
    assert metrics.REGISTRY.get_sample_value("oncelog_events_resent_total") == before
    world.publisher.make_anew()
    await process.pipeline.deliverer.publish(PLACE, 25, Trace())
    assert metrics.REGISTRY.get_sample_value("oncelog_events_resent_total") == before + 25


async def test_watermark_is_not_raised_across_generations(world: World, monkeypatch: pytest.MonkeyPatch):
    process = world.process()
    await process.commit(create(), publish=False)
    publish = world.publisher.publish_events

    async def lost_after(events: Sequence[Event]) -> None:
        await publish(events)
        world.publisher.make_anew()

    monkeypatch.setattr(world.publisher, "publish_events", lost_after)
    with pytest.raises(StoreUnavailable, match="its topic was made anew: generation 2, no longer 1"):
        await process.pipeline.deliverer.publish(PLACE, 1, Trace())
    assert (await process.ports.leases.published([PLACE]))[0] != Watermark(2, 1)
    monkeypatch.setattr(world.publisher, "publish_events", publish)
    await process.pipeline.deliverer.publish(PLACE, 1, Trace())
    assert numbers_of(world) == [1]


async def test_command_whose_topic_is_lost_is_published_later(world: World, monkeypatch: pytest.MonkeyPatch):
    process = world.process()
    publish = world.publisher.publish_events

    async def lost_after(events: Sequence[Event]) -> None:
        await publish(events)
        world.publisher.make_anew()

    monkeypatch.setattr(world.publisher, "publish_events", lost_after)
    committed = await process.pipeline.committer.commit(create(), occurred_at="2026-01-01T12:00:00Z", trace=Trace())
    assert not committed.published
    monkeypatch.setattr(world.publisher, "publish_events", publish)
    await process.run(update())
    assert numbers_of(world) == [1, 2]


async def test_bulk_command_publishes_the_whole_log(world: World):
    for command in (create(), update()):
        await world.process().run(command)
    world.publisher.make_anew()
    await run_bulk(world, bulk_update(item("p1", {"n": 1}), item("p1", {"n": 2})))
    assert numbers_of(world) == [1, 2, 3, 4]


async def test_check_publishes_the_log_once_more(world: World):
    process = world.process()
    for instance in ("p1", "p2"):
        for command in (create(instance), update(instance)):
            await process.complete(command)
    world.publisher.make_anew()
    settled = replace(ANY_AGE, published_through=datetime.now(UTC))
    assert (await sweep(world, replace(settled, repair=False))).found == 2
    assert (await sweep(world, settled)).published == 2
    assert numbers_of(world) == numbers_of(world, AggregateId.parse("shop/Product/p2")) == [1, 2]
    assert (await sweep(world, LOOK_ONLY)).found == 0


async def test_end_mark_of_the_present_topic_saves_work(world: World):
    process = world.process()
    await process.complete(create())
    world.publisher.make_anew()
    await sweep(world)
    world.redis.flush()
    settled = replace(ANY_AGE, published_through=datetime.now(UTC))
    assert (await sweep(world, replace(settled, generations=Generations(2, 2)))).published == 0
    assert (await sweep(world, settled)).published == 1


async def test_stale_watermark_of_a_process_does_no_harm(world: World):
    """A process that has not noticed raises the watermark of the topic that is lost."""
    process = world.process()
    for command in (create(), update()):
        await process.run(command)
    world.publisher.make_anew()
    await process.ports.leases.save_progress([StreamProgress(PLACE, published=Watermark(1, 2))], "")
    await process.pipeline.deliverer.publish(PLACE, 2, Trace())
    assert numbers_of(world) == [1, 2]
