"""Clients of real servers for tests: as patient as in life, where a call that got no answer is made again.

A test says how a server answers, not how soon: on a busy machine even a connection takes seconds.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest

from oncelog.errors import ContainerUnusable, StoreUnavailable
from oncelog.settings import Settings
from oncelog.stores.elasticsearch import server as elasticsearch
from oncelog.stores.opening import Stores
from oncelog.stores.redis import server as redis
from oncelog.stores.s3 import connecting as s3

ANSWER_S = 60
PREPARE_S = 300
PAUSE_S = 1.0


@contextmanager
def patient() -> Iterator[None]:
    """Give clients that are made within the block a minute for each answer."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name in (
            (s3, "CONNECT_TIMEOUT_S"),
            (s3, "READ_TIMEOUT_S"),
            (redis, "CONNECT_TIMEOUT_S"),
            (redis, "ANSWER_TIMEOUT_S"),
            (elasticsearch, "REQUEST_TIMEOUT_S"),
        ):
            patch.setattr(module, name, ANSWER_S)
        yield


@asynccontextmanager
async def patient_stores(settings: Settings, *, prepared: bool = True) -> AsyncIterator[Stores]:
    """Connect with a minute for each answer, and prepare the servers if asked to."""
    with patient():
        connected = await Stores.connect(settings)
    async with connected as stores:
        if prepared:
            await prepare(stores)
        yield stores


async def prepare(stores: Stores) -> None:
    """Prepare the servers, again and again while one does not answer: so a worker is started anew."""
    async with asyncio.timeout(PREPARE_S):
        while True:
            try:
                await stores.prepare()
            except StoreUnavailable as error:
                if isinstance(error, ContainerUnusable):
                    raise
                await asyncio.sleep(PAUSE_S)
            else:
                return
