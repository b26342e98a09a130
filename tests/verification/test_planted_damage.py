"""Every kind of damage is found under its own code, and nothing is found in what is sound."""

import pytest

from oncelog.verification.findings import Finding
from tests.verification.damage import PLANTED, Damage, healthy, planted


async def test_nothing_is_found_where_nothing_is_wrong():
    assert list((await healthy()).audit().judge()) == []


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_damage_is_found_under_its_code(damage: Damage):
    world = await healthy()
    await planted(damage, world)
    found = list(world.audit().judge())
    assert damage.code in {finding.code for finding in found}, found
    assert all(_says_where(finding) for finding in found)


def test_kinds_of_damage_have_names_of_their_own():
    assert len({damage.name for damage in PLANTED}) == len(PLANTED)


def _says_where(finding: Finding) -> bool:
    return bool(finding.where and finding.found)
