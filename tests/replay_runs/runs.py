"""Replays on servers in memory, run step by step as their workflow does."""

from collections.abc import Sequence

from oncelog.composition.replays import assemble_replays
from oncelog.domain.signed_note import Signer
from oncelog.replay_runs.request import ReplayCounts, ReplayEnd, ReplayOutcome, ReplayReport, ReplayRequest
from oncelog.replay_runs.run import ReplayRunner
from tests.commands import create, update
from tests.write.world import World

LATER = "2026-01-02T12:00:00.000000Z"


async def filled(names: Sequence[str]) -> World:
    world = World()
    process = world.process()
    for name in names:
        await process.run(create(name, {"n": len(name)}))
        await process.run(update(name, {"m": 1}), occurred_at=LATER)
    return world


def runner(world: World, signer: Signer | None = None) -> ReplayRunner:
    return assemble_replays(world.ports(), signer=signer)


async def replay(
    world: World, replay_id: str = "replay-1", request: ReplayRequest | None = None, signer: Signer | None = None
) -> tuple[ReplayCounts, ReplayEnd]:
    return await replay_with(runner(world, signer), replay_id, request or ReplayRequest())


async def replay_with(run: ReplayRunner, replay_id: str, request: ReplayRequest) -> tuple[ReplayCounts, ReplayEnd]:
    """Take a replay through all of its steps, as its workflow does."""
    totals = await run.plan(replay_id, request)
    counts = ReplayCounts()
    for number in range(totals.partitions):
        counts += await run.partition(replay_id, request, number)
    end = await run.end(replay_id, request, totals)
    report = ReplayReport(
        replay_id=replay_id,
        outcome=ReplayOutcome.SOUND,
        mode=request.mode,
        scope=request.scope.name,
        files=run.files(replay_id).folder,
        counts=counts,
        totals=totals,
        end=end,
    )
    await run.keep(request, report)
    return counts, end
