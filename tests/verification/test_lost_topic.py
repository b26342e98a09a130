"""A verification reads a topic that was lost once as consumers do, who drop what is ahead of its order."""

from collections.abc import Sequence

import pytest

from oncelog.checks.verify import Report, nothing_in_flight, verify
from oncelog.domain.events import Event
from oncelog.ports import TopicRecord
from oncelog.testing.memory.kafka import MEMORY_TOPIC
from oncelog.testing.memory.s3 import MemoryTopicRecords
from oncelog.verification.findings import Code
from tests.commands import create, update
from tests.write.world import World


async def _verified(sent: Sequence[int], *, generations: int) -> Report:
    """Verify a log of three events, and a topic of that generation with these of them in it."""
    world = World()
    for command in (create(), update(), update()):
        await world.process().run(command)
    events: list[Event] = next(iter(world.logs().values()))
    world.publisher.messages.clear()
    for generation in range(1, generations + 1):
        if generation > 1:
            world.publisher.make_anew()
        record = TopicRecord(generation, str(world.publisher.incarnation), 1)
        await MemoryTopicRecords(world.bucket).write_topic_record(MEMORY_TOPIC, record)
    await world.publisher.publish_events([events[number - 1] for number in sent])
    return await verify(world.sources, in_flight=nothing_in_flight)


@pytest.mark.parametrize("sent", [[1, 2, 3], [3, 1, 2, 3], [2, 3, 1, 2, 3], [1, 3, 2, 3], [3, 1, 1, 2, 1, 3]])
async def test_what_is_ahead_in_a_lost_topic_is_passed_over(sent: list[int]):
    assert (await _verified(sent, generations=2)).findings == []


@pytest.mark.parametrize("sent", [[3], [1, 3], [2, 3, 1], []])
async def test_what_was_not_sent_again_is_missing(sent: list[int]):
    report = await _verified(sent, generations=2)
    assert [finding.code for finding in report.findings] == [Code.MESSAGE_MISSING]


async def test_what_is_ahead_in_a_topic_never_lost_is_found():
    report = await _verified([3, 1, 2, 3], generations=1)
    assert Code.MESSAGE_OUT_OF_ORDER in [finding.code for finding in report.findings]


async def test_foreign_message_in_a_lost_topic_is_found():
    world = World()
    for generation in (1, 2):
        world.publisher.incarnation = generation
        await MemoryTopicRecords(world.bucket).write_topic_record(
            MEMORY_TOPIC, TopicRecord(generation, str(generation), 1)
        )
    world.publisher.append(b"?", b'{"aggregate_id": "?", "sequence_number": 2}')
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert Code.MESSAGE_FOREIGN in [finding.code for finding in report.findings]


async def test_damaged_topic_record_is_found():
    world = World()
    await world.process().run(create())
    await world.bucket.put(f"topics/{MEMORY_TOPIC}/000001.json", b"{}")
    report = await verify(world.sources, in_flight=nothing_in_flight)
    assert [finding.code for finding in report.findings] == [Code.OBJECT_UNREADABLE]
