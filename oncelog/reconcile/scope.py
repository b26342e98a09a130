"""The scope of a reconciliation, and a page's items in parallel, without one bad item holding up the others."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Protocol, TypeVar

import structlog
from structlog.contextvars import bound_contextvars

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.errors import OncelogError, StoreUnavailable
from oncelog.ports import Generations
from oncelog.reconcile.summary import Finding, FindingKind, ReconcileSummary

AT_ONCE_MAX = 16

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Scope:
    """``repair``: finish the incomplete work, instead of only reporting it. All times are of S3's clock.

    ``before``: only objects written no later are touched. ``settled_through``: the log is known to be complete up to
    then, because a check saw it complete, and it stays so. ``published_through``: the same of the stream, which can be
    lost: in topics of these ``generations``, those when the check began.
    """

    repair: bool
    before: datetime
    settled_through: datetime | None = None
    published_through: datetime | None = None
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

    def is_recent(self, written_at: datetime) -> bool:
        """Return whether an object written then is left alone yet."""
        return written_at > self.before  # of S3s with a clock of whole seconds, "at once" is the same second

    def is_complete(self, written_at: datetime) -> bool:
        """Return whether an object written then is known to have been complete."""
        return self.settled_through is not None and written_at <= self.settled_through

    def is_published(self, written_at: datetime) -> bool:
        """Return whether an event written then is known to be on the stream."""
        return self.published_through is not None and written_at <= self.published_through


class Listed(Protocol):
    """An item of a page of the catalogue."""

    @property
    def written_at(self) -> datetime: ...

    @property
    def log_fields(self) -> Mapping[str, str | int]: ...


Item = TypeVar("Item", bound=Listed)
Found = TypeVar("Found")


def incomplete(place: str, what: str) -> ReconcileSummary:
    """Return the summary of one finding."""
    log.info("incomplete_found", place=place, what=what)
    return ReconcileSummary(found=1, findings=(Finding(kind=FindingKind.HALF_DONE, place=place, what=what),))


class Steps(Generic[Item]):
    """Takes items through steps, some of them at once: an item that fails is reported, and holds up no other.

    ``failed``: the items that did, to be left out of the steps that follow, with the report on each.
    """

    def __init__(self, *, place: Callable[[Item], str]) -> None:
        self.failed: dict[Item, list[ReconcileSummary]] = {}
        self._place = place
        self._items: set[Item] = set()
        self._silent: dict[Item, StoreUnavailable] = {}

    async def take(
        self, items: Sequence[Item], step: Callable[[Item], Awaitable[Found]], *, at_once_max: int = AT_ONCE_MAX
    ) -> list[tuple[Item, Found]]:
        """Take each item through a step; return those that came through, in order, with the outcome of each."""
        self._items.update(items)

        async def take_one(item: Item) -> tuple[Item, Found] | None:
            with bound_contextvars(**item.log_fields):
                try:
                    return item, await step(item)
                except StoreUnavailable as error:
                    self._silent[item] = error
                    self.failed[item] = [_left(FindingKind.UNFINISHED, self._place(item), error, item)]
                except OncelogError as error:
                    where = str(error.details.get("where", self._place(item)))
                    self.failed[item] = [_left(FindingKind.DAMAGE, where, error, item)]
                return None

        return [taken for taken in await bounded_gather(take_one, items, at_once=at_once_max) if taken]

    def demand_any(self) -> None:
        """Raise StoreUnavailable if every item failed for want of a server: then it is worth waiting for it."""
        if self._silent and len(self._silent) == len(self._items):
            raise next(iter(self._silent.values()))


async def reconcile_each(
    items: Sequence[Item], reconcile: Callable[[Item], Awaitable[ReconcileSummary]], *, place: Callable[[Item], str]
) -> ReconcileSummary:
    """Reconcile all items, some at once, and return the sum of their summaries.

    Raises StoreUnavailable if no item at all could be reconciled for want of a server.
    """
    steps = Steps(place=place)
    reconciled = dict(await steps.take(items, reconcile))
    steps.demand_any()
    return ReconcileSummary.sum(reconciled[item] if item in reconciled else steps.failed[item][0] for item in items)


def _left(kind: FindingKind, place: str, error: OncelogError, item: Listed) -> ReconcileSummary:
    log.error("item_left", kind=kind, place=place, code=error.code, reason=error.message)
    finding = Finding(kind=kind, place=place, what=error.message)
    damaged = kind is FindingKind.DAMAGE
    return ReconcileSummary(
        damaged=int(damaged), unfinished=int(not damaged), findings=(finding,), oldest_left=item.written_at
    )
