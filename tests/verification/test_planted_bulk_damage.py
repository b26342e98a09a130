"""Damage to what bulk commands leave behind is found under its own code, and nothing in what is sound."""

import pytest

from oncelog.checks.verify import Report, nothing_in_flight, verify
from tests.verification.bulk_damage import PLANTED, healthy
from tests.verification.damage import Damage, planted
from tests.write.world import World


async def _verified(world: World) -> Report:
    return await verify(world.sources, in_flight=nothing_in_flight)


async def test_nothing_is_found_where_nothing_is_wrong():
    report = await _verified(await healthy())
    assert report.findings == []
    assert (report.read.commands, report.read.aggregates, report.read.events) == (5, 14, 27)


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_damage_is_found_under_its_code(damage: Damage):
    world = await healthy()
    await planted(damage, world)
    report = await _verified(world)
    assert damage.code in {finding.code for finding in report.findings}, report.findings
