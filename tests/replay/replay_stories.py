"""Stories of replays and archive runs, for recorded histories."""

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from temporalio.client import Client, WorkflowHandle

from oncelog.archive.run import ArchivePlan, ArchiveProgress, ArchiveRequest
from oncelog.composition.replays import assemble_replays
from oncelog.replay_runs.request import ReplayMode, ReplayProgress, ReplayRequest, ReplayScope
from oncelog.workflows.archive import Archive
from oncelog.workflows.replay import Replay
from tests.commands import create
from tests.integration.installation import until_pending
from tests.workflows.conftest import TASK_QUEUE
from tests.write.world import World

AnyHandle = WorkflowHandle[Any, Any]

PRODUCTS = ReplayScope(db_name="shop", class_id="Product")


async def _filled(world: World, count: int = 3) -> None:
    for number in range(count):
        await world.process().run(create(f"p{number}"))


async def _start(client: Client, request: ReplayRequest) -> AnyHandle:
    return await client.start_workflow(Replay.run, request, id="replay-1", task_queue=TASK_QUEUE)


async def _replayed(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    return await _start(client, ReplayRequest(parallel=2, partition_events=1))


async def _replay_planned(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    return await _start(client, ReplayRequest(dry_run=True))


async def _replay_without_s3(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    world.bucket.available = False
    handle = await _start(client, ReplayRequest())
    await until_pending(handle)
    world.bucket.available = True
    return handle


async def _replay_paused_and_resumed(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    world.bucket.available = False
    handle = await _start(client, ReplayRequest(parallel=1, partition_events=1))
    await until_pending(handle)
    await handle.signal(Replay.pause)
    world.bucket.available = True
    while not (await handle.query(Replay.progress)).totals:
        pass
    await handle.signal(Replay.resume)
    return handle


async def _replay_cancelled(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    world.bucket.available = False
    handle = await _start(client, ReplayRequest())
    await until_pending(handle)
    await handle.cancel()
    return handle


async def _replay_continued(client: Client, world: World) -> AnyHandle:
    """A run that goes on where another one ended because of its long history."""
    await _filled(world)
    request = ReplayRequest(partition_events=1)
    runner = assemble_replays(world.ports())
    totals = await runner.plan("replay-1", request)
    counts = await runner.partition("replay-1", request, 0)
    so_far = ReplayProgress(totals=totals, started_at=datetime(2026, 1, 1, tzinfo=UTC), next_partition=1, counts=counts)
    return await _start(client, request.model_copy(update={"so_far": so_far}))


async def _exported(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    return await _start(client, ReplayRequest(mode=ReplayMode.AS_OF, scope=PRODUCTS))


async def _rebuilt(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    return await _start(client, ReplayRequest(mode=ReplayMode.REBUILD, scope=PRODUCTS))


async def _republished(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    world.topics.topics["new"] = []
    return await _start(client, ReplayRequest(mode=ReplayMode.REPUBLISH, topic="new"))


async def _republish_refused(client: Client, world: World) -> AnyHandle:
    """The topic is missing: the replay ends instead of waiting for it."""
    await _filled(world)
    return await _start(client, ReplayRequest(mode=ReplayMode.REPUBLISH, topic="missing"))


async def _restored(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    world.documents.clear()
    world.redis.flush()
    world.publisher.make_anew()
    return await _start(client, ReplayRequest(mode=ReplayMode.RESTORE))


async def _no_replay(client: Client, _world: World) -> AnyHandle:
    return await client.start_workflow("Replay", {"mode": "?"}, id="replay-1", task_queue=TASK_QUEUE)


async def _start_archive(client: Client, request: ArchiveRequest) -> AnyHandle:
    return await client.start_workflow(Archive.run, request, id="archive-1", task_queue=TASK_QUEUE)


async def _archived(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    await world.process().run(create("n1", class_id="Note"))
    return await _start_archive(client, ArchiveRequest())


async def _archive_without_s3(client: Client, world: World) -> AnyHandle:
    await _filled(world)
    world.bucket.available = False
    handle = await _start_archive(client, ArchiveRequest(db_name="shop"))
    await until_pending(handle)
    world.bucket.available = True
    return handle


async def _archive_continued(client: Client, world: World) -> AnyHandle:
    """A run that goes on where another one ended because of its long history."""
    await _filled(world)
    plan = ArchivePlan(started_at="2026-01-01T12:00:00.000000Z", classes=(("shop", "Product"),))
    return await _start_archive(client, ArchiveRequest(so_far=ArchiveProgress(plan=plan, total=2)))


async def _no_archive(client: Client, _world: World) -> AnyHandle:
    return await client.start_workflow("Archive", {"parallel": "?"}, id="archive-1", task_queue=TASK_QUEUE)


STORIES: dict[str, Callable[[Client, World], Coroutine[Any, Any, AnyHandle]]] = {
    "replayed": _replayed,
    "replay_planned": _replay_planned,
    "replay_without_s3": _replay_without_s3,
    "replay_paused_and_resumed": _replay_paused_and_resumed,
    "replay_cancelled": _replay_cancelled,
    "replay_continued": _replay_continued,
    "exported": _exported,
    "rebuilt": _rebuilt,
    "republished": _republished,
    "republish_refused": _republish_refused,
    "restored": _restored,
    "no_replay": _no_replay,
    "archived": _archived,
    "archive_without_s3": _archive_without_s3,
    "archive_continued": _archive_continued,
    "no_archive": _no_archive,
}
