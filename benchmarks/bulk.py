"""A bulk command's path without Temporal: open, then chunk by chunk bind, persist, publish, project; then report."""

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from benchmarks.commands import payload
from oncelog.bulk.run import Progress, RunControl
from oncelog.client.client import new_command_id
from oncelog.composition.pipeline import Pipeline, assemble
from oncelog.domain.bulk.command import Bulk, BulkType
from oncelog.domain.bulk.plan import lines_of
from oncelog.domain.bulk.records import BulkRecord
from oncelog.replay.trace import Trace, nothing_after, utc_now
from oncelog.settings import Settings
from oncelog.stores.opening import Stores


@dataclass(frozen=True)
class BulkPath:
    """``prepare``: uploads so many items, and returns what applies them: only that is measured."""

    prepare: Callable[[int], Awaitable[Callable[[], Awaitable[None]]]]
    stores: Stores


@asynccontextmanager
async def bulk(
    settings: Settings,
    *,
    class_id: str = "Product",
    payload_of: Callable[[str], dict[str, object]] = lambda _: payload(),
) -> AsyncIterator[BulkPath]:
    """Creations of new instances, which are in S3, on Kafka and in Elasticsearch when it returns.

    ``payload_of``: the data of an instance, by its ID.
    """
    async with await Stores.connect(settings) as stores:
        pipeline = assemble(stores.ports, settings)

        async def prepare(events: int) -> Callable[[], Awaitable[None]]:
            command_id = new_command_id()
            names = [f"{command_id}-{index}" for index in range(events)]
            items = [{"instance_id": name, "payload": payload_of(name)} for name in names]
            body = b"".join(lines_of(items))
            key = f"payloads/{command_id}.ndjson"
            await stores.bucket.put(key, body)
            reference = {"items_key": key, "items_sha256": hashlib.sha256(body).hexdigest(), "items_count": events}
            command = Bulk.model_validate(
                {
                    "command_id": command_id,
                    "command_type": BulkType.BULK_CREATE_INSTANCES,
                    "db_name": "bench",
                    "class_id": class_id,
                    "payload": reference,
                }
            )
            return lambda: _apply(pipeline, command, events)

        yield BulkPath(prepare, stores)
        await pipeline.close()


async def _apply(pipeline: Pipeline, command: Bulk, events: int) -> None:
    path, trace = pipeline.bulk, Trace(nothing_after)
    opened = await path.opener.open(command, occurred_at=utc_now(), trace=trace)
    assert isinstance(opened, BulkRecord), opened
    run_control = RunControl(lambda: False, lambda _: None, nothing_after)
    progress = await path.runner.run(opened, Progress(next_chunk=1), run_control)
    assert not progress.undelivered, progress
    result = await path.reporter.report(opened, trace=trace)
    assert result.counts.applied == events, result
