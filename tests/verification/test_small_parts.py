"""A check whose parts, slices and batches hold one item each finds the same as one of a single part."""

from functools import partial

import pytest

import oncelog.checks.part
import oncelog.checks.verify
from oncelog.checks.run import CheckRunner
from oncelog.checks.verify import nothing_in_flight, verify
from tests.verification import bulk_damage, damage, graph_damage, unique_damage

PLANTINGS = {"single": damage, "bulk": bulk_damage, "graph": graph_damage, "unique": unique_damage}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = partial(CheckRunner, part_events=1, slice_commands=1)
    monkeypatch.setattr(oncelog.checks.verify, "CheckRunner", runner)
    monkeypatch.setattr(oncelog.checks.part, "BATCH_EVENTS", 1)


@pytest.mark.parametrize("name", PLANTINGS)
async def test_damage_is_found_across_small_parts(name: str):
    planting = PLANTINGS[name]
    sound = await verify((await planting.healthy()).sources, in_flight=nothing_in_flight)
    assert sound.findings == []
    for kind in planting.PLANTED:
        world = await planting.healthy()
        await damage.planted(kind, world)
        report = await verify(world.sources, in_flight=nothing_in_flight)
        assert kind.code in {finding.code for finding in report.findings}, kind.name
