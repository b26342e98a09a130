"""How far the unique constraints of a class cover its instances, from the log alone."""

from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import structlog
from pydantic import ValidationError

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.events import Effect, content_of
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.stored_names import cover_report_key, stream_folder
from oncelog.domain.unique.coverage import ConstraintSpans, constraint_spans
from oncelog.errors import LogDamaged, OncelogError, SchemaUnsupported
from oncelog.ports import ListedStream, Ports
from oncelog.query.cover_report import CoverReport
from oncelog.replay.stream_reader import StreamReader

READS_IN_FLIGHT_MAX = 32

_log = structlog.get_logger()


@dataclass(frozen=True)
class UncoveredInstance:
    """A live instance that some constraints do not cover. ``version``: of its last event."""

    aggregate_id: AggregateId
    version: int
    lacks: frozenset[str]


@dataclass(frozen=True)
class UnreadableInstance:
    """An instance with an unreadable last event: whether it is covered is not known."""

    aggregate_id: AggregateId
    error: OncelogError


@dataclass(frozen=True)
class CoveragePage:
    """Some instances of a class. ``live``: how many of them are not known to be deleted."""

    live: int
    uncovered: Sequence[UncoveredInstance]
    unreadable: Sequence[UnreadableInstance]


class CoverageState(StrEnum):
    """The state of a constraint. NOT_COUNTED: there are too many instances to look at each for one question."""

    COMPLETE = "COMPLETE"
    COVERING = "COVERING"
    NOT_COUNTED = "NOT_COUNTED"


class Evidence(StrEnum):
    """The source of a constraint's state: the log as it is now, or the report of the last run that covered."""

    LOG = "log"
    RUN = "run"


@dataclass(frozen=True)
class ConstraintCoverage:
    """How far a constraint covers the live instances of its class.

    ``since``: the sequence number of the definition that brought it. ``uncovered`` of ``instances``: None where they
    are not known. ``as_of``: when a run counted them (RFC 3339); None for now.
    """

    state: CoverageState
    since: int
    uncovered: int | None = None
    instances: int | None = None
    known_from: Evidence | None = None
    as_of: str | None = None


