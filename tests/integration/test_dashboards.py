"""Every panel's query, on a real Prometheus that reads a worker and a projector under load, and then in an outage."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
import pytest

from monitoring.dashboards.pages import PAGES
from monitoring.dashboards.panel import INTERVAL, Panel
from monitoring.dashboards.shared import ARCHIVE_LAG, STEPS_FAILED, STORES_FAILED
from oncelog.client.bulk import Bulks
from oncelog.domain.bulk.command import BulkType
from stack import Stack
from tests.bulks import item
from tests.commands import create, update
from tests.integration.gates import Gate, gate, refusal
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

GONE = refusal("503 Service Unavailable", "application/json", b'{"error":"gone","status":503}')
UNTIL_S = 300  # a minute on a calm machine
#: Of Grafana, at the shortest scale; a busy machine answers some scrapes late.
RANGE = "1m"
#: Panels that have data while Elasticsearch answers 503.
IN_OUTAGE = (STEPS_FAILED, STORES_FAILED)


@dataclass(frozen=True)
class Watched:
    """An installation whose programs a Prometheus reads; ``elasticsearch``: the gate before it."""

    installation: Installation
    prometheus: str
    elasticsearch: Gate

    async def figures(self, expression: str) -> list[float]:
        """Return the newest value of each series; raises if Prometheus refuses the expression."""
        query = {"query": expression.replace(INTERVAL, RANGE)}
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"{self.prometheus}/api/v1/query", params=query) as answer,
        ):
            text = await answer.text()
            assert answer.status == 200, f"{expression}: {text}"
        values = [float(series["value"][1]) for series in json.loads(text)["data"]["result"]]
        return [value for value in values if value == value]  # a quantile of nothing is NaN

    async def without_data(self, panels: Iterable[Panel]) -> list[Panel]:
        """Return the panels of which a query has no figure."""
        return [panel for panel in panels if not all([await self.figures(query.expression) for query in panel.queries])]


@pytest.fixture
async def watched(installation: Installation) -> AsyncIterator[Watched]:
    address = urlsplit(installation.settings.elasticsearch.url).netloc.rpartition("@")[2]
    with Stack.temporary(["prometheus"]) as stack:
        async with gate(address, GONE) as elasticsearch:
            variables = {
                **stack.environment(),
                "ONCELOG_ELASTICSEARCH_URL": f"http://{elasticsearch.address}",
            }
            await (await installation.worker_process(**variables)).ready()
            await (await installation.projector_process("documents", **variables)).ready()
            yield Watched(installation, variables["ONCELOG_PROMETHEUS_URL"], elasticsearch)


async def load(installation: Installation, number: int) -> None:
    """Run commands of all kinds: applied, rejected, and a bulk."""
    instances = [f"r{number}-{each}" for each in range(4)]
    await asyncio.gather(*(installation.client.submit(create(each, {"price": 1})) for each in instances))
    await asyncio.gather(
        *(installation.client.submit(update(instances[0], {"price": price})) for price in range(3)),
        installation.client.submit(create(instances[1], {"price": 2})),  # exists
        Bulks(installation.client).submit(
            BulkType.BULK_CREATE_INSTANCES, "shop", "Product", [item(f"b{number}-{each}") for each in range(5)]
        ),
    )


async def test_every_panel_has_data(watched: Watched):
    panels = {panel.title: panel for page in PAGES for panel in page.panels}.values()
    ended = [panel for panel in panels if panel.only_in is not None and "has ended" in panel.only_in]
    always = [panel for panel in panels if panel.only_in is None]
    for run in ("check", "archive"):
        code, _ = await watched.installation.oncelog(run)
        assert code == 0

    assert {panel.title for panel in ended} >= {ARCHIVE_LAG.title}
    missing, number = [*always, *ended], 0
    try:
        async with asyncio.timeout(UNTIL_S):
            while missing := await watched.without_data(missing):
                await load(watched.installation, number)
                number += 1
    except TimeoutError:
        pytest.fail(f"no data: {[panel.title for panel in missing]}")

    watched.elasticsearch.shut()
    pending = await watched.installation.client.start(create("late", {"price": 1}))
    async with asyncio.timeout(UNTIL_S):
        while await watched.without_data(IN_OUTAGE):
            await asyncio.sleep(0.5)
    await watched.without_data(panels)  # the expressions of the others are valid, too
    await pending.terminate()
