"""Archivers that die at any request: nothing is lost, nothing is archived twice, and what they left is collected."""

import asyncio
import random
from datetime import timedelta

import pytest

from oncelog.archive import parquet_writer
from oncelog.archive.archiver import Archiver
from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader
from oncelog.errors import StoreUnavailable
from oncelog.ports import UNPUBLISHED, Ports
from oncelog.testing import MemoryServers
from tests.contract.chains import chain

PLACE = ("shop", "Product")
STEPS = 30


class Killed(Exception):
    """The archiver's process has died."""


async def _step(archiver: Archiver, rng: random.Random) -> None:
    """Take one step of an archiver that may die before or after any request."""
    step = rng.choice(("pack", "pack", "merge", "collect"))
    if step == "pack":
        await archiver.pack(*PLACE)
    elif step == "merge":
        await archiver.merge(*PLACE)
    else:
        await archiver.collect(*PLACE, keep_for=timedelta(0))


@pytest.mark.parametrize("seed", range(6))
async def test_archivers_killed_anywhere_lose_nothing(seed: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(parquet_writer, "GROUP_ROWS", 3)
    rng = random.Random(seed)
    servers = MemoryServers()
    ports = servers.ports()
    streams = {name: chain(STEPS // 3, name) for name in ("a", "b-", "b")}
    written = dict.fromkeys(streams, 0)

    def perhaps_killed(_operation: str, key: str) -> None:
        if key.startswith("archive/") and rng.random() < 0.05:
            raise Killed

    for _ in range(STEPS):
        name = rng.choice([name for name in streams if written[name] < len(streams[name])] or ["a"])
        for event in streams[name][written[name] : written[name] + 1]:
            await ports.event_log.append_event(event, published_through=UNPUBLISHED)
            written[name] += 1
        servers.bucket.before, servers.bucket.after = perhaps_killed, perhaps_killed
        archivers = [Archiver(ports, file_bytes=3_000) for _ in range(rng.choice((1, 1, 2)))]
        outcomes = await asyncio.gather(*(_step(each, rng) for each in archivers), return_exceptions=True)
        servers.bucket.before = servers.bucket.after = lambda _operation, _key: None
        assert not [one for one in outcomes if one is not None and not isinstance(one, Killed | StoreUnavailable)]
    await _settle(ports)
    batches = [batch async for batch in LogReader(ports).batches(LogPart(db_name="shop", class_id="Product"))]
    events = [event for batch in batches for event in batch.events]
    assert not [damage for batch in batches for damage in batch.damages]
    assert events == [event for name in ("a", "b-", "b") for event in streams[name][: written[name]]]
    assert sum(batch.archived for batch in batches) == len(events)
    manifest = (await ports.archives.newest_manifest(*PLACE)).manifest
    assert manifest.events == len(events)
    assert {file.key async for file in ports.archives.archive_files(*PLACE)} == {file.key for file in manifest.files}


async def _settle(ports: Ports) -> None:
    """Archive undisturbed, and collect what the dead have left."""
    archiver = Archiver(ports)
    while (await archiver.pack(*PLACE, complete_through="2026-01-01T00:00:00.000000Z")).position is not None:
        pass
    await archiver.collect(*PLACE, keep_for=timedelta(0))
