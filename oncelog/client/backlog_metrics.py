"""The backlog as metrics of a worker: read now and then, never for a command."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from oncelog.client.backlog import Backlog, BacklogReader
from oncelog.errors import StoreUnavailable

#: Some five requests to Temporal each time; alerts on the backlog wait for minutes.
READ_EVERY_S = 30.0

_log = structlog.get_logger("oncelog.worker")


class BacklogMetrics(Collector):
    """The newest backlog that was read, for a registry to collect; nothing of it while Temporal does not answer."""

    def __init__(self, *, archive_interval_s: int) -> None:
        self.registry = CollectorRegistry()
        self.backlog: Backlog | None = None
        self._archive_interval_s = archive_interval_s
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as ``prometheus_client`` asks for them."""
        if self.backlog is None:
            return
        pending = GaugeMetricFamily(
            "oncelog_pending_commands",
            "Commands that have not ended, by workflow and the seconds since they were started, at least.",
            labels=("workflow_type", "older_than_s"),
        )
        for (workflow, age_s), count in self.backlog.pending.items():
            pending.add_metric((workflow, str(age_s)), count)
        yield pending
        yield GaugeMetricFamily(
            "oncelog_archive_interval_seconds",
            "Seconds between scheduled archive runs; 0: none.",
            self._archive_interval_s,
        )
        if (through := self.backlog.archived_through) is not None:
            yield GaugeMetricFamily(
                "oncelog_archived_through_timestamp_seconds",
                "What was written before it is in the archive, as Unix time.",
                through.timestamp(),
            )
        if (since := self.backlog.archive_scheduled) is not None:
            yield GaugeMetricFamily(
                "oncelog_archive_scheduled_timestamp_seconds",
                "Since when archive runs are scheduled, as Unix time.",
                since.timestamp(),
            )

    @contextlib.asynccontextmanager
    async def refreshed(self, reader: BacklogReader, *, every_s: float = READ_EVERY_S) -> AsyncIterator[None]:
        """Read the backlog for the length of a block, at once and then every so many seconds."""
        task = asyncio.create_task(self._refresh(reader, every_s))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _refresh(self, reader: BacklogReader, every_s: float) -> None:
        answered = True
        while True:
            try:
                self.backlog, answered = await reader.read(), True
            except (StoreUnavailable, RuntimeError, ValueError) as error:  # or a result that this release cannot read
                if answered:
                    _log.warning("backlog_not_read", reason=str(error))
                self.backlog, answered = None, False
            await asyncio.sleep(every_s)
