"""Checks and archive runs whose workers die, and checks beside live writes, on real servers."""

import asyncio
import itertools
import os
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from oncelog.activities.check_models import CheckOutcome, CheckPhase, CheckReport, CheckRequest
from oncelog.archive.run import ArchiveRequest
from oncelog.checks.report import CheckVerdict, InvariantsReport
from oncelog.client.runs import Archives, Checks
from oncelog.workflows.check import ConsistencyCheck
from tests.commands import create, delete, update
from tests.integration.installation import Installation
from tests.integration.mortals import killed_until
from tests.integration.replays import fill, replayed

pytestmark = pytest.mark.integration

INSTANCES = 200
KILLS = 3
#: More of them for a long run by hand.
CHECKS = int(os.environ.get("ONCELOG_TEST_CHECKS", "3"))
WRITERS = 6


async def _until_proving(checks: Checks, check_id: str) -> None:
    while (await checks.handle(check_id).query(ConsistencyCheck.progress)).phase is not CheckPhase.INVARIANTS:
        await asyncio.sleep(0.02)


def _substance(report: InvariantsReport) -> object:
    """The parts of a report that must be the same however often its workers died."""
    sections = [(section.invariant, section.verdict, section.violations) for section in report.sections]
    return sections, report.roots, report.verdict, report.read.events, report.read.commands


async def test_check_survives_the_death_of_its_workers(installation: Installation):
    await fill(installation, INSTANCES)
    checks = Checks(installation.temporal, installation.settings)
    request = CheckRequest(grace_s=0, parallel=1)
    async with installation.worker():
        whole = await checks.result(await checks.start(request))
    async with installation.worker():
        check_id = await checks.start(request)
        await _until_proving(checks, check_id)
    ended = asyncio.ensure_future(checks.result(check_id))
    assert await killed_until(ended, installation, seed=21, kills=KILLS) >= 2
    report = await ended
    assert whole.invariants is not None
    assert report.invariants is not None
    assert whole.invariants.verdict is CheckVerdict.SOUND
    assert _substance(report.invariants) == _substance(whole.invariants)


async def test_killed_archivers_lose_nothing(installation: Installation):
    await fill(installation, INSTANCES)
    from_slots = await replayed(installation)
    archives = Archives(installation.temporal, installation.settings)
    ended = asyncio.ensure_future(archives.result(await archives.start(ArchiveRequest())))
    assert await killed_until(ended, installation, seed=34, kills=1, within_s=0.2) == 1
    await ended
    from_archive = await replayed(installation)
    assert from_archive.counts.archived == from_slots.counts.events
    assert from_archive.end is not None
    assert from_slots.end is not None
    assert from_archive.end.databases == from_slots.end.databases
    await installation.check()


@asynccontextmanager
async def _written(installation: Installation) -> AsyncIterator[list[str]]:
    """Have writers create, update and delete until the block ends; gives what they wrote."""
    written: list[str] = []

    async def write(writer: int) -> None:
        chance = random.Random(writer)
        for number in itertools.count():
            name = f"w{writer}-{number}"
            await installation.client.submit(create(name, {"n": number}))
            await installation.client.submit(update(name, {"m": number}))
            if chance.random() < 0.3:
                await installation.client.submit(delete(name))
            written.append(name)

    writers = [asyncio.create_task(write(writer)) for writer in range(WRITERS)]
    try:
        yield written
    finally:
        for each in writers:
            each.cancel()
        ended = await asyncio.gather(*writers, return_exceptions=True)
    assert all(isinstance(each, asyncio.CancelledError) for each in ended), ended


async def test_check_beside_live_writes_finds_nothing(installation: Installation):
    checks = Checks(installation.temporal, installation.settings)
    reports: list[CheckReport] = []
    async with installation.worker(), _written(installation) as written:
        for _ in range(CHECKS):
            before = len(written)
            reports.append(await checks.result(await checks.start(CheckRequest(repair=True, probe=True))))
            assert len(written) > before
    for report in reports:
        assert report.outcome is CheckOutcome.CLEAN
        assert report.invariants is not None
        assert report.invariants.verdict is CheckVerdict.SOUND, report.invariants
