"""Parking: only an aggregate with a projection that failed for good waits; the others go on.

The truth about waiting aggregates is in ``DeadLetters`` (S3). The memory of a process is only a hint: it says of
which aggregates to ask, and only the answer decides that an event is left alone. Where more than ``LETTERS_MAX`` wait,
only the class of the others is remembered, and all of its aggregates are asked about. An event that was left alone is
in the log already, and the program that ends the waiting says so first and reads the log's head after that: so none is
forgotten.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import structlog

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.dead_letters import DeadLetter, DeadLetterKind, follows, reason_of
from oncelog.domain.events import rfc3339
from oncelog.domain.identifiers import AggregateId
from oncelog.errors import ContainerUnusable, InputInvalid, LogDamaged, ProjectionParked, StoreUnavailable
from oncelog.ports import DeadLetters, FailureStream, ListedDeadLetter
from oncelog.read_models.documents_model import DocumentsModel

#: The program that parks, where none else is named: a worker or the command line.
PROGRAM = "oncelog"
REFRESH_S = 2.0
LETTERS_MAX = 10_000  # some 40 MB, with the longest reasons
ASKED_AT_ONCE_MAX = 16
#: Dead letters are looked for by the time at which S3 wrote them. One may be seen later than its time says.
SEEN_WITHIN = timedelta(seconds=60)

log = structlog.get_logger(__name__)


def is_set_aside(dead_letter: DeadLetter) -> bool:
    """Return whether an aggregate waits for its container only, and is retried without a person."""
    return dead_letter.kind is DeadLetterKind.PARKED and dead_letter.code == ContainerUnusable.__name__


class Parking:
    """The parked aggregates of one read model, for one process. ``by``: the program that parks."""

    def __init__(
        self, *, read_model: str, dead_letters: DeadLetters, failures: FailureStream, by: str = PROGRAM
    ) -> None:
        self.read_model = read_model
        self._dead_letters = dead_letters
        self._failures = failures
        self._by = by
        self._last: dict[AggregateId, DeadLetter] = {}  # of aggregates that wait, or that are to be caught up
        self._overflowing: set[AggregateId] = set()  # classes of which more wait than are remembered
        self._seen: dict[AggregateId, int] = {}  # numbers of dead letters within the time that is looked at again
        self._seen_until: datetime | None = None

    def may_wait(self, aggregate_id: AggregateId) -> bool:
        """Return whether the aggregate waited when this process last read of it, or may wait; costs nothing."""
        dead_letter = self._last.get(aggregate_id)
        return dead_letter.waits if dead_letter is not None else aggregate_id.class_name in self._overflowing

    def unfinished(self) -> list[DeadLetter]:
        """Return the dead letters that began a catch-up, as far as this process has read them."""
        return [dead_letter for dead_letter in self._last.values() if dead_letter.unfinished]

    def set_aside(self) -> list[DeadLetter]:
        """Return the dead letters of aggregates that wait for a container only, as far as this process has read."""
        return [dead_letter for dead_letter in self._last.values() if is_set_aside(dead_letter)]

    async def refresh(self) -> None:
        """Read the dead letters of other processes: one listing, and one read per letter written since the last time.

        All dead letters are read the first time, and again once there is room for those that were not remembered. A
        dead letter that cannot be read is logged. Raises StoreUnavailable.
        """
        has_room = bool(self._overflowing) and len(self._last) < LETTERS_MAX // 2
        since = None if has_room or self._seen_until is None else self._seen_until - SEEN_WITHIN
        until, seen = self._seen_until, dict[AggregateId, int]()
        before, overflowing = set(self._overflowing), set[AggregateId]()
        async for listed in self._dead_letters.list_dead_letters(self.read_model):
            until = listed.written_at if until is None else max(until, listed.written_at)
            if since is not None:
                if listed.written_at < since:
                    continue
                seen[listed.aggregate_id] = listed.number
                if self._seen.get(listed.aggregate_id) == listed.number:
                    continue
            if not await self._read_listed(listed):
                overflowing.add(listed.aggregate_id.class_name)
        kept = before if since is not None else self._overflowing - before  # overflowed at a full look, or since
        self._overflowing, self._seen, self._seen_until = overflowing | kept, seen, until

    async def _read_listed(self, listed: ListedDeadLetter) -> bool:
        """Read a dead letter unless it is known; False if it waits and there is no room to remember it."""
        known = self._last.get(listed.aggregate_id)
        if known is not None and known.number >= listed.number:
            return True
        try:
            return self._remember(await self._dead_letters.read_dead_letter(self.read_model, listed))
        except LogDamaged as error:  # of this one aggregate: the others are read
            log.warning("dead_letter_unreadable", aggregate_id=str(listed.aggregate_id), reason=error.message)
            return True

    def _remember(self, dead_letter: DeadLetter) -> bool:
        """Remember the dead letter if anything follows from it; False if there is no room."""
        aggregate_id = dead_letter.aggregate
        if not (dead_letter.waits or dead_letter.unfinished):
            self._last.pop(aggregate_id, None)
        elif aggregate_id in self._last or len(self._last) < LETTERS_MAX:
            self._last[aggregate_id] = dead_letter
        else:
            return False
        return True

    def _keep(self, dead_letter: DeadLetter) -> None:
        """Remember the dead letter, or at least that its class has more than are remembered."""
        if not self._remember(dead_letter):
            self._overflowing.add(dead_letter.aggregate.class_name)

    @asynccontextmanager
    async def refreshed(self) -> AsyncIterator[None]:
        """Refresh every ``REFRESH_S``, for the length of a block."""

        async def refresh_for_ever() -> None:
            while True:
                try:
                    await self.refresh()
                except StoreUnavailable as error:  # an unread dead letter costs an attempt in vain
                    log.warning("dead_letters_not_refreshed", code=error.code, reason=error.message)
                await asyncio.sleep(REFRESH_S)

        refreshing = asyncio.create_task(refresh_for_ever())
        try:
            yield
        finally:
            refreshing.cancel()
            await asyncio.wait([refreshing])

    async def last_dead_letter(self, aggregate_id: AggregateId) -> DeadLetter | None:
        """Return the aggregate's last dead letter, read now."""
        dead_letter = await self._dead_letters.latest_dead_letter(self.read_model, aggregate_id)
        if dead_letter is not None:
            self._keep(dead_letter)
        return dead_letter

    async def waiting(self, aggregate_ids: Iterable[AggregateId]) -> dict[AggregateId, DeadLetter]:
        """Return which of these wait, and since which dead letter; asks only about those suspected of it."""
        candidates = [each for each in aggregate_ids if self.may_wait(each)]
        dead_letters = await bounded_gather(self.last_dead_letter, candidates, at_once=ASKED_AT_ONCE_MAX)
        return {dead_letter.aggregate: dead_letter for dead_letter in dead_letters if dead_letter and dead_letter.waits}

    async def refuse_if_waiting(self, aggregate_id: AggregateId) -> None:
        """Raise ProjectionParked if the aggregate is suspected of waiting, and does."""
        for dead_letter in (await self.waiting([aggregate_id])).values():
            raise parked_error(dead_letter)

    async def park(
        self, aggregate_id: AggregateId, *, sequence_number: int, error: Exception, wanted: int = 0
    ) -> DeadLetter:
        """Let the aggregate wait, and announce it; returns the stored dead letter. May be repeated.

        ``sequence_number``: of the failed version; ``wanted``: which version was to be projected, if that is a later
        one. An aggregate that waits already is only announced again, and a skipped version is no reason to wait.
        """
        wanted = max(wanted, sequence_number)
        code, reason = reason_of(error)
        dead_letter = await self.last_dead_letter(aggregate_id)
        while dead_letter is None or not (dead_letter.waits or 0 < wanted <= dead_letter.given_up_through):
            parked = DeadLetter(
                read_model=self.read_model,
                aggregate_id=str(aggregate_id),
                number=dead_letter.number + 1 if dead_letter else 1,
                kind=DeadLetterKind.PARKED,
                sequence_number=sequence_number,
                given_up_through=dead_letter.given_up_through if dead_letter else 0,
                at=_now(),
                by=self._by,
                code=code,
                reason=reason,
            )
            dead_letter = await self._dead_letters.append_dead_letter(
                parked
            )  # another writer's dead letter, if that was faster: looked at again
        self._keep(dead_letter)
        await self.announce(dead_letter)
        return dead_letter

    async def announce(self, dead_letter: DeadLetter) -> None:
        """Announce a parked aggregate; a program that died in between does so again when the event comes again."""
        if dead_letter.kind is DeadLetterKind.PARKED:
            await self._failures.announce(dead_letter.aggregate_id, dead_letter.model_dump(mode="json"))

    async def write(self, kind: DeadLetterKind, aggregate_id: AggregateId, *, by: str, reason: str) -> DeadLetter:
        """Write the decision of a person or a program about an aggregate.

        Raises InputInvalid if the action is not allowed after the last dead letter, or another writer was faster.
        """
        last = await self.last_dead_letter(aggregate_id)
        if not follows(kind, last):
            raise InputInvalid(
                f"{aggregate_id} in {self.read_model}: {kind} expects something else than "
                f"{last.kind if last else 'an aggregate that was never parked'}; look at it with dead-letters show"
            )
        about = last.sequence_number if last else 0
        given_up_through = max(last.given_up_through if last else 0, about if kind is DeadLetterKind.SKIPPED else 0)
        dead_letter = DeadLetter(
            read_model=self.read_model,
            aggregate_id=str(aggregate_id),
            number=last.number + 1 if last else 1,
            kind=kind,
            sequence_number=about,
            given_up_through=given_up_through,
            at=_now(),
            by=by,
            reason=reason,
        )
        stored = await self._dead_letters.append_dead_letter(dead_letter)
        self._keep(stored)
        if stored != dead_letter:
            raise InputInvalid(
                f"{aggregate_id} in {self.read_model}: {stored.by} was faster: {stored.kind} at {stored.at}; "
                "look at it anew"
            )
        return dead_letter


