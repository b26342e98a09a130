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
from oncelog.settings import Settings
from oncelog.write.delivery import Deliverer
from oncelog.write.write_path import WritePath


@dataclass(frozen=True)
class BulkPipeline:
    """The services of a worker for bulk commands; leases, states and documents are shared with single commands."""

    opener: BulkOpener
    runner: BulkRunner
    reporter: BulkReporter


def assemble_bulk(path: WritePath, deliverer: Deliverer, settings: Settings) -> BulkPipeline:
    """Build the path of bulk commands; all of them together keep no more requests to S3 going than it may have."""
    requests = asyncio.Semaphore(settings.s3.connections_max)
    items = BulkItems(path.ports.large_objects, chunk_items_max=settings.bulk_chunk_items_max)
    chunk_planner = ChunkPlanner(path, items=items, requests=requests)
    return BulkPipeline(
        opener=BulkOpener(path, items=items),
        runner=BulkRunner(
            chunk_planner=chunk_planner,
            committer=ChunkCommitter(path, chunk_planner=chunk_planner, requests=requests),
            delivery=ChunkDelivery(path, deliverer=deliverer, requests=requests),
            records=path.ports.chunk_records,
        ),
        reporter=BulkReporter(path.ports),
    )