class Coverage:
    """Reads which instances of a class are covered. Every method raises StoreUnavailable where S3 does not answer."""

    def __init__(self, ports: Ports, reader: StreamReader) -> None:
        self._log = ports.event_log
        self._catalogue = ports.catalogue
        self._objects = ports.large_objects
        self._reader = reader

    async def spans(self, class_name: AggregateId) -> ConstraintSpans | None:
        """Return the constraints of a class as it is defined now; None where it never was. Raises LogDamaged."""
        head = await self._log.last_sequence_number(class_name)
        return constraint_spans(await self._reader.events(class_name, range(1, head + 1)))

    async def defined_at(self, class_name: AggregateId) -> datetime | None:
        """Return when the newest event of a class was written, by S3's clock; None where there is none."""
        after = stream_folder(class_name)
        page = await self._catalogue.listed_streams(after=after, db_name=class_name.db_name, class_id=CLASSES)
        return next((each.written_at for each in page.items if each.aggregate_id == class_name), None)

    async def pages(self, db_name: str, class_id: str, spans: ConstraintSpans) -> AsyncIterator[CoveragePage]:
        """Yield all instances of a class, some at a time, in the order of their keys.

        Costs one LIST for 1,000 events, and one GET for each instance: its last event says whether it is covered.
        """
        position: str | None = ""
        while position is not None:
            page = await self._catalogue.listed_streams(after=position, db_name=db_name, class_id=class_id)
            position = page.position
            yield await self._page(page.items, spans)

    async def instance(
        self, aggregate_id: AggregateId, spans: ConstraintSpans, *, at_least: int
    ) -> UncoveredInstance | UnreadableInstance | bool:
        """Return an instance if it is not covered; else whether it is alive. ``at_least``: a version that it has."""
        head = await self._log.last_sequence_number(aggregate_id, after=at_least)
        return await self._judged(aggregate_id, head, spans)

    async def states(self, db_name: str, class_id: str, spans: ConstraintSpans) -> Mapping[str, ConstraintCoverage]:
        """Return the state of each constraint by name.

        Instances are counted if all events of the class are listed by one request, else the state comes from the
        last run's report.
        """
        if not spans.since:
            return {}
        report = await self.last_report(db_name, class_id)
        reported = {name: found for name, first in spans.since.items() if (found := _reported(report, name, first))}
        if len(reported) == len(spans.since) and all(each.uncovered == 0 for each in reported.values()):
            return reported
        counted = await self._counted(db_name, class_id, spans)
        return counted or {
            name: reported.get(name) or ConstraintCoverage(CoverageState.NOT_COUNTED, first)
            for name, first in spans.since.items()
        }

    async def last_report(self, db_name: str, class_id: str) -> CoverReport | None:
        """Return the report of the last run that covered the class to its end; None where there is no readable one."""
        key = cover_report_key(db_name, class_id)
        try:
            size = await self._objects.object_size(key)
            found = None if size is None else await self._objects.read_object(key, range(size))
            return None if found is None else CoverReport.model_validate_json(found)
        except (LogDamaged, ValidationError) as error:  # derived: without it, instances are counted
            _log.warning("cover_report_unreadable", key=key, reason=str(error))
            return None

    async def save_report(self, report: CoverReport) -> None:
        """Save the report of a run in the place of the one before."""

        async def parts() -> AsyncIterator[bytes]:
            yield report.model_dump_json().encode()

        await self._objects.write_object(cover_report_key(report.db_name, report.class_id), parts())

    async def _counted(
        self, db_name: str, class_id: str, spans: ConstraintSpans
    ) -> Mapping[str, ConstraintCoverage] | None:
        """Return the state of each constraint, as the log has it now; None if one request does not list the class."""
        listed = await self._catalogue.listed_streams(db_name=db_name, class_id=class_id)
        if listed.position is not None:
            return None
        page = await self._page(listed.items, spans)
        if page.unreadable:
            return None
        lacking = Counter(name for each in page.uncovered for name in each.lacks)
        return {
            name: ConstraintCoverage(_state(lacking[name]), first, lacking[name], page.live, Evidence.LOG)
            for name, first in spans.since.items()
        }

    async def _page(self, listed: Sequence[ListedStream], spans: ConstraintSpans) -> CoveragePage:
        async def judged(stream: ListedStream) -> UncoveredInstance | UnreadableInstance | bool:
            return await self._judged(stream.aggregate_id, stream.head, spans)

        found = await bounded_gather(judged, listed, at_once=READS_IN_FLIGHT_MAX)
        return CoveragePage(
            live=sum(each is not False for each in found),
            uncovered=[each for each in found if isinstance(each, UncoveredInstance)],
            unreadable=[each for each in found if isinstance(each, UnreadableInstance)],
        )

    async def _judged(
        self, aggregate_id: AggregateId, head: int, spans: ConstraintSpans
    ) -> UncoveredInstance | UnreadableInstance | bool:
        try:
            content = content_of((await self._reader.required(aggregate_id, head)).event)
        except (LogDamaged, SchemaUnsupported) as error:
            return UnreadableInstance(aggregate_id, error)
        if content.effect is Effect.REMOVE:
            return False
        lacks = spans.lacking(content.definition)
        return UncoveredInstance(aggregate_id, head, lacks) if lacks else True


def _reported(report: CoverReport | None, name: str, first: int) -> ConstraintCoverage | None:
    """Return the state of a constraint as a run left it; None where the run knew no such constraint."""
    if report is None or report.since.get(name) != first:
        return None
    left = report.uncovered.get(name, 0)
    return ConstraintCoverage(_state(left), first, left, report.instances, Evidence.RUN, report.ended_at)


def _state(uncovered: int) -> CoverageState:
    return CoverageState.COVERING if uncovered else CoverageState.COMPLETE
