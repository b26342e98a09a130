"""The path of bulk commands put together on the parts of one process's command path."""

import asyncio
from dataclasses import dataclass

from oncelog.pipeline.bulk.chunks import ChunkCommitter
from oncelog.pipeline.bulk.delivery import ChunkDelivery
from oncelog.pipeline.bulk.items import BulkItems
from oncelog.pipeline.bulk.opening import BulkOpener
from oncelog.pipeline.bulk.proposing import ChunkProposer
from oncelog.pipeline.bulk.reporting import BulkReporter
from oncelog.pipeline.bulk.running import BulkRunner
from oncelog.pipeline.definitions import Definitions
from oncelog.pipeline.delivering import Deliverer
from oncelog.pipeline.log_reader import LogReader, StateCache
from oncelog.pipeline.positions import Positions
from oncelog.pipeline.publication import Publication
from oncelog.pipeline.receipts import Receipts
from oncelog.pipeline.strictness import Strictness
from oncelog.pipeline.turn_queue import TurnQueue
from oncelog.ports import Ports
from oncelog.settings import Settings


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
