"""Workers that are killed again and again while a run goes on."""

import asyncio
import random
import signal
from typing import Any

from temporalio.api.enums.v1 import EventType, PendingActivityState
from temporalio.client import WorkflowHandle

from tests.integration.installation import Installation, WorkerProcess

PLAN = "plan_replay"


async def killed_until(
    ended: asyncio.Future[Any], installation: Installation, *, seed: int, kills: int, within_s: float = 1.5
) -> int:
    """Give a run one worker after another, and kill the first ``kills`` of them within ``within_s`` of its start.

    Returns how many died before the run had ended.
    """
    chance, killed = random.Random(seed), 0
    while not ended.done():
        worker = await (await installation.worker_process()).ready()
        await asyncio.wait([ended], timeout=chance.uniform(0, within_s) if killed < kills else None)
        if not ended.done():
            worker.process.kill()
            await worker.ended()
            killed += 1
    return killed


async def killed_in_activities(
    run: WorkflowHandle[Any, Any], installation: Installation, *, seed: int, waves: int, kills: int
) -> None:
    """Kill ``kills`` workers in each of ``waves``, each in the middle of an activity of the run, at random points.

    The victims and the delays are drawn by the seed. A victim is stopped first: it dies only if the server still waits
    for an activity of its then. One worker is left, and the run is paused until others have come to its side. The plan
    is spared: it is one activity, whose attempts would wait ever longer for each other on a slow machine.
    """
    chance, alive = random.Random(seed), list[WorkerProcess]()
    for _ in range(waves):
        await run.signal("pause")
        others = [await installation.worker_process() for _ in range(kills + 1 - len(alive))]
        alive += await asyncio.gather(*(worker.ready() for worker in others))
        await run.signal("resume")
        for _ in range(kills):
            alive.remove(await _killed_in_activity(run, alive, chance))


async def _killed_in_activity(
    run: WorkflowHandle[Any, Any], alive: list[WorkerProcess], chance: random.Random
) -> WorkerProcess:
    async with asyncio.timeout(120):
        while True:
            while not (at_work := await _at_work(run, alive)):
                await asyncio.sleep(0.05)
            victim = chance.choice(at_work)
            await asyncio.sleep(chance.uniform(0, 0.3))  # the random point
            victim.process.send_signal(signal.SIGSTOP)
            if victim in await _at_work(run, alive):
                break
            victim.process.send_signal(signal.SIGCONT)
    victim.process.kill()
    await victim.ended()
    return victim


async def _at_work(run: WorkflowHandle[Any, Any], workers: list[WorkerProcess]) -> list[WorkerProcess]:
    """Return those whose begun activities of the run the server waits for."""
    started = PendingActivityState.PENDING_ACTIVITY_STATE_STARTED
    pending = (await run.describe()).raw_description.pending_activities
    begun = [each for each in pending if each.state == started and each.activity_type.name != PLAN]
    at_it = {each.last_worker_identity.partition("@")[0] for each in begun}
    return [worker for worker in workers if str(worker.process.pid) in at_it]


async def repeated_attempts(run: WorkflowHandle[Any, Any]) -> int:
    """Return how many attempts at activities of the run were repetitions of earlier ones."""
    started = EventType.EVENT_TYPE_ACTIVITY_TASK_STARTED
    return sum(
        [
            event.activity_task_started_event_attributes.attempt - 1
            async for event in run.fetch_history_events()
            if event.event_type == started
        ]
    )
