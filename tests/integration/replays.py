"""Replays of an installation with some hundred instances."""

from oncelog.client.runs import Replays
from oncelog.replay_runs.request import ReplayReport, ReplayRequest
from tests.bulks import bulk_create, item
from tests.commands import update
from tests.integration.installation import Installation


async def fill(installation: Installation, instances: int) -> None:
    """Create instances in bulk, and update every fiftieth of them."""
    async with installation.worker():
        bulk = bulk_create(*(item(f"p{number}", {"n": number}) for number in range(instances)))
        await installation.client.submit(bulk)
        for number in range(0, instances, 50):
            await installation.client.submit(update(f"p{number}", {"m": 1}))


async def replayed(installation: Installation, request: ReplayRequest | None = None) -> ReplayReport:
    """Run a replay to its end, by a worker of its own."""
    replays = Replays(installation.temporal, installation.settings)
    async with installation.worker():
        return await replays.result(await replays.start(request or ReplayRequest()))
