"""``Checkpoints``: how far the log is known to be whole."""

from datetime import UTC, datetime, timedelta

import pytest

from oncelog.ports import UNPUBLISHED, Generations, LogCheckpoint
from tests.contract.chains import chain
from tests.contract.conftest import Opened


async def test_the_latest_mark_is_kept(opened: Opened):
    marks = opened.ports.checkpoints
    assert await marks.read_checkpoint() is None
    for day in (2, 3, 1):
        await marks.save_checkpoint(datetime(2026, 1, day, 12, 30, 15, 250_000, tzinfo=UTC), Generations())
        assert await marks.read_checkpoint() == LogCheckpoint(
            datetime(2026, 1, day, 12, 30, 15, 250_000, tzinfo=UTC), Generations()
        )


@pytest.mark.parametrize("body", [b"", b"{}", b'{"settled_through": "2026-01-01T00:00:00"}', b"\xff"])
async def test_a_mark_that_cannot_be_read_counts_as_none(opened: Opened, body: bytes):
    await opened.put_object("reports/sweep/settled.json", body)
    assert await opened.ports.checkpoints.read_checkpoint() is None


async def test_the_clock_is_that_of_the_objects(opened: Opened):
    (event,) = chain(1)
    before = await opened.ports.checkpoints.now()
    await opened.ports.event_log.append_event(event, published_through=UNPUBLISHED)
    (listed_stream,) = (await opened.ports.catalogue.listed_streams()).items
    after = await opened.ports.checkpoints.now()
    assert before <= listed_stream.written_at <= after
    assert after - before < timedelta(minutes=1)
