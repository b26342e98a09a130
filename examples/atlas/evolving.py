"""Airports flow in, and their definition is evolved while they do: a MINOR, then a MAJOR that renames a field.

A producer that is not told at once goes on in the old form: under a MINOR its commands still fit, after a MAJOR they
are refused with the reason, and it sends them again in the new form, under an ID of their own.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from examples.atlas.classes import AIRPORT, AIRPORTS, AIRPORTS_IN_FEET, AIRPORTS_PLACED
from examples.atlas.data import DB_NAME, Placed, SubdivisionNames, airport, create, definition_command, update
from oncelog.bounded_gather import bounded_gather
from oncelog.client.client import Command, CommandType, Oncelog
from oncelog.client.many_commands import Answer, submit_all
from oncelog.domain.events import content_of
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Search
from oncelog.domain.results import RejectionCode
from oncelog.domain.tokens import merge_tokens

READS_IN_FLIGHT_MAX = 16
DEADLINE_S = 60.0

Answered = Callable[[Answer], None]


@dataclass(frozen=True)
class Evolution:
    """A definition as it was committed. ``meanwhile``: how many commands were answered while that took."""

    version: str
    answer: Answer
    meanwhile: int


@dataclass
class Flow:
    """The results for the airports.

    ``answers``: to all commands in the order in which they were sent; ``late``: those refused since they spoke an
    old form, each of which was sent again. ``placed``: their subdivisions' names by resolution.
    """

    answers: list[Answer] = field(default_factory=list)
    late: list[Answer] = field(default_factory=list)
    evolutions: list[Evolution] = field(default_factory=list)
    placed: Counter[Placed] = field(default_factory=Counter)

    @property
    def failed(self) -> list[Answer]:
        """Airports that were not applied and were not sent again."""
        late = {answer.command.command_id for answer in self.late}
        defined = [evolution.answer for evolution in self.evolutions]
        return [
            answer
            for answer in (*defined, *self.answers)
            if not answer.applied and answer.command.command_id not in late
        ]

    @property
    def token(self) -> str:
        """A token for everything that was applied."""
        return merge_tokens(
            answer.result.consistency_token
            for answer in self.answers
            if answer.result and answer.result.consistency_token
        )


@dataclass(frozen=True)
class Kept:
    """The stored airports, of those that were sent.

    ``decided``: how many were created under which version, by their first events in S3; ``found`` and ``in_feet``: how
    many a search finds, and how many of them by the field that the last version named anew.
    """

    sent: int
    decided: Counter[str]
    found: int
    in_feet: int

    @property
    def whole(self) -> bool:
        return self.sent == self.decided.total() == self.found == self.in_feet


class Evolving:
    """One flow under way."""

    def __init__(
        self,
        oncelog: Oncelog,
        records: Sequence[Mapping[str, Any]],
        *,
        concurrency: int,
    ) -> None:
        names = SubdivisionNames()
        self._oncelog = oncelog
        self._concurrency = concurrency
        self._answered: Answered = lambda _: None
        self._records = {record["icao"]: record for record in records}
        found = {code: names.find(record) for code, record in self._records.items()}
        self._subdivisions = {code: subdivision for code, (subdivision, _) in found.items()}
        self._flow = Flow(placed=Counter(how for _, how in found.values()))

        codes = list(self._records)
        size = -(-len(codes) // 3)
        self._thirds = codes[:size], codes[size : 2 * size], codes[2 * size :]

    @property
    def commands_count(self) -> int:
        """How many commands about airports there will be, as long as none comes too late."""
        return len(self._records) + sum(self._subdivisions[code] is not None for code in self._thirds[0])

    async def run(self, answered: Answered = lambda _: None) -> Flow:
        """Send all airports, a third in the form of each version; returns once everything was answered.

        The versions are defined while the third before them is under way. ``answered`` is called with each answer.
        """
        self._answered = answered
        first, second, third = self._thirds
        await self._define(AIRPORTS)
        await self._send([self._created(code) for code in first], then=AIRPORTS_PLACED)
        placed = [self._placed(code) for code in first if self._subdivisions[code]]
        await self._send([*self._alternating(placed, second)], then=AIRPORTS_IN_FEET)
        await self._send([self._created_in_feet(code) for code in third])
        return self._flow

    async def kept(self) -> Kept:
        """Look into the stores for what was sent."""

        async def decided(code: str) -> str | None:
            stored = await self._oncelog.ports.event_log.read_event(AggregateId.of(DB_NAME, AIRPORT, code), 1)
            definition = content_of(stored.event).definition if stored else None
            return definition.version if definition else None

        versions = await bounded_gather(decided, self._records, at_once=READS_IN_FLIGHT_MAX)
        reader, every = self._oncelog.reader, Search(DB_NAME, AIRPORT, results_max=1)
        found = await reader.search(every, token=self._flow.token, deadline_s=DEADLINE_S)
        without = await reader.search(replace(every, where={"/elevation_ft": None}))
        return Kept(
            sent=len(self._records),
            decided=Counter(version for version in versions if version),
            found=found.total,
            in_feet=found.total - without.total,
        )

    def _created(self, code: str) -> Command:
        return create(AIRPORT, code, airport(self._records[code]))

    def _created_in_feet(self, code: str) -> Command:
        return create(AIRPORT, code, airport(self._records[code], self._subdivisions[code], in_feet=True))

    def _placed(self, code: str) -> Command:
        return update(AIRPORT, code, {"subdivision": self._subdivisions[code]})

    def _alternating(self, updates: Sequence[Command], second: Sequence[str]) -> list[Command]:
        """Return updates of the first third and creations of the second as they might come, one and one."""
        creations = [create(AIRPORT, code, airport(self._records[code], self._subdivisions[code])) for code in second]
        longer, shorter = sorted((list(updates), creations), key=len, reverse=True)
        mixed = [each for pair in zip(longer, shorter, strict=False) for each in pair]
        return [*mixed, *longer[len(shorter) :]]

    async def _send(self, commands: Sequence[Command], *, then: Mapping[str, Any] | None = None) -> None:
        """Send commands; once half of them are answered, define the next version while the others are under way.

        Then send again, in the newest form, what was refused because it spoke an older one.
        """
        answered = 0
        half = asyncio.Event()

        def count(answer: Answer) -> None:
            nonlocal answered
            answered += 1
            self._answered(answer)
            if 2 * answered >= len(commands):
                half.set()

        async def evolve(definition: Mapping[str, Any]) -> None:
            await half.wait()
            await self._define(definition, lambda: answered)

        async with asyncio.TaskGroup() as group:
            sending = group.create_task(
                submit_all(self._oncelog, commands, concurrency=self._concurrency, answered=count)
            )
            if then:
                group.create_task(evolve(then))
        answers = sending.result()
        late = [answer for answer in answers if _came_too_late(answer)]
        again = [_again(self._created_in_feet(answer.command.instance_id or "")) for answer in late]
        self._flow.answers += answers
        self._flow.late += late
        self._flow.answers += await submit_all(
            self._oncelog, again, concurrency=self._concurrency, answered=self._answered
        )

    async def _define(self, definition: Mapping[str, Any], answered: Callable[[], int] = lambda: 0) -> None:
        before, version = answered(), definition["version"]
        command = definition_command(DB_NAME, AIRPORT, definition)
        (answer,) = await submit_all(self._oncelog, [command], concurrency=1)
        self._flow.evolutions.append(Evolution(version, answer, answered() - before))


def _came_too_late(answer: Answer) -> bool:
    return (
        answer.command.command_type is CommandType.CREATE_INSTANCE and answer.outcome == RejectionCode.PAYLOAD_INVALID
    )


def _again(command: Command) -> Command:
    return command.model_copy(update={"command_id": f"{command.command_id}-again"})
