"""A read model against the log: each aggregate shown right at its own version, none missing or foreign."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Generic, TypeVar

from oncelog.verification.findings import Code, Finding
from oncelog.verification.log import EventFacts, LogFacts
from oncelog.verification.stream import waiting_for


@dataclass(frozen=True)
class Codes:
    """The findings of one read model."""

    missing: Code
    stale: Code
    parked: Code
    wrong: Code
    foreign: Code


@dataclass(frozen=True)
class Seen:
    """The facts about an aggregate in a read model, and its version there."""

    sequence_number: int


AnySeen = TypeVar("AnySeen", bound=Seen)


@dataclass
class ShownAudit(ABC, Generic[AnySeen]):
    """Takes what is shown in any order, after the logs were read; what is added again replaces the first.

    ``read_model``: its name; ``each``: what one of it is called; ``is_unread``: whether the index of an aggregate could
    not be read, so that nothing is missing there.
    """

    read_model: ClassVar[str]
    each: ClassVar[str]
    codes: ClassVar[Codes]

    logs: Mapping[str, LogFacts]
    is_unread: Callable[[str], bool] = lambda _aggregate_id: False
    findings: list[Finding] = field(default_factory=list)
    _seen: dict[str, AnySeen] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self._seen)

    @property
    def aggregates_ahead(self) -> set[str]:
        """Those of which something is shown that their log did not have when it was read: it must be asked again."""
        return {
            name
            for name, seen in self._seen.items()
            if name not in self.logs or seen.sequence_number > self.logs[name].head
        }

    def judge(self) -> Iterator[Finding]:
        """Yield everything found; ask after all of it was added."""
        yield from self.findings
        for aggregate_id, seen in self._seen.items():
            finding = self._wrong(aggregate_id, seen)
            if finding:
                yield finding
        for aggregate_id, log in self.logs.items():
            if self._has(aggregate_id) and not self.is_unread(aggregate_id):
                yield from self._behind(aggregate_id, log)

    def _has(self, _aggregate_id: str) -> bool:
        """Return whether aggregates of this kind are shown at all."""
        return True

    @abstractmethod
    def _is_right(self, aggregate_id: str, event: EventFacts, seen: AnySeen) -> bool:
        """Return whether it is what the log makes of it at this event, or damage leaves open what that would be."""

    def _wrong(self, aggregate_id: str, seen: AnySeen) -> Finding | None:
        where, number = f"{self.each} {aggregate_id}", seen.sequence_number
        log = self.logs.get(aggregate_id)
        if log is None or number not in log.taken or not self._has(aggregate_id):
            found = f"expected what the log makes of it, found version {number}, which the log does not have; delete it"
            return Finding(self.codes.foreign, where, found)
        event = log.events.get(number)
        if event is None or self._is_right(aggregate_id, event, seen):
            return None  # right, or damage in the log leaves open what would be
        found = f"expected the fold of events 1 to {number}, found other; rebuild it"
        return Finding(self.codes.wrong, where, found)

    def _behind(self, aggregate_id: str, log: LogFacts) -> Iterator[Finding]:
        seen = self._seen.get(aggregate_id)
        if log.head not in log.events or (seen and seen.sequence_number >= log.head):
            return  # the projection of a damaged head is not judged
        numbers = range((seen.sequence_number if seen else 0) + 1, log.head + 1)
        yield Finding(
            self.codes.stale if seen else self.codes.missing,
            f"{self.each} {aggregate_id}",
            f"expected version {log.head}, found {f'version {seen.sequence_number}' if seen else 'none'}; "
            "a consistency check writes it",
            waits_for=waiting_for(log, numbers),
            aggregate_ids=(aggregate_id,),
        )
