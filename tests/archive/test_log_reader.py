"""The reader of many streams under faults."""

import asyncio

import pytest

from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader
from oncelog.errors import StoreUnavailable
from oncelog.ports import UNPUBLISHED
from oncelog.testing import MemoryServers
from tests.contract.chains import chain

WHOLE = LogPart(db_name="shop", class_id="Product")


async def _logged(streams: int) -> MemoryServers:
    servers = MemoryServers()
    for number in range(streams):
        for event in chain(2, f"p{number}"):
            await servers.ports().event_log.append_event(event, published_through=UNPUBLISHED)
    return servers


async def test_an_outage_is_raised_and_not_read_as_the_end():
    servers = await _logged(20)
    batches = LogReader(servers.ports()).batches(WHOLE, batch_events=2)
    assert (await anext(batches)).events
    servers.bucket.available = False
    with pytest.raises(StoreUnavailable):
        _ = [batch async for batch in batches]


async def test_a_consumer_that_leaves_ends_the_requests():
    servers = await _logged(20)
    before = asyncio.all_tasks()
    batches = LogReader(servers.ports()).batches(WHOLE, batch_events=2)
    assert (await anext(batches)).events
    await batches.aclose()
    requests = servers.bucket.requests.copy()
    async with asyncio.timeout(30):
        while asyncio.all_tasks() != before:
            await asyncio.sleep(0)
    assert servers.bucket.requests == requests
