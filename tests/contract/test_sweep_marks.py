"""``Checkpoints``: how far the log is known to be whole."""

from datetime import UTC, datetime, timedelta

import pytest

from oncelog.ports import UNPUBLISHED, Generations, Settled
from tests.contract.chains import chain
from tests.contract.conftest import Opened


async def test_the_latest_mark_is_kept(opened: Opened):
    marks = opened.ports.marks
    assert await marks.settled() is None
    for day in (2, 3, 1):
        await marks.settle(datetime(2026, 1, day, 12, 30, 15, 250_000, tzinfo=UTC), Generations())
        assert await marks.settled() == Settled(datetime(2026, 1, day, 12, 30, 15, 250_000, tzinfo=UTC), Generations())


@pytest.mark.parametrize("body", [b"", b"{}", b'{"settled_through": "2026-01-01T00:00:00"}', b"\xff"])
async def test_a_mark_that_cannot_be_read_counts_as_none(opened: Opened, body: bytes):
    await opened.put_object("reports/sweep/settled.json", body)
    assert await opened.ports.marks.settled() is None


async def test_the_clock_is_that_of_the_objects(opened: Opened):
    (event,) = chain(1)
    before = await opened.ports.marks.now()
    await opened.ports.event_log.append(event, published_through=UNPUBLISHED)
    (listed_stream,) = (await opened.ports.catalogue.listed_streams()).items
    after = await opened.ports.marks.now()
    assert before <= listed_stream.written_at <= after
    assert after - before < timedelta(minutes=1)
