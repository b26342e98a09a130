"""``EventPublisher``: each aggregate's events in the given order, as CloudEvents."""

import asyncio

from oncelog.domain.events import read_event
from tests.contract.chains import PLACE, chain
from tests.contract.conftest import Opened


async def test_events_arrive_in_order_as_they_lie_in_the_log(opened: Opened):
    events = chain(5)
    assert opened.ports.publisher.answers
    await opened.ports.publisher.publish_events(events[:2])
    await opened.ports.publisher.publish_events(events[2:])
    messages = await opened.messages(PLACE)
    assert [message.value for message in messages] == [event.canonical for event in events]
    assert {message.key for message in messages} == {b"shop/Product/p1"}
    assert len({message.partition for message in messages}) == 1


async def test_a_message_says_what_it_is_about_without_being_parsed(opened: Opened):
    (event,) = chain(1)
    await opened.ports.publisher.publish_events([event])
    (message,) = await opened.messages(PLACE)
    headers = {name: value.decode() for name, value in message.headers}
    assert headers == {
        "ce_specversion": "1.0",
        "ce_id": event.event_id,
        "ce_type": "INSTANCE_CREATED",
        "ce_source": "/oncelog/shop/Product",
        "ce_subject": "shop/Product/p1",
        "ce_time": event.occurred_at,
        "content-type": "application/json",
        "sequence_number": "1",
        "schema_version": event.schema_version,
    }
    assert read_event(message.value, where="message") == event


async def test_what_is_sent_again_is_there_twice(opened: Opened):
    (event,) = chain(1)
    for _ in range(2):
        await opened.ports.publisher.publish_events([event])
    assert len(await opened.messages(PLACE)) == 2


async def test_many_aggregates_at_once_keep_each_its_order(opened: Opened):
    chains = [chain(4, f"p{number}") for number in range(20)]
    await asyncio.gather(*map(opened.ports.publisher.publish_events, chains))
    for events in chains:
        messages = await opened.messages(events[0].aggregate)
        assert [message.value for message in messages] == [event.canonical for event in events]


async def test_the_largest_event_fits(opened: Opened):
    (event,) = chain(1, text="ä" * 500_000)
    await opened.ports.publisher.publish_events([event])
    (message,) = await opened.messages(PLACE)
    assert message.value == event.canonical
