"""Damage to the chains of unique values is found under its own code, and nothing in what is sound."""

import pytest

from oncelog.checks.verify import Report, nothing_in_flight, verify
from tests.verification.damage import Damage, planted
from tests.verification.unique_damage import PLANTED, healthy
from tests.write.world import World


async def _verified(world: World) -> Report:
    return await verify(world.sources, in_flight=nothing_in_flight)


async def test_nothing_is_found_where_nothing_is_wrong():
    world = await healthy()
    assert list(world.audit().judge()) == []
    assert (await _verified(world)).findings == []


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_damage_is_found_by_an_audit_of_everything(damage: Damage):
    world = await healthy()
    await planted(damage, world)
    found = list(world.audit().judge())
    assert damage.code in {finding.code for finding in found}, found


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_damage_is_found_under_its_code(damage: Damage):
    world = await healthy()
    await planted(damage, world)
    report = await _verified(world)
    assert damage.code in {finding.code for finding in report.findings}, report.findings
