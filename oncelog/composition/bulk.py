"""The path of bulk commands put together on the parts of one process's command path."""

import asyncio
from dataclasses import dataclass

from oncelog.bulk.chunk import ChunkCommitter
from oncelog.bulk.chunk_planner import ChunkProposer
from oncelog.bulk.delivery import ChunkDelivery
from oncelog.bulk.items import BulkItems
from oncelog.bulk.opening import BulkOpener
from oncelog.bulk.report import BulkReporter
from oncelog.bulk.run import BulkRunner
from oncelog.ports import Ports
from oncelog.replay.class_schemas import Definitions
from oncelog.replay.stream_reader import LogReader, StateCache
from oncelog.settings import Settings
from oncelog.write.command_outcomes import Receipts
from oncelog.write.delivery import Deliverer
from oncelog.write.lease_queue import TurnQueue
from oncelog.write.publication import Publication
from oncelog.write.stream_head import Positions
from oncelog.write.strictness import Strictness


@dataclass(frozen=True)
class BulkPipeline:
    """What a worker needs for bulk commands; turns, states and documents are shared with commands on one instance."""

    opener: BulkOpener
    runner: BulkRunner
    reporter: BulkReporter


def assemble_bulk(
    ports: Ports,
    settings: Settings,
    *,
    positions: Positions,
    queue: TurnQueue,
    publication: Publication,
    deliverer: Deliverer,
    definitions: Definitions,
    strictness: Strictness,
    reader: LogReader,
    cache: StateCache,
) -> BulkPipeline:
    """Build the path of bulk commands; all of them together keep no more requests to S3 going than it may have."""
    free = asyncio.Semaphore(settings.s3_connections_max)
    items = BulkItems(ports.large_objects, chunk_items_max=settings.bulk_chunk_items_max)
    proposer = ChunkProposer(ports, items=items, positions=positions, definitions=definitions, queue=queue, free=free)
    committer = ChunkCommitter(ports, proposer=proposer, definitions=definitions, reader=reader, cache=cache, free=free)
    delivery = ChunkDelivery(
        ports,
        publication=publication,
        deliverer=deliverer,
        free=free,
        snapshot_interval_events=settings.snapshot_interval_events,
    )
    return BulkPipeline(
        opener=BulkOpener(ports, receipts=Receipts(ports), items=items, strictness=strictness),
        runner=BulkRunner(proposer=proposer, committer=committer, delivery=delivery, records=ports.chunk_records),
        reporter=BulkReporter(ports),
    )
