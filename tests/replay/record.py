"""Records histories: ``python -m tests.replay.record RELEASE [STORY ...]``, with the variables of a running stack.

A history is committed once and then kept: it is what a workflow of that release left in Temporal, and a later release
must still be able to go on with it. So a changed workflow gets new histories beside the old ones, which stay.
"""

import asyncio
import json
import re
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch

from temporalio.client import Client, WithStartWorkflowOperation, WorkflowFailureError, WorkflowHandle
from temporalio.common import WorkflowIDConflictPolicy

import oncelog.activities.bulk
import oncelog.workflows.command
from oncelog.activities.bulk_models import BulkStage
from oncelog.activities.check_models import CheckRequest
from oncelog.domain.aggregates import registered
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import Command
from oncelog.domain.limits import DEPTH_MAX
from oncelog.domain.results import CommandResult
from oncelog.settings import Settings
from oncelog.workflows import policies
from oncelog.workflows.bulk import BulkCommand
from oncelog.workflows.check import ConsistencyCheck
from oncelog.workflows.command import ClassCommand, InstanceCommand
from oncelog.workflows.presentation import search_attributes, summary
from tests.bulks import bulk_create, item, reference
from tests.classes import FIRST, SECOND, define, retire
from tests.commands import create, delete, update
from tests.integration.installation import new_temporal, until_pending
from tests.own_domain import ACCOUNT, account_command
from tests.replay import replay_stories
from tests.workflows.conftest import TASK_QUEUE, running_worker
from tests.write.world import World

FOLDER = Path(__file__).parent / "histories"

#: ``process@host``, which names the process that polled a queue and queues of its own.
PROCESS = re.compile(r"^\d+@.+")

Handle = WorkflowHandle[InstanceCommand, CommandResult]
AnyHandle = WorkflowHandle[Any, Any]


async def _start(client: Client, command: Command, **more: Any) -> Handle:
    return await client.start_workflow(
        InstanceCommand.run, command, id=command.command_id, task_queue=TASK_QUEUE, **more
    )


async def _applied(client: Client, _world: World) -> Handle:
    return await _start(client, create(payload={"name": "Lamp"}))


async def _started_by_oncelog(client: Client, _world: World) -> Handle:
    command = create(payload={"name": "Lamp"})
    return await _start(client, command, search_attributes=search_attributes(command), static_summary=summary(command))


async def _changed_and_deleted(client: Client, _world: World) -> Handle:
    for command in (create(), update()):
        await (await _start(client, command)).result()
    return await _start(client, delete())


async def _refused(client: Client, _world: World) -> Handle:
    return await _start(client, update())


async def _own_command(client: Client, _world: World) -> Handle:
    """A command of an aggregate of one's own; recording and replaying differ in whether its code is there."""
    with registered(ACCOUNT):
        handle = await _start(client, account_command("DEPOSIT", 10))
        await handle.result()
    return handle


async def _own_command_refused(client: Client, _world: World) -> Handle:
    with registered(ACCOUNT):
        handle = await _start(client, account_command("WITHDRAW", 10))
        await handle.result()
    return handle


async def _no_command(client: Client, _world: World) -> Handle:
    await client.start_workflow("InstanceCommand", args=[{"command_type": "?"}], id="rubbish", task_queue=TASK_QUEUE)
    return client.get_workflow_handle_for(InstanceCommand.run, "rubbish")


async def _refused_by_input_rules(client: Client, _world: World) -> Handle:
    """A command that earlier rules took: its history says that the rules of today refused it."""
    return await _start_raw(client, TASK_QUEUE)


async def _accepted_by_earlier_rules(client: Client, world: World) -> Handle:
    """The same one as a release with earlier rules left it: its history says nothing of rules."""
    by_earlier_rules = patch.object(oncelog.workflows.command, "judged", lambda parse, value: parse(value, stored=True))
    with by_earlier_rules:
        async with running_worker(client, world, task_queue="earlier", sandboxed=False):
            handle = await _start_raw(client, "earlier")
            await handle.result()
    return handle


async def _start_raw(client: Client, task_queue: str) -> Handle:
    """Start the creation of an instance one level deeper than the rules of today allow."""
    deep: dict[str, Any] = {}
    for _ in range(DEPTH_MAX + 1):
        deep = {"part": deep}
    command = {**create().model_dump(mode="json"), "payload": deep}
    handle: Handle = await client.start_workflow(
        "InstanceCommand", command, id=command["command_id"], task_queue=task_queue, result_type=CommandResult
    )
    return handle


async def _asked_early(client: Client, _world: World) -> Handle:
    command = create()
    starting: WithStartWorkflowOperation[InstanceCommand, CommandResult] = WithStartWorkflowOperation(
        InstanceCommand.run,
        command,
        id=command.command_id,
        task_queue=TASK_QUEUE,
        id_conflict_policy=WorkflowIDConflictPolicy.USE_EXISTING,
    )
    await client.execute_update_with_start_workflow(InstanceCommand.accepted, start_workflow_operation=starting)
    return await starting.workflow_handle()


