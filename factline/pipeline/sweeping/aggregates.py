"""Aggregates whose events may not all be on the stream, or that a read model shows behind their log, under an earlier
definition than their class has now, or not at all.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from factline.domain.dead_letters import DeadLetter, skipped_through
from factline.domain.identifiers import CLASSES, AggregateId
from factline.errors import FactlineError, LogDamaged, StoreUnavailable
from factline.pipeline.delivering import Deliverer, InlineModel
from factline.pipeline.log_reader import LogReader
from factline.pipeline.sweeping.definers import Definers
from factline.pipeline.sweeping.tally import Finding, FindingKind, Tally
from factline.pipeline.sweeping.terms import Terms, each, half_done
from factline.pipeline.trace import Trace
from factline.ports import DeadLetters, EventLog, EventPublisher, Extent, RunningWorkflows, Standing, Turns

AGGREGATES_PER_READ = 100


@dataclass(frozen=True)
class _Reached:
    """How far an aggregate has come: its watermark, and how each read model that has it shows it, by its name.

    ``being_redefined``: whoever defined its class last is still at work, and brings along what is outdated.
    """

    published: int | None
    shown: Mapping[str, Standing]
    being_redefined: bool

    def behind(self, head: int) -> dict[str, Standing]:
        """Return the read models that do not show the head as it is now, with what they show."""
        return {
            name: shown
            for name, shown in self.shown.items()
            if shown.sequence_number < head or (shown.outdated and not self.being_redefined)
        }

    @property
    def left_to_others(self) -> bool:
        """Whether something is outdated that others are at."""
        return self.being_redefined and any(shown.outdated for shown in self.shown.values())


class AggregateSweep:
    """Compares head, watermark and each read model's view of an aggregate, and makes good what is behind."""

    def __init__(
        self,
        *,
        log: EventLog,
        reader: LogReader,
        deliverer: Deliverer,
        turns: Turns,
        publisher: EventPublisher,
        models: Sequence[InlineModel],
        letters: DeadLetters,
        running: RunningWorkflows,
        definers: Definers,
    ) -> None:
        self._log = log
        self._reader = reader
        self._deliverer = deliverer
        self._turns = turns
        self._publisher = publisher
        self._models = models
        self._letters = letters
        self._running = running
        self._definers = definers

    async def page(self, extents: Sequence[Extent], terms: Terms) -> Tally:
        """Sweep these aggregates; raises StoreUnavailable if a server kept it from every one of some."""
        if await self._publisher.generations() != terms.generations:
            terms = replace(terms, settled_through=None)  # it was whole in a topic that is lost
        tally = Tally()
        for start in range(0, len(extents), AGGREGATES_PER_READ):
            some = extents[start : start + AGGREGATES_PER_READ]
            reached = await self._reached([extent.aggregate_id for extent in some])
            tally += await each(some, partial(self._aggregate, reached, terms), place=_place)
        return tally

    async def _reached(self, aggregate_ids: Sequence[AggregateId]) -> Mapping[AggregateId, _Reached | FactlineError]:
        """Ask for all of them: one question to Redis, and one to each read model; an error where one cannot be read."""
        watermarks = await self._turns.published(aggregate_ids)
        shown: defaultdict[AggregateId, dict[str, Standing]] = defaultdict(dict)
        unreadable: dict[AggregateId, FactlineError] = {}
        for model in self._models:
            wanted = [aggregate_id for aggregate_id in aggregate_ids if model.has(aggregate_id)]
            for aggregate_id, standing in zip(wanted, await _standings(model, wanted), strict=True):
                if isinstance(standing, FactlineError):
                    unreadable[aggregate_id] = standing
                else:
                    shown[aggregate_id][model.name] = standing
        outdated = {
            _class_of(name) for name, standings in shown.items() if any(one.outdated for one in standings.values())
        }
        in_hand = {class_name for class_name in outdated if await self._definers.are_at_work(class_name)}
        return {
            aggregate_id: unreadable.get(aggregate_id)
            or _Reached(
                watermark.through if watermark else None, shown[aggregate_id], _class_of(aggregate_id) in in_hand
            )
            for aggregate_id, watermark in zip(aggregate_ids, watermarks, strict=True)
        }

    async def _aggregate(
        self, reached: Mapping[AggregateId, _Reached | FactlineError], terms: Terms, extent: Extent
    ) -> Tally:
        seen = Tally(aggregates=1)
        if extent.missing is not None:
            raise _missing(extent)
        now = reached[extent.aggregate_id]
        if isinstance(now, FactlineError):
            raise now
        published = now.published
        # Beyond it: others have gone on since it was listed, or what is known is wrong.
        if max(published or 0, *(shown.sequence_number for shown in now.shown.values())) > extent.head:
            published = await self._checked(extent, now, terms)
        unpublished = not terms.are_settled(extent.written_at) if published is None else published < extent.head
        behind = now.behind(extent.head)
        if not unpublished and not behind:
            return seen + Tally(running=int(now.left_to_others))
        if terms.are_recent(extent.written_at):
            return seen + Tally(recent=1)
        head = await self._reader.required(extent.aggregate_id, extent.head)
        if await self._running.is_running(head.event.command_id):
            return seen + Tally(running=1, oldest_left=extent.written_at)
        tally = seen
        if unpublished:
            tally += await self._publish(extent, published, terms)
        if behind:
            tally += await self._project(extent, behind, terms)
        return tally

    async def _checked(self, extent: Extent, now: _Reached, terms: Terms) -> int | None:
        """Return the watermark, None if it is beyond the log; raises LogDamaged if a read model is."""
        head = await self._log.head(extent.aggregate_id, after=extent.head)
        for name, shown in now.shown.items():
            if shown.sequence_number > head:
                raise LogDamaged(
                    f"aggregate {extent.aggregate_id}: the {name} show it at version {shown.sequence_number}, but the "
                    f"log ends at {head}; restore the missing events, or delete it from the {name} and check again",
                    aggregate_id=str(extent.aggregate_id),
                )
        if now.published is None or now.published <= head:
            return now.published
        if terms.repair:
            await self._turns.forget(extent.aggregate_id)
        return None

    async def _publish(self, extent: Extent, published: int | None, terms: Terms) -> Tally:
        """The head is the last thing to publish: whoever wrote it sends all before it along (rule R3)."""
        known = "unknown" if published is None else str(published)
        found = half_done(_place(extent), f"head {extent.head}, known to be published: {known}")
        if not terms.repair:
            return found + Tally(oldest_left=extent.written_at)
        await self._deliverer.publish(extent.aggregate_id, extent.head)
        return found + Tally(published=1)

    async def _project(self, extent: Extent, behind: Mapping[str, Standing], terms: Terms) -> Tally:
        """Show the head in the read models where nobody has to decide about it first."""
        parked = await self._parked(extent, behind)
        left = [name for name in behind if name not in parked]
        tally = _told(extent, parked)
        if not left:
            return tally
        where = ", ".join(f"{name} {_in_words(behind[name])}" for name in left)
        tally += half_done(_place(extent), f"head {extent.head}, shown in: {where}")
        if not terms.repair:
            return tally
        if await self._deliverer.project_or_park(extent.aggregate_id, extent.head, Trace(), only=left):
            return tally + Tally(projected=1)
        return tally + _told(extent, await self._parked(extent, left))

    async def _parked(self, extent: Extent, names: Iterable[str]) -> dict[str, DeadLetter]:
        """Return, by read model, the letter by which the aggregate need not be shown there at its head."""
        parked: dict[str, DeadLetter] = {}
        for name in names:
            letters = await self._letters.history(name, extent.aggregate_id)
            letter = letters[-1] if letters and letters[-1].waits else skipped_through(letters, extent.head)
            if letter is not None:
                parked[name] = letter
        return parked


