"""The backlog of an installation, as a real Temporal tells it."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from oncelog.archive.run import ArchiveRequest
from oncelog.cli.exits import Exit
from oncelog.client.backlog import Backlog, BacklogReader
from oncelog.client.runs import Archives
from oncelog.client.schedules import Schedules
from tests.commands import create
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

UNTIL_S = 60


def later(**by: float) -> datetime:
    return datetime.now(UTC) + timedelta(**by)


async def read_until(reader: BacklogReader, count: int, *, now: datetime | None = None) -> Backlog:
    """Read until so many commands are pending: Temporal's list is a moment late."""
    async with asyncio.timeout(UNTIL_S):
        while (backlog := await reader.read(now=now)).count() != count:
            await asyncio.sleep(0.1)
    return backlog


async def test_pending_commands_are_counted_by_age(installation: Installation):
    reader = BacklogReader(installation.temporal, installation.settings)
    await installation.client.start(create("a", {"price": 1}))
    await installation.client.start(create("b", {"price": 1}))
    in_half_an_hour = await read_until(reader, 2, now=later(minutes=30))
    assert [in_half_an_hour.count(older_than_s=age_s) for age_s in (0, 60, 600, 3_600)] == [2, 2, 2, 0]
    assert (await reader.read(now=later(seconds=-60))).count(older_than_s=10) == 0
    async with installation.worker():
        await read_until(reader, 0)


async def test_command_without_a_worker_is_stuck(installation: Installation):
    reader = BacklogReader(installation.temporal, installation.settings)
    await installation.client.start(create("a", {"price": 1}))
    await read_until(reader, 1)
    (stuck,) = await reader.stuck(now=later(minutes=5))
    assert (stuck.workflow_type, stuck.aggregate_id, stuck.reason, stuck.attempts) == (
        "InstanceCommand",
        "shop/Product/a",
        "it waits for a worker",
        0,
    )
    assert await reader.stuck() == []


async def test_top_shows_an_installation(installation: Installation):
    async with installation.worker():
        await installation.client.submit(create("p1", {"price": 1}))
        code, (fields,) = await installation.oncelog("top", "--timeout", str(UNTIL_S))
    assert (code, fields["silent"]) == (Exit.FINE, {})
    assert (fields["workers"], fields["check"], fields["stuck"], fields["dead_letters"]) == (True, None, [], [])
    assert fields["servers"]["Redis"] == {"text": "answers", "well": True}
    assert {lag["read_model"]: sum(lag["messages"].values()) for lag in fields["lags"]} == {"documents": 1, "graph": 1}
    assert {lag["committed"] for lag in fields["lags"]} == {False}


async def test_archive_reaches_to_the_newest_run_of_everything(installation: Installation):
    reader = BacklogReader(installation.temporal, installation.settings)
    archives = Archives(installation.temporal, installation.settings)
    async with installation.worker():
        await installation.client.submit(create("a", {"price": 1}))
        await archives.result(await archives.start(ArchiveRequest(db_name="shop")))
        report = await archives.result(await archives.start(ArchiveRequest()))
        async with asyncio.timeout(UNTIL_S):
            while (through := (await reader.read()).archived_through) is None:
                await asyncio.sleep(0.1)
    assert report.started_at is not None
    assert through == datetime.fromisoformat(report.started_at)


async def test_schedule_of_archive_runs_is_dated(installation: Installation):
    reader = BacklogReader(installation.temporal, installation.settings)
    assert (await reader.read()).archive_scheduled is None
    schedules = Schedules(installation.temporal, installation.settings)
    await schedules.apply()
    scheduled = (await reader.read()).archive_scheduled
    assert scheduled is not None
    assert scheduled <= later(seconds=1)
