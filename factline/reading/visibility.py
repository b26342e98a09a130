"""Waiting until the read side shows what a consistency token names."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence

from factline.domain.identifiers import AggregateId
from factline.domain.tokens import read_token
from factline.errors import NotYetVisible

POLL_S = 0.02
POLL_S_MAX = 0.5
NAMED_MAX = 3  # of those not visible, in a message

#: Says of each aggregate up to which sequence number it is shown, 0 where it is not.
Positions = Callable[[Sequence[AggregateId]], Awaitable[Sequence[int]]]


def wanted_of(token: str | None) -> dict[AggregateId, int]:
    """Return what a token asks for, nothing for none; raises TokenInvalid."""
    if token is None:
        return {}
    return {AggregateId.parse(name): sequence_number for name, sequence_number in read_token(token).items()}


async def until_shown(
    wanted: Mapping[AggregateId, int], positions: Positions, *, deadline_s: float, where: str
) -> None:
    """Return once each aggregate is shown at its sequence number or beyond.

    Asks at least once. ``where``: what shows it, for the message. Raises NotYetVisible after ``deadline_s``, which
    says where it stands, and what ``positions`` raises.
    """
    waiting = dict(wanted)
    pause_s, until_s = POLL_S, time.monotonic() + deadline_s
    while waiting:
        found = dict(zip(waiting, await positions(list(waiting)), strict=True))
        waiting = {each: number for each, number in waiting.items() if found[each] < number}
        if not waiting:
            return
        if time.monotonic() + pause_s > until_s:
            listed = ", ".join(
                f"{each} at version {number}, found {found[each]}" for each, number in list(waiting.items())[:NAMED_MAX]
            )
            more = f" and {len(waiting) - NAMED_MAX} more" if len(waiting) > NAMED_MAX else ""
            raise NotYetVisible(
                f"{where}: expected within {deadline_s:g} s {listed}{more}; read again later, or look for the commands "
                "in the Web UI",
                expected={str(each): number for each, number in waiting.items()},
                found={str(each): found[each] for each in waiting},
            )
        await asyncio.sleep(pause_s)
        pause_s = min(pause_s * 2, POLL_S_MAX)
