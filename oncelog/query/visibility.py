"""Waits until the read side has the versions a consistency token names, or raises the reason why it has not."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.dead_letters import DeadLetter, skipped_through
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.tokens import read_token
from oncelog.errors import InputInvalid, NotYetVisible, StoreUnavailable, TokenInvalid
from oncelog.ports import DeadLetters, last_numbers
from oncelog.read_models.parking import parked_error

POLL_S = 0.02
POLL_S_MAX = 0.5
PARKED_ASKED_AFTER_S = 0.1  # of waiting; a recent write is there sooner, mostly
ASKED_AT_ONCE_MAX = 16
ASKED_ONE_BY_ONE_MAX = 16  # beyond, one listing has those that were ever parked
NAMED_MAX = 3  # of those not visible, in a message

#: Gives the sequence number at which each aggregate is projected, 0 where it is not.
VersionsOf = Callable[[Sequence[AggregateId]], Awaitable[Sequence[int]]]


@dataclass(frozen=True)
class View:
    """One read model as a question sees it. ``where``: its name in a message; ``read_model``: in dead letters."""

    where: str
    read_model: str
    projected_versions: VersionsOf


def wanted_of(token: str | None, installation: str) -> dict[AggregateId, int]:
    """Return the versions that a token of this installation names, none without a token; raises TokenInvalid."""
    if token is None:
        return {}
    try:
        return {
            AggregateId.parse(name): sequence_number
            for name, sequence_number in read_token(token, installation=installation).items()
        }
    except InputInvalid as error:
        if isinstance(error, TokenInvalid):
            raise
        raise TokenInvalid(f"consistency token: {error.message}; pass it unchanged") from error


class Visibility:
    """Waits for expected versions in views; reads from the dead letters the versions that never will be projected."""

    def __init__(self, dead_letters: DeadLetters) -> None:
        self._dead_letters = dead_letters

    async def until_visible(
        self, wanted: Mapping[AggregateId, int], views: Iterable[View], *, deadline_s: float
    ) -> None:
        """Return once every view has each aggregate at its sequence number or beyond.

        Asks at least once. Raises NotYetVisible after ``deadline_s``, which says where it stands, and ProjectionParked
        as soon as that is why: an aggregate is parked or paused, or the wanted version was skipped. A server that
        gives no answer is waited for as well, and then StoreUnavailable raised: an index that is being created does not
        answer yet.
        """
        waits = [asyncio.create_task(self._until_visible(wanted, view, deadline_s=deadline_s)) for view in views]
        try:
            await asyncio.gather(*waits)
        finally:
            for task in waits:
                task.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _until_visible(self, wanted: Mapping[AggregateId, int], view: View, *, deadline_s: float) -> None:
        waiting = dict(wanted)
        shown = dict.fromkeys(wanted, 0)
        pause_s, until_s = POLL_S, time.monotonic() + deadline_s
        while waiting:
            last_look = time.monotonic() + pause_s > until_s
            try:
                shown |= zip(waiting, await view.projected_versions(list(waiting)), strict=True)
                waiting = {each: number for each, number in waiting.items() if shown[each] < number}
                if waiting and (last_look or pause_s > PARKED_ASKED_AFTER_S):
                    await self._refuse_parked(waiting, view.read_model)
            except StoreUnavailable:
                if last_look:
                    raise
            if not waiting:
                return
            if last_look:
                raise _not_yet(waiting, shown, where=view.where, deadline_s=deadline_s)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, POLL_S_MAX)

    async def _refuse_parked(self, waiting: Mapping[AggregateId, int], read_model: str) -> None:
        """Raise ProjectionParked if one of these waits for an operator, or the wanted version was skipped."""
        asked = list(waiting)
        if len(asked) > ASKED_ONE_BY_ONE_MAX:
            ever_parked = await last_numbers(self._dead_letters, read_model)
            asked = [each for each in asked if each in ever_parked]
        history = partial(self._dead_letters.dead_letter_history, read_model)
        histories = await bounded_gather(history, asked, at_once=ASKED_AT_ONCE_MAX)
        for aggregate_id, dead_letters in zip(asked, histories, strict=True):
            stands = _why_never_visible(dead_letters, waiting[aggregate_id])
            if stands is not None:
                raise parked_error(stands)


def _why_never_visible(dead_letters: Sequence[DeadLetter], wanted: int) -> DeadLetter | None:
    """Return the dead letter after which this version is not to be expected, or None if nothing is in its way."""
    if not dead_letters or dead_letters[-1].unfinished:
        return None
    return dead_letters[-1] if dead_letters[-1].waits else skipped_through(dead_letters, wanted)


def _not_yet(
    waiting: Mapping[AggregateId, int], shown: Mapping[AggregateId, int], *, where: str, deadline_s: float
) -> NotYetVisible:
    listed = ", ".join(
        f"{each} at version {number}, found {shown[each]}" for each, number in list(waiting.items())[:NAMED_MAX]
    )
    more = f" and {len(waiting) - NAMED_MAX} more" if len(waiting) > NAMED_MAX else ""
    return NotYetVisible(
        f"{where}: expected within {deadline_s:g} s {listed}{more}; read again later, or look for the commands "
        "in the Web UI",
        expected={str(each): number for each, number in waiting.items()},
        found={str(each): shown[each] for each in waiting},
    )
