"""Subscriptions: each aggregate's events once and in order, whatever the stream did, in memory and on real servers."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from oncelog.composition.subscriptions import assemble_subscription
from oncelog.domain.events import Event, EventType
from oncelog.domain.instance import Instance, decide, evolve
from oncelog.errors import InputInvalid, LogDamaged
from oncelog.ports import EventFeed, Ports, Watermark
from oncelog.read_models.scope import EventScope
from oncelog.settings import Settings
from oncelog.stores.kafka.feed import KafkaFeed
from oncelog.subscriptions.checkpoint import read_checkpoint
from oncelog.subscriptions.subscription import Subscription
from oncelog.testing.memory.kafka import MemoryFeed, MemoryPublisher
from tests.clients import patient_stores
from tests.commands import create, update
from tests.contract.chains import chain
from tests.contract.conftest import BOTH, IN_MEMORY
from tests.contract.topics import drop_topic, until_answered
from tests.write.world import World

UNTIL_S = 60.0


@dataclass(frozen=True)
class Installed:
    """One installation's log and stream. ``make_anew``: lose the topic, and make it anew."""

    ports: Ports
    feed: Callable[[], EventFeed]
    make_anew: Callable[[], Awaitable[None]]

    async def write(self, events: Sequence[Event]) -> None:
        """Put events into the log only."""
        for event in events:
            await self.ports.event_log.append_event(event, published_through=Watermark(1, event.sequence_number - 1))

    async def send(self, *events: Event) -> None:
        """Put events into the stream only, in this order."""
        await self.ports.publisher.publish_events(events)

    async def fill(self, names: range, length: int = 3) -> list[Event]:
        """Put whole streams into log and stream."""
        chains = [chain(length, f"p{number}") for number in names]
        await asyncio.gather(*map(self.write, chains))
        for events in chains:
            await self.send(*events)
        return [event for events in chains for event in events]

    @asynccontextmanager
    async def subscribed(
        self, *, classes: Sequence[str] = (), event_types: Sequence[str] = (), **options: Any
    ) -> AsyncIterator[Subscription]:
        async with aclosing(
            assemble_subscription(self.ports, self.feed(), "crm", scope=EventScope(classes, event_types), **options)
        ) as subscription:
            yield subscription


@pytest.fixture(params=BOTH)
async def installed(request: pytest.FixtureRequest) -> AsyncIterator[Installed]:
    if request.param == IN_MEMORY:
        world = World()

        async def make_anew() -> None:
            world.publisher.make_anew()

        yield Installed(world.ports(), lambda: MemoryFeed(world.publisher), make_anew)
        return
    settings: Settings = request.getfixturevalue("settings")
    async with patient_stores(settings) as stores:

        async def make_topic_anew() -> None:
            await drop_topic(settings)
            await until_answered(stores.kafka.prepare)
            await until_answered(stores.kafka.open)

        yield Installed(stores.ports, lambda: KafkaFeed(settings), make_topic_anew)


async def take(subscription: Subscription, number: int) -> list[Event]:
    async with asyncio.timeout(UNTIL_S):
        return [await anext(subscription) for _ in range(number)]


def assert_each_once(taken: Sequence[Event], expected: Sequence[Event]) -> None:
    """Hold each aggregate's events to be those expected, in their order, each once."""

    def by_aggregate(events: Sequence[Event]) -> dict[str, list[int]]:
        numbers: dict[str, list[int]] = {}
        for event in events:
            numbers.setdefault(event.aggregate_id, []).append(event.sequence_number)
        return numbers

    assert by_aggregate(taken) == by_aggregate(sorted(expected, key=lambda event: event.sequence_number))


async def test_log_comes_first_and_the_stream_after(installed: Installed):
    before = await installed.fill(range(5))
    async with installed.subscribed() as subscription:
        taken = await take(subscription, len(before))
        after = await installed.fill(range(5, 8))
        taken += await take(subscription, len(after))
    assert_each_once(taken, before + after)


async def test_duplicates_are_dropped_and_gaps_healed(installed: Installed):
    async with installed.subscribed(start="beginning") as subscription:
        first = await installed.fill(range(1))
        taken = await take(subscription, len(first))
        events, end = chain(6, "gap"), chain(1, "end")
        await installed.write([*events, *end])
        await installed.send(*first, events[0], events[0], events[4], events[1], events[4], events[5], *end)
        taken += await take(subscription, len(events) + 1)
    assert_each_once(taken, [*first, *events, *end])


async def test_checkpoint_after_any_event_resumes_there(installed: Installed):
    expected = await installed.fill(range(3))
    taken: list[Event] = []
    checkpoint = "beginning"
    for number in range(6):
        async with installed.subscribed(start=checkpoint) as subscription:
            taken += await take(subscription, 2)
            checkpoint = subscription.checkpoint
        if number == 3:
            expected += await installed.fill(range(3, 4))
    assert_each_once(taken, expected)