def parked_error(dead_letter: DeadLetter) -> ProjectionParked:
    """Return the error of a read or a write that meets an aggregate which waits, or was given up."""
    place, model = dead_letter.aggregate_id, dead_letter.read_model
    of_model = "" if model == DocumentsModel.name else f" --read-model {model}"
    what, remedy = {
        DeadLetterKind.PAUSED: (f"is paused by {dead_letter.by}", f"oncelog dead-letters resume {place}{of_model}"),
        DeadLetterKind.SKIPPED: (
            f"was skipped by {dead_letter.by}",
            "read without the token; a later version may be shown",
        ),
    }.get(dead_letter.kind, ("is parked", f"mend that, then oncelog dead-letters retry {place}{of_model}"))
    about = f" at version {dead_letter.sequence_number}" if dead_letter.sequence_number else ""
    why = f"{dead_letter.code}: {dead_letter.reason}" if dead_letter.code else dead_letter.reason
    return ProjectionParked(
        f"aggregate {place}: its projection to {model} {what}{about} since {dead_letter.at}: {why}; {remedy}",
        aggregate_id=place,
        read_model=model,
        kind=dead_letter.kind,
        sequence_number=dead_letter.sequence_number,
        code=dead_letter.code,
        reason=dead_letter.reason,
        remedy=remedy,
    )


def _now() -> str:
    return rfc3339(datetime.now(UTC))
