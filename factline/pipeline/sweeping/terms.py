"""On which terms a sweep goes, and how it goes through a page without one bad thing holding up the others."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

import structlog

from factline.domain.identifiers import CLASSES, AggregateId
from factline.errors import FactlineError, StoreUnavailable
from factline.pipeline.sweeping.tally import Finding, FindingKind, Tally
from factline.ports import Generations

AT_ONCE_MAX = 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Terms:
    """``repair``: finish what is found, instead of only telling it. All times are of S3's clock.

    ``before``: only what was written no later is touched. ``settled_through``: what was written until then is
    known to have been whole, for a sweep saw it so and a fact once settled stays it. ``generations``: those of the
    topics when the check began; what was published in others counts as not published.
    """

    repair: bool
    before: datetime
    settled_through: datetime | None = None
    db_name: str | None = None
    class_id: str | None = None
    generations: Generations = field(default_factory=Generations)

    def cover(self, db_name: str, class_id: str) -> bool:
        """Return whether the class is within the scope."""
        return self.db_name in (None, db_name) and self.class_id in (None, class_id)

    def covers(self, aggregate_id: AggregateId) -> bool:
        """Return whether an aggregate is within the scope, which a class itself is with its instances."""
        is_class = aggregate_id.class_id == CLASSES
        return self.cover(aggregate_id.db_name, aggregate_id.instance_key if is_class else aggregate_id.class_id)

    def are_recent(self, written_at: datetime) -> bool:
        """Return whether what was written then is left alone yet."""
        return written_at > self.before  # of S3s whose clock shows whole seconds, "at once" is the same second

    def are_settled(self, written_at: datetime) -> bool:
        """Return whether what was written then is known to have been whole."""
        return self.settled_through is not None and written_at <= self.settled_through


class Listed(Protocol):
    """Something from a page of the inventory."""

    @property
    def written_at(self) -> datetime: ...


Item = TypeVar("Item", bound=Listed)


def half_done(place: str, what: str) -> Tally:
    """Return the tally of one thing found."""
    log.info("half_done", place=place, what=what)
    return Tally(found=1, findings=(Finding(kind=FindingKind.HALF_DONE, place=place, what=what),))


async def each(
    items: Sequence[Item], sweep: Callable[[Item], Awaitable[Tally]], *, place: Callable[[Item], str]
) -> Tally:
    """Sweep all items, some at once, and return what came of it: a bad one is told and holds up nobody.

    Raises StoreUnavailable if no item at all could be swept for want of a server: then it is worth waiting for it.
    """
    free = asyncio.Semaphore(AT_ONCE_MAX)
    silent: list[StoreUnavailable] = []

    async def one(item: Item) -> Tally:
        async with free:
            try:
                return await sweep(item)
            except StoreUnavailable as error:
                silent.append(error)
                return _left(FindingKind.UNFINISHED, place(item), error, item)
            except FactlineError as error:
                return _left(FindingKind.DAMAGE, str(error.details.get("where", place(item))), error, item)

    tallies = await asyncio.gather(*(one(item) for item in items))
    if silent and len(silent) == len(items):
        raise silent[0]
    return Tally.sum(tallies)


def _left(kind: FindingKind, place: str, error: FactlineError, item: Listed) -> Tally:
    log.error("sweep_left", kind=kind, place=place, code=error.code, reason=error.message)
    finding = Finding(kind=kind, place=place, what=error.message)
    damaged = kind is FindingKind.DAMAGE
    return Tally(damaged=int(damaged), unfinished=int(not damaged), findings=(finding,), oldest_left=item.written_at)
