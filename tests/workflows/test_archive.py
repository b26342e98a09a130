"""Archive runs as workflows, on a server whose clock skips and on servers in memory."""

from datetime import timedelta

import pytest
from temporalio.client import WorkflowFailureError

from oncelog.archive.log_part import LogPart
from oncelog.archive.log_reader import LogReader
from oncelog.archive.run import ArchiveReport, ArchiveRequest
from oncelog.ports import UNPUBLISHED
from oncelog.testing.memory.s3 import MemoryBucket
from oncelog.workflows.archive import Archive
from tests.contract.chains import chain
from tests.workflows.conftest import TASK_QUEUE, Bench

LIMIT = timedelta(minutes=30)


async def _logged(bench: Bench, *names: str) -> None:
    for name in names:
        for event in chain(3, name):
            await bench.world.ports().event_log.append_event(event, published_through=UNPUBLISHED)


async def _run(bench: Bench, request: ArchiveRequest | None = None, *, run_id: str = "archive-1") -> ArchiveReport:
    return await bench.client.execute_workflow(
        Archive.run, request, id=run_id, task_queue=TASK_QUEUE, execution_timeout=LIMIT
    )


async def _archived(bench: Bench) -> tuple[int, int]:
    """Return how many events a reader finds, and how many of them in the archive."""
    reader = LogReader(bench.world.ports())
    batches = [batch async for batch in reader.batches(LogPart(db_name="shop", class_id="Product"))]
    return sum(len(batch.events) for batch in batches), sum(batch.archived for batch in batches)


async def test_a_run_archives_every_class(bench: Bench):
    await _logged(bench, "a", "b")
    report = await _run(bench)
    assert (report.counts.classes, report.counts.events, report.damaged) == (1, 6, False)
    assert await _archived(bench) == (6, 6)
    await _logged(bench, "c")
    assert await _archived(bench) == (9, 6)
    assert (await _run(bench, run_id="archive-2")).counts.events == 3
    assert await _archived(bench) == (9, 9)
    manifest = (await bench.world.ports().archives.newest_manifest("shop", "Product")).manifest
    assert manifest.complete_through is not None


async def test_a_run_of_one_class_leaves_out_others(bench: Bench):
    await _logged(bench, "a")
    report = await _run(bench, ArchiveRequest(db_name="shop", class_id="Order"))
    assert report.counts.events == 0
    assert await _archived(bench) == (3, 0)


async def test_a_lost_file_is_made_again_by_the_next_run(bench: Bench):
    await _logged(bench, "a", "b")
    await _run(bench)
    bucket: MemoryBucket = bench.world.bucket
    for key in [key for key in bucket.objects if key.endswith(".parquet")]:
        del bucket.objects[key]
    report = await _run(bench, run_id="archive-2")
    assert (report.counts.lost, report.counts.events) == (1, 6)
    assert await _archived(bench) == (6, 6)


async def test_a_run_ends_after_an_outage(bench: Bench):
    await _logged(bench, "a")
    bench.world.bucket.available = False
    handle = await bench.client.start_workflow(Archive.run, None, id="archive-1", task_queue=TASK_QUEUE)
    await bench.env.sleep(timedelta(hours=3))
    bench.world.bucket.available = True
    assert (await handle.result()).counts.events == 3


async def test_what_is_no_request_fails_at_once(bench: Bench):
    with pytest.raises(WorkflowFailureError, match="Workflow execution failed"):
        await bench.plain.execute_workflow(
            "Archive", {"db_name": "shop", "class_id": "a/b"}, id="archive-1", task_queue=TASK_QUEUE
        )
