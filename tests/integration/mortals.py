"""Workers that are killed again and again while a run goes on."""

import asyncio
import random
from typing import Any

from tests.integration.installation import Installation


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
