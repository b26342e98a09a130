"""Every kind of damage to the graph is found under its own code, and nothing is found in what is sound."""

import pytest

from oncelog.checks.verify import nothing_in_flight, verify
from tests.verification.damage import Damage, planted
from tests.verification.graph_damage import PLANTED, healthy


async def test_nothing_is_found_where_nothing_is_wrong():
    world = await healthy()
    assert (await verify(world.sources, in_flight=nothing_in_flight)).findings == []
    assert len(world.graph.nodes) == 3


@pytest.mark.parametrize("damage", PLANTED, ids=lambda damage: damage.name)
async def test_damage_is_found_under_its_code(damage: Damage):
    world = await healthy()
    await planted(damage, world)
    found = (await verify(world.sources, in_flight=nothing_in_flight)).findings
    assert {finding.code for finding in found} == {damage.code}, found


def test_kinds_of_damage_have_names_of_their_own():
    assert len({damage.name for damage in PLANTED}) == len(PLANTED)
