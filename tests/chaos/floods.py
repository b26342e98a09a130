"""Faults that are a load: nothing breaks, but one aggregate gets more commands than all others together."""

import asyncio
from collections.abc import AsyncIterator

from tests.chaos.installation import Installation
from tests.chaos.kinds import SELDOM, Draws, Note, kind


@kind("load", (1.0, 3.0), SELDOM, client=tuple(range(8)), aggregate=(0, 1, 7), commands=(100, 200, 400))
async def aggregate_flooded(ground: Installation, draws: Draws) -> AsyncIterator[Note]:
    """One client sends hundreds of commands of one aggregate at once; the other clients' commands must pass them."""
    sender = ground.senders[draws["client"] % len(ground.senders)]
    flood = asyncio.create_task(sender.flood(draws["aggregate"], commands=draws["commands"]))
    note: Note = {}
    yield note
    note["answered"] = await flood
