"""The full demo on real servers, with fewer items than it has."""

import pytest

from factline.cli.demo_data import DB_NAME, Load
from factline.cli.demo_full import apply_loads
from factline.cli.exits import Exit
from tests.bulks import item
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration


def load(name: str, *instance_ids: str) -> Load:
    items = [item(instance_id, {"name": instance_id}) for instance_id in instance_ids]
    return Load(f"demo-{name}", name, "tests 1", instance_ids[0], items)


async def test_a_second_demo_shows_the_first_results(installation: Installation, capsys: pytest.CaptureFixture[str]):
    loads = [load("Subdivision", "BO-L", "BO-C"), load("Airport", "SLLP", "SLCB", "SLVR")]

    async def shown() -> str:
        assert await apply_loads(installation.client, installation.settings, loads, as_json=False) is Exit.FINE
        return capsys.readouterr().out

    async with installation.worker():
        first, second = await shown(), await shown()
    assert "items/s" in first
    assert "a duplicate" not in first
    assert second.count("a duplicate: this is its first result") == 2
    assert "items/s" not in second
    keys = [key.key for key in (await installation.stores.bucket.list_after(f"events/{DB_NAME}/", ""))[0]]
    assert len(keys) == 5


async def test_an_item_that_is_refused_is_a_finding(installation: Installation, capsys: pytest.CaptureFixture[str]):
    async with installation.worker():
        twice = [load("Airport", "SLLP", "SLCB", "SLLP")]
        assert await apply_loads(installation.client, installation.settings, twice, as_json=True) is Exit.FINDINGS
    assert '"rejected": 1' in capsys.readouterr().out
