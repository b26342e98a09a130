"""The steps of a consistency check: to begin, to count, to reconcile some pages of commands, of classes or of
aggregates, to keep how far it saw.

Each may be repeated; a retry continues after the last page that the attempt before it has reported. Work that the
earlier attempt finished on an unreported page is then found complete, and counted as nothing to do.
"""

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any

from temporalio import activity

from oncelog.activities.check_models import CheckProgress, CheckRequest, ReconcileReport, ReconcileRequest
from oncelog.activities.heartbeats import heartbeats
from oncelog.composition.reconcile import Reconcilers
from oncelog.ports import Page, Ports
from oncelog.reconcile.scope import Scope
from oncelog.reconcile.summary import ReconcileSummary

#: How long one activity reconciles before it returns its progress, so that progress is visible.
RECONCILE_S = 5.0
HEARTBEAT_S = 5.0

#: No checkpoint covers anything younger, for any grace period: of an object's time, S3's clocks may differ.
SETTLED_AFTER = timedelta(hours=1)


class CheckActivities:
    """Every method is idempotent, and safe beside other checks and any commands that are alive."""

    def __init__(self, reconcilers: Reconcilers, ports: Ports) -> None:
        self._reconcilers = reconcilers
        self._catalogue = ports.catalogue
        self._checkpoints = ports.checkpoints
        self._publisher = ports.publisher

    @property
    def all(self) -> list[Callable[..., Any]]:
        """The activities for a worker to register."""
        return [
            self.begin_check,
            self.count_aggregates,
            self.sweep_commands,
            self.sweep_classes,
            self.sweep_aggregates,
            self.end_check,
        ]

    @activity.defn
    async def begin_check(self, request: CheckRequest) -> CheckProgress:
        """Ask S3's clock for the time, and how far the log is known to be whole."""
        generations = await self._publisher.generations()
        now = await self._checkpoints.now()
        mark = await self._checkpoints.read_checkpoint()
        terms = Scope(
            repair=request.repair,
            before=now - timedelta(seconds=request.grace_s),
            settled_through=mark.through if mark else None,
            published_through=mark.published_in(generations) if mark else None,
            db_name=request.db_name,
            class_id=request.class_id,
            generations=generations,
        )
        return CheckProgress(terms=terms, started_at=now)

    @activity.defn
    async def count_aggregates(self, request: ReconcileRequest) -> ReconcileReport:
        """Count the aggregates that ``sweep_aggregates`` will check, by listing all of them once more."""
        scope = {"db_name": request.terms.db_name, "class_id": request.terms.class_id}

        async def listed(after: str) -> Page[Any]:
            return await self._catalogue.listed_streams(after=after, **scope)

        async def counted(listed_streams: Sequence[Any], _terms: Scope) -> ReconcileSummary:
            return ReconcileSummary(aggregates=len(listed_streams))

        return await _through_pages(request, listed, counted, for_s=math.inf)

    @activity.defn
    async def sweep_commands(self, request: ReconcileRequest) -> ReconcileReport:
        """Go through some pages of commands."""

        async def listed(after: str) -> Page[Any]:
            return await self._catalogue.commands(after=after)

        return await _through_pages(request, listed, self._reconcilers.commands.page)

    @activity.defn
    async def sweep_classes(self, request: ReconcileRequest) -> ReconcileReport:
        """Go through some pages of classes; a class takes as long as its documents need to follow its definition."""

        async def listed(after: str) -> Page[Any]:
            return await self._catalogue.classes(after=after, db_name=request.terms.db_name)

        return await _through_pages(request, listed, self._reconcilers.classes.page)

    @activity.defn
    async def sweep_aggregates(self, request: ReconcileRequest) -> ReconcileReport:
        """Go through some pages of aggregates."""
        scope = {"db_name": request.terms.db_name, "class_id": request.terms.class_id}

        async def listed(after: str) -> Page[Any]:
            return await self._catalogue.listed_streams(after=after, **scope)

        return await _through_pages(request, listed, self._reconcilers.instances)

    @activity.defn
    async def end_check(self, progress: CheckProgress) -> None:
        """Keep how far the log is whole now, if all of it was seen and all findings were finished."""
        terms, tally = progress.terms, progress.tally
        if not terms.repair or terms.db_name is not None:
            return
        through = min(terms.before, progress.started_at - SETTLED_AFTER)
        if tally.oldest_left is not None:
            through = min(through, tally.oldest_left - timedelta(seconds=1))
        if not (terms.is_complete(through) and terms.is_published(through)):
            await self._checkpoints.save_checkpoint(through, terms.generations)


async def _through_pages(
    request: ReconcileRequest,
    listed: Callable[[str], Awaitable[Page[Any]]],
    reconcile: Callable[[Sequence[Any], Scope], Awaitable[ReconcileSummary]],
    *,
    for_s: float | None = None,
) -> ReconcileReport:
    so_far = _resumed() or ReconcileReport(tally=ReconcileSummary(), position=request.position)
    until = time.monotonic() + (RECONCILE_S if for_s is None else for_s)
    async with heartbeats(lambda: so_far, every_s=HEARTBEAT_S):
        while so_far.position is not None:
            page = await listed(so_far.position)
            tally = so_far.tally + await reconcile(page.items, request.terms)
            so_far = ReconcileReport(tally=tally, position=page.position)
            activity.heartbeat(so_far)
            if time.monotonic() > until:
                break
    return so_far


def _resumed() -> ReconcileReport | None:
    """Return how far an attempt before this one had come, if it reported that."""
    details = activity.info().heartbeat_details
    return ReconcileReport.model_validate(details[0]) if details else None
