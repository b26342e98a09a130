"""A read model in SQLite on real servers: its projector is killed, and counters equal the fold."""

import signal
from collections import Counter
from pathlib import Path

import pytest

from oncelog.ports import Watermark
from tests.contract.chains import chain
from tests.integration.installation import Installation
from tests.sql.test_sql_read_model import rows_of
from tests.sql.views import events_per_month, per_month

pytestmark = pytest.mark.integration

PER_MONTH = "tests.sql.views:per_month"
UNTIL_S = 60


async def _check_top(installation: Installation) -> None:
    """Hold that ``oncelog top`` finds the read model and its dead letters without being told of it."""
    pause = ("dead-letters", "pause", "shop/Product/p1", "--read-model", PER_MONTH, "--reason", "stock-taking")
    assert (await installation.oncelog(*pause))[0] == 0
    _, (fields,) = await installation.oncelog("top", "--timeout", str(UNTIL_S))
    lags = {lag["read_model"]: lag for lag in fields["lags"]}
    assert list(lags) == ["documents", "graph", per_month.name]
    assert (sum(lags[per_month.name]["messages"].values()), lags[per_month.name]["oldest_age_s"]) == (0, 0)
    waits = [(letter["read_model"], letter["aggregate_id"]) for letter in fields["dead_letters"]]
    assert waits == [(per_month.name, "shop/Product/p1")]


async def test_killed_projector_leaves_counters_right(installation: Installation, tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'views.sqlite'}"
    chains = [chain(3, f"p{number}") for number in range(40)]
    log, publisher = installation.stores.ports.event_log, installation.stores.ports.publisher
    for events in chains:
        for event in events:
            await log.append_event(event, published_through=Watermark(1, event.sequence_number - 1))
        await publisher.publish_events(events)
    crashing = await installation.own_projector_process(PER_MONTH, SQL_TEST_URL=url, ONCELOG_CRASH_AFTER="show")
    assert await crashing.ended() == -signal.SIGKILL  # rows are committed, offsets are not
    for events in chains[:10]:
        await publisher.publish_events(events)  # late duplicates
    projector = await (await installation.own_projector_process(PER_MONTH, SQL_TEST_URL=url)).ready()
    await installation.until_idle(PER_MONTH)
    await _check_top(installation)
    assert await projector.stop() == 0
    numbers = Counter(str(event.event_type) for events in chains for event in events)
    assert {row[0]: row[2] for row in rows_of(url, events_per_month)} == numbers
