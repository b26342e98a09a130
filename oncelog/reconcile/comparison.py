"""The comparison of aggregates with their log: watermark and read models against the head that was listed."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from oncelog.domain.identifiers import AggregateId
from oncelog.errors import LogDamaged, OncelogError, StoreUnavailable
from oncelog.ports import Leases, ListedStream, ProjectionStatus, Watermark
from oncelog.reconcile.classes import RunningDefinitions
from oncelog.reconcile.group import RememberedSlots
from oncelog.reconcile.scope import Scope
from oncelog.reconcile.summary import ReconcileSummary
from oncelog.write.delivery import InlineModel


@dataclass(frozen=True)
class Reached:
    """How far an aggregate has come: its watermark, and its status in each read model, by name.

    ``being_redefined``: the command that defined its class last still runs, and will rebuild outdated nodes.
    """

    published: Watermark | None
    shown: Mapping[str, ProjectionStatus]
    being_redefined: bool

    def behind(self, head: int) -> dict[str, ProjectionStatus]:
        """Return the read models that do not project the head as it is now, with their status."""
        return {
            name: shown
            for name, shown in self.shown.items()
            if shown.sequence_number < head or (shown.outdated and not self.being_redefined)
        }

    @property
    def left_to_others(self) -> bool:
        """Whether something is outdated that others are at."""
        return self.being_redefined and any(shown.outdated for shown in self.shown.values())


@dataclass(frozen=True)
class Due:
    """The work due for an aggregate. ``published``: its watermark, None where Redis knows none."""

    published: Watermark | None
    unpublished: bool
    behind: Mapping[str, ProjectionStatus]


class AggregateComparison:
    """Compares aggregates with the log. Only a repair changes data: it lets Redis forget an overstated watermark."""

    def __init__(
        self,
        *,
        slots: RememberedSlots,
        leases: Leases,
        models: Sequence[InlineModel],
        running_definitions: RunningDefinitions,
    ) -> None:
        self._slots = slots
        self._leases = leases
        self._models = models
        self._running_definitions = running_definitions

    async def reached(self, aggregate_ids: Sequence[AggregateId]) -> Mapping[AggregateId, Reached | OncelogError]:
        """Ask for all of them: one question to Redis, and one to each read model; an error where one cannot be read."""
        watermarks = await self._leases.published(aggregate_ids)
        shown: defaultdict[AggregateId, dict[str, ProjectionStatus]] = defaultdict(dict)
        unreadable: dict[AggregateId, OncelogError] = {}
        for model in self._models:
            wanted = [aggregate_id for aggregate_id in aggregate_ids if model.has(aggregate_id)]
            for aggregate_id, status in zip(wanted, await _projection_statuses(model, wanted), strict=True):
                if isinstance(status, OncelogError):
                    unreadable[aggregate_id] = status
                else:
                    shown[aggregate_id][model.name] = status
        outdated = {
            name.class_name
            for name, projection_statuses in shown.items()
            if any(one.outdated for one in projection_statuses.values())
        }
        being_redefined = {
            class_name for class_name in outdated if await self._running_definitions.is_running(class_name)
        }
        return {
            aggregate_id: unreadable.get(aggregate_id)
            or Reached(watermark, shown[aggregate_id], aggregate_id.class_name in being_redefined)
            for aggregate_id, watermark in zip(aggregate_ids, watermarks, strict=True)
        }

    async def compare(
        self, reached: Mapping[AggregateId, Reached | OncelogError], scope: Scope, listed_stream: ListedStream
    ) -> Due | ReconcileSummary:
        """Return the work due for an aggregate, or the summary of one that is to be left as it is."""
        if listed_stream.missing is not None:
            raise _missing(listed_stream)
        now = reached[listed_stream.aggregate_id]
        if isinstance(now, OncelogError):
            raise now
        published = now.published
        # Beyond it: others have gone on since it was listed, or the known values are wrong.
        through = published.through if published else 0
        if max(through, *(shown.sequence_number for shown in now.shown.values())) > listed_stream.head:
            published = await self._checked(listed_stream, now, scope)
        unpublished = (
            not scope.is_published(listed_stream.written_at)
            if published is None
            else published.through < listed_stream.head
        )
        behind = now.behind(listed_stream.head)
        if not unpublished and not behind:
            return ReconcileSummary(running=int(now.left_to_others))
        if scope.is_recent(listed_stream.written_at):
            return ReconcileSummary(recent=1)
        return Due(published, unpublished, behind)

    async def _checked(self, listed_stream: ListedStream, now: Reached, scope: Scope) -> Watermark | None:
        """Return the watermark, None if it is beyond the log; raises LogDamaged if a read model is."""
        head = await self._slots.last_sequence_number(listed_stream.aggregate_id, after=listed_stream.head)
        for name, shown in now.shown.items():
            if shown.sequence_number > head:
                raise LogDamaged(
                    f"aggregate {listed_stream.aggregate_id}: the {name} show it at version {shown.sequence_number}, "
                    f"but the log ends at {head}; restore the missing events, or delete it from the {name} and "
                    "check again",
                    aggregate_id=str(listed_stream.aggregate_id),
                )
        if now.published is None or now.published.through <= head:
            return now.published
        if scope.repair:
            await self._leases.forget_stream(listed_stream.aggregate_id)
        return None


async def _projection_statuses(
    model: InlineModel, aggregate_ids: Sequence[AggregateId]
) -> Sequence[ProjectionStatus | OncelogError]:
    """Return how each is projected, or why that cannot be read: a damaged aggregate holds up none of the others."""
    try:
        return await model.projection_statuses(aggregate_ids)
    except StoreUnavailable:
        raise
    except OncelogError as error:
        if len(aggregate_ids) == 1:
            return [error]
        return [one for aggregate_id in aggregate_ids for one in await _projection_statuses(model, [aggregate_id])]


def _missing(listed_stream: ListedStream) -> LogDamaged:
    return LogDamaged(
        f"aggregate {listed_stream.aggregate_id}: slot {listed_stream.missing} is missing below {listed_stream.head}; "
        "restore the object from its versions",
        where=f"slot {listed_stream.aggregate_id} {listed_stream.missing}",
        aggregate_id=str(listed_stream.aggregate_id),
        sequence_number=listed_stream.missing,
    )