@pytest.mark.parametrize("while_away", [False, True])
async def test_a_lost_topic_brings_no_event_twice(installed: Installed, *, while_away: bool):
    expected = await installed.fill(range(3))
    async with installed.subscribed() as subscription:
        taken = await take(subscription, len(expected))
        checkpoint = subscription.checkpoint
        if not while_away:
            taken += await _after_loss(installed, subscription, expected)
    if while_away:
        await installed.make_anew()
        async with installed.subscribed(start=checkpoint) as subscription:
            taken += await _after_loss(installed, subscription, expected)
    assert_each_once(taken, expected)


async def _after_loss(installed: Installed, subscription: Subscription, expected: list[Event]) -> list[Event]:
    await installed.make_anew()
    new = chain(5, "p0")[3:]
    await installed.write(new)
    await installed.send(new[1])  # by a worker that has not noticed yet
    await installed.send(*expected, *new)
    expected += new
    return await take(subscription, len(new))


async def test_now_leaves_out_earlier_events(installed: Installed):
    early = await installed.fill(range(2))
    late = later_chain(3)
    async with installed.subscribed(start="now") as subscription:
        taking = asyncio.create_task(take(subscription, 2))
        async with asyncio.timeout(UNTIL_S):
            while (
                read_checkpoint(subscription.checkpoint, name="crm", installation=installed.ports.installation).topics
                is None
            ):
                await asyncio.sleep(0.01)
        await installed.write(late[:2])
        await installed.send(*early[:3], *late[:2])
        taken = await taking
        checkpoint = subscription.checkpoint
    await installed.write(late[2:])
    await installed.send(*late)
    async with installed.subscribed(start=checkpoint) as subscription:
        taken += await take(subscription, 1)
    assert_each_once(taken, late)


def later_chain(length: int) -> list[Event]:
    """Return the events of an instance whose commands come after every test's beginning."""
    state, events = Instance(aggregate_id="shop/Product/late"), list[Event]()
    for number in range(length):
        command = (update if number else create)("late", {"n": number})
        event = decide(state, command, occurred_at="2100-01-01T00:00:00.000000Z")
        assert isinstance(event, Event)
        events.append(event)
        state = evolve(state, event)
    return events


async def test_scope_has_the_events_of_its_types_only(installed: Installed):
    expected = await installed.fill(range(3))
    updates = [event for event in expected if event.event_type == EventType.INSTANCE_UPDATED]
    async with installed.subscribed(classes=["shop/Product"], event_types=["INSTANCE_UPDATED"]) as subscription:
        assert_each_once(await take(subscription, len(updates)), updates)


async def test_callers_positions_bound_memory(installed: Installed):
    """Its own store answers for what is no longer in memory, and the checkpoint has no positions."""
    expected = await installed.fill(range(6))
    stored: dict[str, int] = {}

    async def positions(aggregate_ids: Sequence[str]) -> dict[str, int]:
        return {each: stored[each] for each in aggregate_ids if each in stored}

    async with installed.subscribed(positions=positions, aggregates_max=2) as subscription:
        taken: list[Event] = []
        for _ in expected:
            taken += await take(subscription, 1)
            stored[taken[-1].aggregate_id] = taken[-1].sequence_number
        new = await installed.fill(range(6, 7))
        await installed.send(*expected, *new)
        for _ in new:
            taken += await take(subscription, 1)
        assert len(subscription.checkpoint) < 1000
    assert_each_once(taken, expected + new)


async def test_one_aggregate_too_many_is_refused(installed: Installed):
    await installed.fill(range(3))
    async with installed.subscribed(aggregates_max=2) as subscription:
        with pytest.raises(InputInvalid, match=r"expected at most 2 aggregates.*positions="):
            await take(subscription, 9)


async def test_damaged_event_stops_the_subscription(installed: Installed):
    events = chain(3)
    await installed.write(events[:1])
    async with installed.subscribed() as subscription:
        taken = await take(subscription, 1)
        await installed.send(events[2])
        with pytest.raises(LogDamaged, match="slot 2"):
            await take(subscription, 1)
    assert_each_once(taken, events[:1])


@pytest.mark.parametrize("start", ["", "latest", "1.abc.0123456789abcdef"])
def test_unknown_start_is_refused(start: str):
    with pytest.raises(InputInvalid, match="subscription crm: checkpoint"):
        assemble_subscription(World().ports(), MemoryFeed(MemoryPublisher()), "crm", scope=EventScope(), start=start)


def test_checkpoint_of_another_subscription_is_refused():
    ports, feed = World().ports(), MemoryFeed(MemoryPublisher())
    checkpoint = assemble_subscription(ports, feed, "erp", scope=EventScope()).checkpoint
    with pytest.raises(InputInvalid, match="found one of erp"):
        assemble_subscription(ports, feed, "crm", scope=EventScope(), start=checkpoint)


def test_class_without_database_is_refused():
    with pytest.raises(InputInvalid, match="shop/Order"):
        EventScope(["Order"])
