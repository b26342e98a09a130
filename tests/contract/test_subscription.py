"""``EventSubscription``: every message at least once, each partition in order, divided among a group's members."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from oncelog.domain.events import Event
from oncelog.ports import Delivery, EventSubscription
from oncelog.stores.kafka.progress import KafkaProgress
from oncelog.stores.kafka.publisher import KafkaPublisher
from oncelog.stores.kafka.subscription import KafkaSubscription, projector_group
from oncelog.testing.memory.kafka import MemoryGroup, MemoryProgress, MemoryPublisher, MemorySubscription
from oncelog.verification.reading import Projectors
from tests.contract.chains import chain
from tests.contract.conftest import BOTH, IN_MEMORY
from tests.contract.topics import drop_topic, records_in_memory

UNTIL_S = 60.0
READ_MODEL = "documents"


@dataclass(frozen=True)
class Topic:
    """One stream: its sender, its renewal, any number of members of one group, and how far they are."""

    send: Callable[[list[Event]], Awaitable[None]]
    make_anew: Callable[[], Awaitable[None]]
    member: Callable[[], EventSubscription]
    progress: Projectors


@pytest.fixture(params=BOTH)
async def topic(request: pytest.FixtureRequest) -> AsyncIterator[Topic]:
    if request.param == IN_MEMORY:
        publisher = MemoryPublisher(partitions=6)
        group = MemoryGroup(publisher)

        async def make_anew() -> None:
            publisher.make_anew()

        progress = MemoryProgress(publisher, {READ_MODEL: group})
        yield Topic(publisher.publish_events, make_anew, lambda: MemorySubscription(group), progress)
        return
    settings = request.getfixturevalue("settings")
    kafka = KafkaPublisher(settings, records_in_memory())
    await kafka.prepare()

    async def make_topic_anew() -> None:
        await drop_topic(settings)
        await kafka.prepare()

    def member() -> EventSubscription:
        return KafkaSubscription(settings, group=projector_group(READ_MODEL))

    async with kafka:
        yield Topic(kafka.publish_events, make_topic_anew, member, KafkaProgress(settings))


async def nothing() -> None:
    """Nothing is under way that would have to land."""


class Members:
    """Members of the group, each stopped at the end of the test."""

    def __init__(self, topic: Topic, stack: AsyncExitStack) -> None:
        self._topic = topic
        self._stack = stack

    async def join(self, giving_up: Callable[[], Awaitable[None]] = nothing) -> EventSubscription:
        member = self._topic.member()
        self._stack.push_async_callback(member.stop)
        await member.start(giving_up)
        return member


@pytest.fixture
async def members(topic: Topic) -> AsyncIterator[Members]:
    async with AsyncExitStack() as stack:
        yield Members(topic, stack)


async def take(member: EventSubscription, number: int) -> list[Delivery]:
    found: list[Delivery] = []
    async with asyncio.timeout(UNTIL_S):
        while len(found) < number:
            found += await member.next_batch(messages_max=7, wait_s=0.2)
    return found


def offsets_of(found: list[Delivery]) -> dict[int, int]:
    return {one.partition: one.offset + 1 for one in found}


async def send(topic: Topic, names: range, length: int = 3) -> list[list[Event]]:
    chains = [chain(length, f"p{number}") for number in names]
    await asyncio.gather(*map(topic.send, chains))
    return chains


def in_order(found: list[Delivery], chains: list[list[Event]]) -> bool:
    values = {events[0].aggregate_id.encode(): [event.canonical for event in events] for events in chains}
    return {key: [one.value for one in found if one.key == key] for key in values} == values


async def test_a_member_alone_gets_all_of_it_each_aggregate_in_order(topic: Topic, members: Members):
    chains = await send(topic, range(20))
    member = await members.join()
    before_ms = time.time() * 1000 - 60_000
    found = await take(member, 60)
    assert in_order(found, chains)
    assert all(before_ms < one.sent_at_ms < time.time() * 1000 + 60_000 for one in found)
    assert dict(found[0].headers)["sequence_number"].isdigit()
    assert sum(member.lag().values()) == 0
    assert await member.next_batch(messages_max=7, wait_s=0.05) == []


async def test_subscription_resumes_from_the_committed_offset(topic: Topic, members: Members):
    first = await send(topic, range(10))
    member = await members.join()
    found = await take(member, 30)
    await member.commit_offsets(offsets_of(found))
    second = await send(topic, range(10, 20))
    assert in_order(await take(member, 30), second)  # and is not committed
    await member.stop()
    again = await take(await members.join(), 30)
    assert in_order(again, second)
    assert not in_order(again, first)


async def test_two_members_share_partitions_and_finish_before_revoke(topic: Topic, members: Members):
    chains = await send(topic, range(30))
    handed_over = asyncio.Event()
    found: list[Delivery] = []

    async def land() -> None:
        if found and not handed_over.is_set():
            await one.commit_offsets(offsets_of(found))
            handed_over.set()

    one = await members.join(land)
    found += await take(one, 90)
    joining = asyncio.create_task(members.join())
    async with asyncio.timeout(UNTIL_S):
        while not joining.done():
            assert await one.next_batch(messages_max=7, wait_s=0.05) == [], "it was committed while giving up"
            await asyncio.sleep(0)
    two = await joining
    assert handed_over.is_set()
    later = await send(topic, range(30, 60))
    shares: dict[EventSubscription, list[Delivery]] = {one: [], two: []}
    async with asyncio.timeout(UNTIL_S):
        while sum(map(len, shares.values())) < 90:
            for member, share in shares.items():
                share += await member.next_batch(messages_max=100, wait_s=0.05)
    assert {one.partition for one in shares[one]}.isdisjoint({one.partition for one in shares[two]})
    assert in_order([*shares[one], *shares[two]], later)
    assert in_order(found, chains)


async def test_commits_of_what_is_not_ours_are_left_to_its_owner(topic: Topic, members: Members):
    member = await members.join()
    await member.commit_offsets({99: 7})
    await member.stop()
    await member.commit_offsets({0: 7})
    chains = await send(topic, range(10))
    assert in_order(await take(await members.join(), 30), chains)


@pytest.mark.parametrize("while_away", [False, True])
async def test_a_topic_made_anew_is_read_from_its_beginning(topic: Topic, members: Members, *, while_away: bool):
    await send(topic, range(6), length=4)
    member = await members.join()
    found = await take(member, 24)
    await member.commit_offsets(offsets_of(found))
    if while_away:
        await member.stop()
    await topic.make_anew()
    chains = await send(topic, range(6), length=9)
    if while_away:
        member = await members.join()
    values = {event.canonical for events in chains for event in events}
    got: set[bytes | None] = set()
    async with asyncio.timeout(UNTIL_S):
        while not values <= got:
            got |= {one.value for one in await member.next_batch(messages_max=100, wait_s=0.2)}


async def test_it_leaves_within_seconds_and_may_leave_twice(members: Members):
    member = await members.join()
    async with asyncio.timeout(120):
        await member.stop()
        await member.stop()


async def test_how_far_a_group_has_come_is_told_without_joining_it(topic: Topic, members: Members):
    nowhere = dict.fromkeys(range(6), 0)
    assert await topic.progress.reached(READ_MODEL) == nowhere
    await send(topic, range(10))
    member = await members.join()
    found = await take(member, 30)
    assert await topic.progress.reached(READ_MODEL) == nowhere
    await member.commit_offsets(offsets_of(found))
    assert await topic.progress.reached(READ_MODEL) == nowhere | offsets_of(found)
    assert await topic.progress.reached("graph") == nowhere
    await member.stop()
    assert await topic.progress.reached(READ_MODEL) == nowhere | offsets_of(found)
    await topic.make_anew()
    await send(topic, range(10))
    assert await topic.progress.reached(READ_MODEL) == nowhere, "it begins anew with another topic"
