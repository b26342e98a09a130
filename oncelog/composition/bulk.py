"""The path of bulk commands put together on the parts of one process's command path."""

import asyncio
from dataclasses import dataclass

from oncelog.bulk.chunk import ChunkCommitter
from oncelog.bulk.chunk_planner import ChunkPlanner
from oncelog.bulk.delivery import ChunkDelivery
from oncelog.bulk.items import BulkItems
from oncelog.bulk.opening import BulkOpener
from oncelog.bulk.report import BulkReporter
from oncelog.bulk.run import BulkRunner
from oncelog.ports import Ports
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.settings import Settings
from oncelog.write.command_outcomes import CommandOutcomes
from oncelog.write.delivery import Deliverer
from oncelog.write.lease_queue import LeaseQueue
from oncelog.write.publication import Publication
from oncelog.write.stream_head import StreamHeads
from oncelog.write.strictness import Strictness


@dataclass(frozen=True)
class BulkPipeline:
    """The services of a worker for bulk commands; turns, states and documents are shared with commands on one
    instance.
    """

    opener: BulkOpener
    runner: BulkRunner
    reporter: BulkReporter


def assemble_bulk(
    ports: Ports,
    settings: Settings,
    *,
    positions: StreamHeads,
    queue: LeaseQueue,
    publication: Publication,
    deliverer: Deliverer,
    class_schemas: ClassSchemas,
    strictness: Strictness,
    reader: StreamReader,
    cache: StateCache,
) -> BulkPipeline:
    """Build the path of bulk commands; all of them together keep no more requests to S3 going than it may have."""
    free = asyncio.Semaphore(settings.s3_connections_max)
    items = BulkItems(ports.large_objects, chunk_items_max=settings.bulk_chunk_items_max)
    chunk_planner = ChunkPlanner(
        ports, items=items, positions=positions, class_schemas=class_schemas, queue=queue, free=free
    )
    committer = ChunkCommitter(
        ports, chunk_planner=chunk_planner, class_schemas=class_schemas, reader=reader, cache=cache, free=free
    )
    delivery = ChunkDelivery(
        ports,
        publication=publication,
        deliverer=deliverer,
        free=free,
        snapshot_interval_events=settings.snapshot_interval_events,
    )
    return BulkPipeline(
        opener=BulkOpener(ports, command_outcomes=CommandOutcomes(ports), items=items, strictness=strictness),
        runner=BulkRunner(
            chunk_planner=chunk_planner, committer=committer, delivery=delivery, records=ports.chunk_records
        ),
        reporter=BulkReporter(ports),
    )
