"""The backlog and the lag as a worker reports them: all while the server answers, nothing while it does not."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from oncelog.client.backlog import Backlog
from oncelog.client.backlog_metrics import BacklogMetrics, LagMetrics, PolledMetrics
from oncelog.errors import StoreUnavailable
from oncelog.stores.kafka.lag import ProjectorLag

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
BACKLOG = Backlog({("InstanceCommand", 0): 7, ("InstanceCommand", 600): 2, ("BulkCommand", 0): 1})
LAGS = [
    ProjectorLag("documents", {0: 0, 1: 0}, committed=True),
    ProjectorLag("graph", {0: 9, 1: 0}, committed=False, awaited=False),
    ProjectorLag("orders", {0: 2, 1: 5}, committed=True, oldest_age_s=4_000.5),
]


class Answers:
    """Gives one answer after the other, and lets a test wait until the next is asked for."""

    def __init__(self, *answers: Any) -> None:
        self._answers = list(answers)
        self.used_up = asyncio.Event()

    async def read(self) -> Any:
        if not self._answers:
            self.used_up.set()
            await asyncio.Event().wait()
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def samples(metrics: PolledMetrics[Any]) -> dict[tuple[str, ...], float]:
    families = text_string_to_metric_families(generate_latest(metrics.registry).decode())
    return {
        (each.name, *dict(sorted(each.labels.items())).values()): each.value
        for family in families
        for each in family.samples
    }


async def reported(metrics: PolledMetrics[Any], answers: Sequence[Any]) -> dict[tuple[str, ...], float]:
    reader = Answers(*answers)
    async with metrics.refreshed(reader.read, every_s=0):
        await reader.used_up.wait()
    return samples(metrics)


async def after(*answers: Backlog | Exception) -> dict[tuple[str, ...], float]:
    return await reported(BacklogMetrics(archive_interval_s=60), answers)


async def test_pending_commands_are_reported_by_age():
    found = await after(BACKLOG)
    assert found["oncelog_pending_commands", "600", "InstanceCommand"] == 2
    assert found["oncelog_archive_interval_seconds",] == 60
    assert {name for name, *_ in found} == {"oncelog_pending_commands", "oncelog_archive_interval_seconds"}
    assert (BACKLOG.count(), BACKLOG.count(older_than_s=600)) == (8, 2)


async def test_archive_is_reported_once_it_is_known():
    found = await after(BACKLOG, Backlog({}, archived_through=NOON, archive_scheduled=NOON))
    assert found["oncelog_archived_through_timestamp_seconds",] == NOON.timestamp()
    assert found["oncelog_archive_scheduled_timestamp_seconds",] == NOON.timestamp()


async def test_nothing_is_reported_while_temporal_is_silent():
    assert await after(BACKLOG, StoreUnavailable("Temporal", "asking", "gone")) == {}


async def test_reader_goes_on_after_a_failure():
    found = await after(StoreUnavailable("Temporal", "asking", "gone"), ValueError("no report"), BACKLOG)
    assert found["oncelog_pending_commands", "0", "BulkCommand"] == 1


async def test_lag_is_reported_of_read_models_that_projectors_keep():
    assert await reported(LagMetrics(), [LAGS]) == {
        ("oncelog_projection_oldest_age_seconds", "documents"): 0,
        ("oncelog_projection_oldest_age_seconds", "orders"): 4_000.5,
        ("oncelog_projection_waiting_messages", "documents"): 0,
        ("oncelog_projection_waiting_messages", "orders"): 7,
    }


async def test_no_lag_is_reported_while_kafka_is_silent():
    assert await reported(LagMetrics(), [LAGS, StoreUnavailable("Kafka", "asking", "gone")]) == {}
