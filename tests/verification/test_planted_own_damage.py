"""Damage to aggregates of one's own is found under its own code, and nothing in what is sound."""

import pytest

from oncelog.checks.verify import nothing_in_flight, verify
from oncelog.domain.aggregates import registered
from tests.own_domain import ACCOUNT
from tests.verification.damage import Damage, planted
from tests.verification.own_damage import PLANTED, healthy


async def test_nothing_is_found_in_a_sound_own_domain():
    with registered(ACCOUNT):
        world = await healthy()
        assert list(world.audit().judge()) == []
        assert (await verify(world.sources, in_flight=nothing_in_flight)).findings == []


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_damage_to_an_own_domain_is_found_under_its_code(damage: Damage):
    with registered(ACCOUNT):
        world = await healthy()
        await planted(damage, world)
        report = await verify(world.sources, in_flight=nothing_in_flight)
        assert damage.is_named_by(report.findings), report.findings
