"""The common part of the programs that drive something from the stream of events: their stores and their metrics."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from oncelog.metrics import REGISTRY
from oncelog.metrics_server import metrics_served
from oncelog.read_models.projector.loop import Projector
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from oncelog.stores.s3 import prepare_bucket


@asynccontextmanager
async def log_and_stream(settings: Settings) -> AsyncIterator[Stores]:
    """Connect, for the length of a block; S3 and Kafka are asked and prepared. Raises StoreUnavailable, StoreUnsafe."""
    async with await Stores.connect(settings) as stores:
        await asyncio.gather(prepare_bucket(stores.bucket), stores.kafka.prepare())
        await stores.kafka.open()
        yield stores


async def run_served(
    projector: Projector,
    settings: Settings,
    stopping: asyncio.Event,
    metrics: ProjectorMetrics,
    *,
    on_start: Callable[[], object],
) -> None:
    """Run the projector until ``stopping`` is set, and serve its metrics and probes meanwhile.

    ``on_start``: called once they are served.
    """
    async with metrics_served(
        settings.projector_metrics_address,
        [metrics.registry, REGISTRY],
        setting="ONCELOG_PROJECTOR_METRICS_ADDRESS",
        ready=lambda: not stopping.is_set(),
    ):
        on_start()
        await projector.run(stopping)
