"""Aliases that an operator deleted on a real Elasticsearch: named by reads, put back by a check and by a rebuild."""

import pytest

from oncelog.activities.check_models import CheckOutcome, CheckRequest
from oncelog.client.runs import Checks
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.errors import StoreUnavailable
from oncelog.query import presence
from tests.classes import FIRST, define
from tests.commands import create
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

ALIASES = ("instances.shop.product", "instances.shop.note", f"instances.shop.{CLASSES}", "graph.shop")


async def _filled(installation: Installation) -> None:
    """A defined class and an undefined one, seen by the worker, which knows their indices from now on."""
    await installation.client.submit(define(FIRST))
    for name in ("lamp", "desk"):
        await installation.client.submit(create(name, {"name": name}))
    await installation.client.submit(create("n1", {"text": "x"}, class_id="Note"))


async def _lose_aliases(installation: Installation) -> None:
    indices = installation.stores.elasticsearch.client.indices
    for alias in map(installation.settings.named, ALIASES):
        await indices.delete_alias(index=f"{alias}.*", name=alias)


async def _indices(installation: Installation) -> set[str]:
    found = await installation.stores.elasticsearch.client.indices.get(index=f"{installation.settings.named('*')}")
    return set(found)


async def test_check_puts_lost_aliases_back(installation: Installation, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(presence, "PROJECTED_WITHIN", presence.PROJECTED_WITHIN * 0)
    async with installation.worker():
        await _filled(installation)
        before = await _indices(installation)
        await _lose_aliases(installation)
        with pytest.raises(StoreUnavailable, match=r"behind the alias t-\w+\.instances\.shop\.product"):
            await installation.client.get(AggregateId.of("shop", "Product", "lamp"))
        checks = Checks(installation.temporal, installation.settings)
        report = await checks.result(await checks.start(CheckRequest(repair=True, grace_s=0)))
        assert (report.outcome, report.tally.unfinished) == (CheckOutcome.REPAIRED, 0)
        assert await _indices(installation) == before
        found = await installation.client.get(AggregateId.of("shop", "Product", "lamp"))
        assert found is not None
        await installation.check()
        again = await checks.result(await checks.start(CheckRequest(repair=False, grace_s=0)))
        assert again.outcome is CheckOutcome.CLEAN, again.tally


async def test_rebuild_puts_lost_aliases_back(installation: Installation):
    async with installation.worker():
        await _filled(installation)
        before = await _indices(installation)
        await _lose_aliases(installation)
        for target in ("shop/Product", "shop/Note", f"shop/{CLASSES}"):
            code, (report,) = await installation.oncelog("rebuild", target)
            (switched,) = report["end"]["switched"]
            assert (code, switched["kept"] in before) == (0, True), report
        assert (await installation.oncelog("rebuild", "shop/Product", "--read-model", "graph"))[0] == 0
        assert before < await _indices(installation)
        await installation.check()


async def test_check_fills_indices_that_are_gone(installation: Installation):
    elasticsearch = installation.stores.elasticsearch.client
    async with installation.worker():
        await _filled(installation)
        before = await _indices(installation)
        await elasticsearch.indices.delete(index=sorted(before))
        checks = Checks(installation.temporal, installation.settings)
        report = await checks.result(await checks.start(CheckRequest(repair=True, grace_s=0)))
        assert (report.outcome, report.tally.unfinished) == (CheckOutcome.REPAIRED, 0)
        assert await _indices(installation) == before
        await installation.check()
