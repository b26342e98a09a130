"""The backlog and the lag of read models as metrics of a worker: read now and then, never for a command."""

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import Generic, TypeVar

import structlog
from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from oncelog.client.backlog import Backlog
from oncelog.errors import OncelogError
from oncelog.stores.kafka.lag import ProjectorLag

#: Some five requests to Temporal, and some five to Kafka; alerts on the backlog wait for minutes.
READ_EVERY_S = 30.0

T = TypeVar("T")

_log = structlog.get_logger("oncelog.worker")


class PolledMetrics(Collector, Generic[T]):
    """The newest answer that was read, for a registry to collect; nothing of it while its server does not answer."""

    def __init__(self, *, failed: str) -> None:
        """``failed``: the log's event when the server stops to answer."""
        self.registry = CollectorRegistry()
        self._failed = failed
        self.newest: T | None = None
        self.registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as ``prometheus_client`` asks for them."""
        if self.newest is not None:
            yield from self._metrics(self.newest)

    @abstractmethod
    def _metrics(self, newest: T) -> Iterator[Metric]: ...

    @contextlib.asynccontextmanager
    async def refreshed(
        self, read: Callable[[], Awaitable[T]], *, every_s: float = READ_EVERY_S
    ) -> AsyncIterator[None]:
        """Read for the length of a block, at once and then every so many seconds."""
        task = asyncio.create_task(self._refresh(read, every_s))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _refresh(self, read: Callable[[], Awaitable[T]], every_s: float) -> None:
        answered = True
        while True:
            try:
                self.newest, answered = await read(), True
            except (OncelogError, RuntimeError, ValueError) as error:  # or a result that this release cannot read
                if answered:
                    _log.warning(self._failed, reason=str(error))
                self.newest, answered = None, False
            await asyncio.sleep(every_s)


class BacklogMetrics(PolledMetrics[Backlog]):
    """The work that waits, as Temporal tells it."""

    def __init__(self, *, archive_interval_s: int) -> None:
        super().__init__(failed="backlog_not_read")
        self._archive_interval_s = archive_interval_s

    def _metrics(self, newest: Backlog) -> Iterator[Metric]:
        pending = GaugeMetricFamily(
            "oncelog_pending_commands",
            "Commands that have not ended, by workflow and the seconds since they were started, at least.",
            labels=("workflow_type", "older_than_s"),
        )
        for (workflow, age_s), count in newest.pending.items():
            pending.add_metric((workflow, str(age_s)), count)
        yield pending
        yield GaugeMetricFamily(
            "oncelog_archive_interval_seconds",
            "Seconds between scheduled archive runs; 0: none.",
            self._archive_interval_s,
        )
        if (through := newest.archived_through) is not None:
            yield GaugeMetricFamily(
                "oncelog_archived_through_timestamp_seconds",
                "What was written before it is in the archive, as Unix time.",
                through.timestamp(),
            )
        if (since := newest.archive_scheduled) is not None:
            yield GaugeMetricFamily(
                "oncelog_archive_scheduled_timestamp_seconds",
                "Since when archive runs are scheduled, as Unix time.",
                since.timestamp(),
            )


class LagMetrics(PolledMetrics[Sequence[ProjectorLag]]):
    """How far read models are behind, as Kafka tells it: so a projector that is stuck, or that is not there, counts."""

    def __init__(self) -> None:
        super().__init__(failed="lag_not_read")

    def _metrics(self, newest: Sequence[ProjectorLag]) -> Iterator[Metric]:
        age = GaugeMetricFamily(
            "oncelog_projection_oldest_age_seconds",
            "How long ago the oldest message was sent that projectors have not committed; 0 if they have all.",
            labels=("read_model",),
        )
        waiting = GaugeMetricFamily(
            "oncelog_projection_waiting_messages",
            "Messages that projectors have not committed.",
            labels=("read_model",),
        )
        for lag in newest:
            if lag.awaited:
                age.add_metric((lag.read_model,), lag.oldest_age_s)
                waiting.add_metric((lag.read_model,), lag.behind)
        yield age
        yield waiting