async def _without_redis(client: Client, world: World) -> Handle:
    return await _through_an_outage(client, world.redis)


async def _without_s3_and_cancelled(client: Client, world: World) -> Handle:
    return await _through_an_outage(client, world.bucket, meanwhile=lambda handle: handle.cancel())


async def _without_kafka(client: Client, world: World) -> Handle:
    return await _through_an_outage(client, world.publisher)


async def _without_elasticsearch(client: Client, world: World) -> Handle:
    return await _through_an_outage(client, world.documents)


async def _through_an_outage(
    client: Client, server: Any, meanwhile: Callable[[Handle], Coroutine[Any, Any, None]] | None = None
) -> Handle:
    server.available = False
    handle = await _start(client, create())
    await until_pending(handle)
    if meanwhile:
        await meanwhile(handle)
    server.available = True
    return handle


async def _checked(client: Client, world: World) -> AnyHandle:
    """A check that finds an orphan and finishes it."""
    await _orphan(world)
    return await _start_check(client, CheckRequest(repair=True, grace_s=0, db_name="shop"))


async def _checked_and_counted(client: Client, world: World) -> AnyHandle:
    """A check as the command line starts it, which counts what there is to look at."""
    await _orphan(world)
    return await _start_check(client, CheckRequest(repair=True, grace_s=0, count=True))


async def _checked_through_an_outage(client: Client, world: World) -> AnyHandle:
    await _orphan(world)
    world.redis.available = False
    handle = await _start_check(client, CheckRequest(repair=True, grace_s=0))
    await until_pending(handle)
    world.redis.available = True
    return handle


async def _checked_invariants(client: Client, world: World) -> AnyHandle:
    """A check that proves the invariants, and sends its first probe."""
    await world.process().complete(create())
    return await _start_check(client, CheckRequest(grace_s=0, probe=True))


async def _checked_with_classes(client: Client, world: World) -> AnyHandle:
    """A check that brings documents along which a definition's workflow left where they were."""
    process = world.process()
    for command in (define(FIRST), create(payload={"name": "Lamp"}), define(SECOND)):
        await process.complete(command)
    return await _start_check(client, CheckRequest(repair=True, grace_s=0))


async def _no_check(client: Client, _world: World) -> AnyHandle:
    return await client.start_workflow("ConsistencyCheck", args=[{}, {}], id="check", task_queue=TASK_QUEUE)


async def _orphan(world: World) -> None:
    async def die(step: str) -> None:
        if step == "record":
            raise ConnectionResetError

    with suppress(ConnectionResetError):
        await world.process().commit(create(), after_step=die)


async def _start_check(client: Client, request: CheckRequest) -> AnyHandle:
    return await client.start_workflow(ConsistencyCheck.run, request, id="check", task_queue=TASK_QUEUE)


async def _start_class(client: Client, command: Command) -> AnyHandle:
    return await client.start_workflow(ClassCommand.run, command, id=command.command_id, task_queue=TASK_QUEUE)


async def _class_defined(client: Client, _world: World) -> AnyHandle:
    return await _start_class(client, define(FIRST))


async def _class_evolved(client: Client, _world: World) -> AnyHandle:
    await (await _start_class(client, define(FIRST))).result()
    await (await _start(client, create(payload={"name": "Lamp", "price": "12.50"}))).result()
    return await _start_class(client, define(SECOND))


async def _class_refused(client: Client, _world: World) -> AnyHandle:
    return await _start_class(client, define({"version": "?"}))


async def _class_retired(client: Client, _world: World) -> AnyHandle:
    await (await _start_class(client, define(FIRST))).result()
    return await _start_class(client, retire())


async def _class_without_elasticsearch(client: Client, world: World) -> AnyHandle:
    world.documents.available = False
    handle = await _start_class(client, define(FIRST))
    await until_pending(handle)
    world.documents.available = True
    return handle


async def _start_bulk(client: Client, bulk: Bulk, task_queue: str = TASK_QUEUE) -> AnyHandle:
    return await client.start_workflow(BulkCommand.run, bulk, id=bulk.command_id, task_queue=task_queue)


async def _bulk_applied(client: Client, _world: World) -> AnyHandle:
    return await _start_bulk(client, bulk_create(item("p1", {"n": 1}), item("p2"), 7, item("p1"), item("p3")))


async def _bulk_refused(client: Client, _world: World) -> AnyHandle:
    return await _start_bulk(client, bulk_create(payload=reference([item("p1")])[0]))


async def _no_bulk_command(client: Client, _world: World) -> AnyHandle:
    return await client.start_workflow("BulkCommand", args=[{"items": 5}], id="rubbish", task_queue=TASK_QUEUE)


async def _bulk_paused_and_resumed(client: Client, world: World) -> AnyHandle:
    handle = await _paused_bulk(client, world)
    await handle.signal(BulkCommand.resume)
    return handle


