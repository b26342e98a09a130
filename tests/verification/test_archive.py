"""Damage planted in the archive is found, each kind by its code; a sound archive has no finding."""

import pytest

from oncelog.checks.verify import nothing_in_flight, verify
from oncelog.ports import UNPUBLISHED
from oncelog.verification.findings import Code
from tests.contract.chains import chain
from tests.verification.archive_damage import PLANTED, healthy
from tests.verification.damage import Damage, planted
from tests.write.world import World


async def _codes(world: World) -> set[Code]:
    report = await verify(world.sources, in_flight=nothing_in_flight)
    return {finding.code for finding in report.findings if finding.code.startswith("Archive")}


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_damaged_archive_is_found(damage: Damage):
    world = await healthy()
    assert await _codes(world) == set()
    await planted(damage, world)
    assert await _codes(world) == {damage.code}


async def test_an_archive_that_is_behind_is_no_finding():
    world = await healthy()
    for event in chain(2, "c"):
        await world.ports().event_log.append_event(event, published_through=UNPUBLISHED)
    assert await _codes(world) == set()
