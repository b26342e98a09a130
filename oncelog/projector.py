"""Keeps a read model up to date from the stream of events, beside as many others as you like, until told to stop.

--read-model MODULE:OBJECT, such as shop.views:orders, names one of your own; else ONCELOG_PROJECTOR_READ_MODEL does.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from functools import partial

import structlog

from oncelog.composition.own_models import own_services
from oncelog.composition.projector_program import log_and_stream, run_served
from oncelog.composition.read_models import assemble_projector, read_model_of, services_of
from oncelog.domain.event_schemas import check_event_schemas
from oncelog.ports import EventSubscription
from oncelog.process import leave
from oncelog.program import Run, crash_point, run_program
from oncelog.read_models.projector.loop import Projector
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.settings import Settings
from oncelog.stores.kafka.subscription import KafkaSubscription, projector_group
from oncelog.stores.opening import Stores

log = structlog.get_logger("oncelog.read_models.projector")


def new_projector(
    stores: Stores,
    settings: Settings,
    metrics: ProjectorMetrics,
    *,
    subscription: EventSubscription | None = None,
    after_step: AfterStep = nothing_after,
) -> Projector:
    """Build the projector of the settings' read model; ``subscription``: another one than that of its group."""
    read_model = read_model_of(settings.projector_read_model, stores.ports)
    return assemble_projector(
        stores.ports,
        services_of(read_model, stores.ports, aggregates_max=settings.cached_aggregates_max, by="oncelog-projector"),
        subscription=subscription or KafkaSubscription(settings, group=projector_group(read_model.name)),
        metrics=metrics,
        after_step=after_step,
    )


async def run_own(path: str, settings: Settings, stopping: asyncio.Event) -> None:
    """Do as ``run`` does with the read model of the application's own that ``module:object`` names.

    Needs S3, Kafka and the read model's own store. Raises InputInvalid besides.
    """
    check_event_schemas()
    async with log_and_stream(settings) as stores:
        opening = own_services(
            path, stores.ports, settings, aggregates_max=settings.cached_aggregates_max, by="oncelog-projector"
        )
        async with opening as services:
            name = services.read_model.name
            metrics = ProjectorMetrics(name)
            projector = assemble_projector(
                stores.ports,
                services,
                subscription=KafkaSubscription(settings, group=projector_group(name)),
                metrics=metrics,
                after_step=crash_point(settings),
            )
            await _serve(projector, settings, stopping, metrics)


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Connect, prepare the stores, and project until ``stopping`` is set.

    Needs no Temporal and no Redis. Raises OncelogError before any work is taken: SettingsInvalid, StoreUnsafe, or one
    StoreUnavailable that names every server which cannot be reached; SchemaGap if there are events that this release
    could not read. After that, it waits for servers that are away.
    """
    check_event_schemas()
    async with await Stores.connect(settings) as stores:
        await stores.prepare(with_redis=False)
        metrics = ProjectorMetrics(settings.projector_read_model)
        projector = new_projector(stores, settings, metrics, after_step=crash_point(settings))
        await _serve(projector, settings, stopping, metrics)


async def _serve(projector: Projector, settings: Settings, stopping: asyncio.Event, metrics: ProjectorMetrics) -> None:
    starts = partial(log.info, "projector_starts", pid=os.getpid(), metrics=settings.projector_metrics_address)
    await run_served(projector, settings, stopping, metrics, on_start=starts)
    log.info("projector_stopped")


def main(arguments: Sequence[str] | None = None, *, run: Run = run) -> int:
    """Run ``oncelog-projector``; returns its exit code, and ends the process where it is the program itself."""
    parser = argparse.ArgumentParser(prog="oncelog-projector", add_help=False)
    parser.add_argument("--read-model")
    options, rest = parser.parse_known_args(arguments)
    chosen = partial(run_own, options.read_model) if options.read_model else run
    code = run_program("oncelog-projector", str(__doc__), chosen, rest)
    return leave(code) if arguments is None else code


if __name__ == "__main__":
    sys.exit(main())
