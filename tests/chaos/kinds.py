"""The table of kinds of faults, which files of kinds enter theirs into.

A kind is an async context manager over an installation: entering does the fault, leaving undoes it. It yields a note of
the change, which stands in the history. Its choices (which worker, which link …) are drawn before the run, from the
seed, so that the same seed does the same.
"""

import random
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from elasticsearch import AsyncElasticsearch
from redis.asyncio import Redis

from tests.chaos.installation import Installation

Draws = Mapping[str, Any]
Note = dict[str, Any]
Fault = Callable[[Installation, Draws], AbstractAsyncContextManager[Note]]


@dataclass(frozen=True)
class Kind:
    """One kind of fault.

    ``part``: its target; ``hold_s``: for how long, from and to; ``weight``: how often, against the others;
    ``choices``: options of its draws, by name; ``needs``: features of the machine.
    """

    fault: Fault
    part: str
    hold_s: tuple[float, float]
    weight: int
    choices: Mapping[str, tuple[Any, ...]]
    needs: str = ""

    def draw(self, rng: random.Random) -> Draws:
        return {name: rng.choice(options) for name, options in self.choices.items()}


KINDS: dict[str, Kind] = {}
OFTEN, SELDOM = 5, 2
REQUEST_TIMEOUT_S = 120.0
"""Of a fault's own requests: a busy machine must not undo a fault halfway."""


def kind(
    part: str,
    hold_s: tuple[float, float] = (1.5, 4.0),
    weight: int = OFTEN,
    needs: str = "",
    **choices: tuple[Any, ...],
) -> Callable[[Callable[[Installation, Draws], AsyncIterator[Note]]], Fault]:
    """Enter a function into the table of kinds, under its own name."""

    def enter(function: Callable[[Installation, Draws], AsyncIterator[Note]]) -> Fault:
        fault = asynccontextmanager(function)
        KINDS[function.__name__] = Kind(fault, part, hold_s, weight, choices, needs)
        return fault

    return enter


@asynccontextmanager
async def redis_of(ground: Installation) -> AsyncIterator[Redis]:
    """Connect to Redis past its proxy."""
    async with Redis.from_url(ground.direct.redis.url) as redis:
        yield redis


@asynccontextmanager
async def elasticsearch_of(ground: Installation) -> AsyncIterator[AsyncElasticsearch]:
    """Connect to Elasticsearch past its proxy."""
    client = AsyncElasticsearch(ground.direct.elasticsearch.url, request_timeout=REQUEST_TIMEOUT_S)
    try:
        yield client
    finally:
        await client.close()
