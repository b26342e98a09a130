"""The worker under fault tests: the production worker, whose S3 may be made to lie (see ``forgeries``)."""

import asyncio
import os
import sys
from pathlib import Path

from oncelog import worker
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from tests.chaos.forgeries import VARIABLE, Forger


async def run(settings: Settings, stopping: asyncio.Event) -> None:
    """Work as ``worker.run`` does, with a forger between worker and S3."""
    async with await Stores.connect(settings) as stores:
        Forger(Path(os.environ[VARIABLE])).register(stores.bucket.client.meta.events)
        await worker.run_on(stores, settings, stopping)


if __name__ == "__main__":
    sys.exit(worker.main(run=run))