def _told(extent: Extent, parked: Mapping[str, DeadLetter]) -> Tally:
    findings = tuple(
        Finding(
            kind=FindingKind.PARKED,
            place=_place(extent),
            what=f"{name}: {letter.kind} at version {letter.sequence_number} since {letter.at}: {letter.reason}",
        )
        for name, letter in parked.items()
    )
    return Tally(parked=len(findings), findings=findings)


async def _standings(model: InlineModel, aggregate_ids: Sequence[AggregateId]) -> Sequence[Standing | FactlineError]:
    """Return how each is shown, or why that cannot be read: one that is damaged holds up none of the others."""
    try:
        return await model.standings(aggregate_ids)
    except StoreUnavailable:
        raise
    except FactlineError as error:
        if len(aggregate_ids) == 1:
            return [error]
        return [one for aggregate_id in aggregate_ids for one in await _standings(model, [aggregate_id])]


def _in_words(shown: Standing) -> str:
    if not shown.sequence_number:
        return "missing"
    return f"at version {shown.sequence_number}" + (" under an earlier definition" if shown.outdated else "")


def _class_of(aggregate_id: AggregateId) -> AggregateId:
    return AggregateId(aggregate_id.db_name, CLASSES, aggregate_id.class_id)


def _place(extent: Extent) -> str:
    return f"aggregate {extent.aggregate_id}"


def _missing(extent: Extent) -> LogDamaged:
    return LogDamaged(
        f"aggregate {extent.aggregate_id}: slot {extent.missing} is missing below {extent.head}; "
        "restore the object from its versions",
        where=f"slot {extent.aggregate_id} {extent.missing}",
        aggregate_id=str(extent.aggregate_id),
        sequence_number=extent.missing,
    )
