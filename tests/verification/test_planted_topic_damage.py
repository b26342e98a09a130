"""A topic that was replaced, or that lost what it had acknowledged, is named."""

import pytest

from oncelog.checks.verify import nothing_in_flight, verify
from oncelog.verification.findings import Code
from tests.verification.damage import LAMP, Damage, drop_message, planted
from tests.verification.topic_damage import PLANTED, healthy, replace_topic


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_topic_damage_is_found_under_its_code(damage: Damage):
    world = await healthy()
    assert (await verify(world.sources, in_flight=nothing_in_flight)).findings == []
    await planted(damage, world)
    found = (await verify(world.sources, in_flight=nothing_in_flight)).findings
    assert damage.code in {finding.code for finding in found}, found


async def test_an_event_not_published_yet_is_no_watermark_ahead():
    world = await healthy()
    drop_message(world, LAMP, 5)
    found = (await verify(world.sources, in_flight=nothing_in_flight)).findings
    assert [finding.code for finding in found] == [Code.MESSAGE_MISSING]


async def test_a_watermark_of_a_lost_topic_is_not_believed():
    world = await healthy()
    replace_topic(world)
    record = world.bucket.objects["topics/events/000001.json"]
    world.bucket.objects["topics/events/000002.json"] = type(record)(record.body.replace(b'"0"', b'"1"'))
    for number in (5, 4, 3):
        drop_message(world, LAMP, number)
    found = (await verify(world.sources, in_flight=nothing_in_flight)).findings
    assert [finding.code for finding in found] == [Code.MESSAGE_MISSING]  # a check publishes it: nothing is claimed