async def _bulk_paused_and_cancelled(client: Client, world: World) -> AnyHandle:
    handle = await _paused_bulk(client, world)
    await handle.cancel()
    return handle


async def _bulk_cancelled(client: Client, world: World) -> AnyHandle:
    handle = await _begun_bulk(client, world)
    await handle.cancel()
    return handle


async def _bulk_without_s3(client: Client, world: World) -> AnyHandle:
    return await _bulk_through_an_outage(client, world.bucket)


async def _bulk_without_kafka(client: Client, world: World) -> AnyHandle:
    return await _bulk_through_an_outage(client, world.publisher)


async def _bulk_continued(client: Client, world: World) -> AnyHandle:
    """The second run of a long one; the first one ends early, which the second does not know of."""
    bulk = bulk_create(*(item(f"p{number}") for number in range(4)))
    until_new_run, oncelog.activities.bulk.SEGMENT_CHUNKS_MAX = policies.BULK_SEGMENTS_PER_RUN, 1
    policies.BULK_SEGMENTS_PER_RUN = 1
    try:
        async with running_worker(client, world, task_queue="patched", sandboxed=False):
            handle = await _start_bulk(client, bulk, "patched")
            await handle.result()
    finally:
        policies.BULK_SEGMENTS_PER_RUN = until_new_run
    return handle


async def _bulk_through_an_outage(client: Client, server: Any) -> AnyHandle:
    server.available = False
    handle = await _start_bulk(client, bulk_create(*(item(f"p{number}") for number in range(5))))
    await until_pending(handle)
    server.available = True
    return handle


async def _paused_bulk(client: Client, world: World) -> AnyHandle:
    handle = await _begun_bulk(client, world)
    await handle.signal(BulkCommand.pause)
    while (await handle.query(BulkCommand.progress)).stage is not BulkStage.PAUSED:
        await asyncio.sleep(0.05)
    return handle


async def _begun_bulk(client: Client, world: World) -> AnyHandle:
    async def slowly() -> None:
        await asyncio.sleep(0.02)

    world.bucket.pause = slowly
    handle = await _start_bulk(client, bulk_create(*(item(f"p{number}") for number in range(60))))
    while not world.logs():
        await asyncio.sleep(0.01)
    return handle


STORIES: dict[str, Callable[[Client, World], Coroutine[Any, Any, AnyHandle]]] = {
    "applied": _applied,
    "started_by_oncelog": _started_by_oncelog,
    "changed_and_deleted": _changed_and_deleted,
    "refused": _refused,
    "own_command": _own_command,
    "own_command_refused": _own_command_refused,
    "no_command": _no_command,
    "refused_by_input_rules": _refused_by_input_rules,
    "accepted_by_earlier_rules": _accepted_by_earlier_rules,
    "asked_early": _asked_early,
    "without_redis": _without_redis,
    "without_s3_and_cancelled": _without_s3_and_cancelled,
    "without_kafka": _without_kafka,
    "without_elasticsearch": _without_elasticsearch,
    "checked": _checked,
    "checked_and_counted": _checked_and_counted,
    "checked_through_an_outage": _checked_through_an_outage,
    "checked_with_classes": _checked_with_classes,
    "checked_invariants": _checked_invariants,
    "no_check": _no_check,
    "class_defined": _class_defined,
    "class_evolved": _class_evolved,
    "class_refused": _class_refused,
    "class_retired": _class_retired,
    "class_without_elasticsearch": _class_without_elasticsearch,
    "bulk_applied": _bulk_applied,
    "bulk_refused": _bulk_refused,
    "no_bulk_command": _no_bulk_command,
    "bulk_paused_and_resumed": _bulk_paused_and_resumed,
    "bulk_paused_and_cancelled": _bulk_paused_and_cancelled,
    "bulk_cancelled": _bulk_cancelled,
    "bulk_without_s3": _bulk_without_s3,
    "bulk_without_kafka": _bulk_without_kafka,
    "bulk_continued": _bulk_continued,
    **replay_stories.STORIES,
}


def scrubbed(value: Any) -> Any:
    """Return a history without what tells of the machine and the process it was recorded on."""
    if isinstance(value, list):
        return [scrubbed(item) for item in value]
    if isinstance(value, dict):
        return {name: scrubbed(item) for name, item in value.items() if name != "stackTrace"}
    return PROCESS.sub("worker", value) if isinstance(value, str) else value


async def _record() -> None:
    release, *names = sys.argv[1:]
    for name in names or STORIES:
        story = STORIES[name]
        client, world = await new_temporal(), World(settings=Settings(bulk_chunk_items_max=2))
        async with running_worker(client, world):
            handle = await story(client, world)
            with suppress(WorkflowFailureError):  # how what is no request ends
                await handle.result()
            history = json.loads((await handle.fetch_history()).to_json())
        path = FOLDER / f"{release}-{name}.json"
        path.write_text(json.dumps({"workflow_id": handle.id, **scrubbed(history)}, indent=1) + "\n")
        print(path.name, len(history["events"]), "events")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_record())
