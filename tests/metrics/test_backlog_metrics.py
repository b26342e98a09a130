"""The backlog as a worker reports it: all of it while Temporal answers, nothing while it does not."""

import asyncio
from datetime import UTC, datetime
from typing import cast

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from oncelog.client.backlog import Backlog, BacklogReader
from oncelog.client.backlog_metrics import BacklogMetrics
from oncelog.errors import StoreUnavailable

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BACKLOG = Backlog({("InstanceCommand", 0): 7, ("InstanceCommand", 600): 2, ("BulkCommand", 0): 1})


class Answers:
    """Gives one answer after the other, and lets a test wait until the next is asked for."""

    def __init__(self, *answers: Backlog | Exception) -> None:
        self._answers = list(answers)
        self.used_up = asyncio.Event()

    async def read(self) -> Backlog:
        if not self._answers:
            self.used_up.set()
            await asyncio.Event().wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def samples(metrics: BacklogMetrics) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (each.name, *dict(sorted(each.labels.items())).values()): each.value
        for family in families
        for each in family.samples
    }


async def after(*answers: Backlog | Exception) -> dict[tuple[str, ...], float]:
    metrics, reader = BacklogMetrics(archive_interval_s=60), Answers(*answers)
    async with metrics.refreshed(cast("BacklogReader", reader), every_s=0):
        await reader.used_up.wait()
    return samples(metrics)


async def test_pending_commands_are_reported_by_age():
    reported = await after(BACKLOG)
    assert reported["oncelog_pending_commands", "600", "InstanceCommand"] == 2
    assert reported["oncelog_archive_interval_seconds",] == 60
    assert {name for name, *_ in reported} == {"oncelog_pending_commands", "oncelog_archive_interval_seconds"}
    assert (BACKLOG.count(), BACKLOG.count(older_than_s=600)) == (8, 2)


async def test_archive_is_reported_once_it_is_known():
    reported = await after(BACKLOG, Backlog({}, archived_through=NOON, archive_scheduled=NOON))
    assert reported["oncelog_archived_through_timestamp_seconds",] == NOON.timestamp()
    assert reported["oncelog_archive_scheduled_timestamp_seconds",] == NOON.timestamp()


async def test_nothing_is_reported_while_temporal_is_silent():
    assert await after(BACKLOG, StoreUnavailable("Temporal", "asking", "gone")) == {}


async def test_reader_goes_on_after_a_failure():
    reported = await after(StoreUnavailable("Temporal", "asking", "gone"), ValueError("no report"), BACKLOG)
    assert reported["oncelog_pending_commands", "0", "BulkCommand"] == 1
