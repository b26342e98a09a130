"""Three questions that need the graph, asked of the demo's instances, as tables that fit a terminal.

Each says how an operator would ask it, and what is not as it should be in its answer.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rich.table import Table

from examples.atlas.classes import AIRPORT, COUNTRY
from examples.atlas.farewell import shell_prefix
from oncelog import console
from oncelog.bounded_gather import bounded_gather
from oncelog.console import remarks, text_line
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Range
from oncelog.query.hops import Answer, Hop
from oncelog.query.reader import Reader

ENDS_MAX = 10_000
QUESTIONS_AT_A_TIME = 4
SUBDIVISIONS, AIRPORTS = Hop("subdivisions"), Hop("airports")
BETWEEN = ("located_in", "part_of")


@dataclass(frozen=True)
class Questions:
    """A question and the database it is asked of.

    ``high``: a country and an elevation in feet; ``countries``: which are compared; ``ends``: two airports.
    ``remark``: why some of the countries are not there.
    """

    db_name: str
    high: tuple[str, int]
    countries: Sequence[str]
    ends: tuple[str, str]
    remark: str = ""


@dataclass
class Answered:
    """One question, how it is typed, its answer as rows below a header, and what is to be said of it.

    None in a row stands for what is not known.
    """

    question: str
    typed: str
    header: Sequence[str]
    rows: list[tuple[str | int | None, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def present(self, *, rows_max: int) -> None:
        """Print it for people."""
        console.output.print(text_line(self.question, "bold"))
        console.output.print(text_line(f"$ {shell_prefix()}{self.typed}", "dim"), soft_wrap=True)
        table = Table(*self.header, box=None, pad_edge=False)
        for index, column in enumerate(table.columns):
            column.justify = "right" if any(isinstance(row[index], int) for row in self.rows) else "left"
        for row in self.rows[:rows_max]:
            table.add_row(*(text_line(_cell(value)) for value in row))
        console.output.print(table)
        more = [f"… and {len(self.rows) - rows_max} more"] if len(self.rows) > rows_max else []
        for note in (*more, *self.notes):
            console.output.print(text_line(note, "dim"))

    def fields(self) -> dict[str, Any]:
        """Return it as JSON."""
        rows = [dict(zip(self.header, row, strict=True)) for row in self.rows]
        return {"question": self.question, "typed": self.typed, "rows": rows, "notes": self.notes}


@dataclass(frozen=True)
class _Country:
    """The graph's airports of one country.

    ``among``: how many each of its subdivisions has; ``in_none``: how many are in none of them, None where there are
    more airports than one question may look at.
    """

    among: Counter[AggregateId]
    in_none: int | None
    answers: Sequence[Answer]


class Asking:
    """Asks one set of questions. ``token``: the least that the answers must show."""

    def __init__(self, reader: Reader, questions: Questions, *, token: str | None, deadline_s: float) -> None:
        self._reader = reader
        self._asked = questions
        self._shown: dict[str, Any] = {"token": token, "deadline_s": deadline_s}

    async def all(self) -> list[Answered]:
        """Return all three answers; raises as ``Oncelog.reader`` does."""
        return [await self.high_airports(), await self.compared_countries(), await self.shortest_path()]

    async def high_airports(self) -> Answered:
        """Ask for a country's airports above an elevation, by way of its subdivisions."""
        code, feet = self._asked.high
        country = self._country(code)
        high = Hop("airports", where={"/elevation_ft": Range(at_least=feet)})
        answer = await self._walk([country], SUBDIVISIONS, high)
        direct = await self._walk([country], high)
        found = Answered(
            f"1. Which airports of {_name(answer, country)}, by its subdivisions, lie at {feet:,} ft and above?",
            f"oncelog graph {country} subdivisions 'airports[/elevation_ft>={feet}]'",
            ("airport", "ft", "in", "name"),
        )
        for _, subdivision, airport in answer.paths:
            within = f"{subdivision.instance_id} {_name(answer, subdivision)}"
            feet_there = round(_data(answer, airport).get("elevation_ft", 0))
            found.rows.append((airport.instance_id, feet_there, within, _name(answer, airport)))
        found.rows.sort(key=lambda row: (-int(row[1] or 0), str(row[0])))
        reached = {path[-1] for path in answer.paths}
        found.notes += [
            f"Not among them: {airport.instance_id} {_name(direct, airport)}, as high, in no subdivision."
            for _, airport in direct.paths
            if airport not in reached
        ]
        found.notes += _remarks([answer, direct])
        return found

    async def compared_countries(self) -> Answered:
        """Ask which countries have most airports two hops away, and how many of their subdivisions have none."""
        countries = [self._country(code) for code in self._asked.countries]
        there = await self._walk(countries, SUBDIVISIONS)
        subdivisions: dict[AggregateId, list[AggregateId]] = {country: [] for country in countries}
        for country, subdivision in there.paths:
            subdivisions[country].append(subdivision)

        async def compared(country: AggregateId) -> _Country:
            return await self._compared(country, subdivisions[country])

        known = [country for country in countries if country not in there.dangling]
        results = await bounded_gather(compared, known, at_once=QUESTIONS_AT_A_TIME)
        pairs = list(zip(known, results, strict=True))
        found = Answered(
            "2. Which countries have most airports in subdivisions, and subdivisions without any?",
            f"oncelog graph {self._country(self._asked.high[0])} subdivisions airports --limit {ENDS_MAX}",
            ("country", "airports", "subdivisions", "without any", "airports in none"),
        )
        for country, one in sorted(pairs, key=lambda pair: (-pair[1].among.total(), str(pair[0]))):
            count = len(subdivisions[country])
            counts = (one.among.total(), count, count - len(one.among), one.in_none)
            knowing = (each for each in (there, *one.answers) if country in each.documents)
            name = _name(next(knowing, there), country)
            found.rows.append((name, *counts))
            if one.in_none is None:
                found.notes.append(f"?: {name} has more airports than one question looks at.")
        if there.dangling and self._asked.remark:
            found.notes.append(self._asked.remark)
        found.notes += _remarks([there, *(answer for _, one in pairs for answer in one.answers)])
        return found

    async def shortest_path(self) -> Answered:
        """Ask how two airports hang together."""
        start, end = (AggregateId.of(self._asked.db_name, AIRPORT, code) for code in self._asked.ends)
        answer = await self._reader.shortest_path(start, end, names=BETWEEN, both_ways=True, **self._shown)
        along = " ".join(f"--via {name}" for name in BETWEEN)
        found = Answered(
            f"3. Which is the shortest way from {start.instance_id} to {end.instance_id}?",
            f"oncelog path {start} {end} {along} --both-ways",
            ("step", "instance", "name"),
        )
        for path in answer.paths:
            for step, each in enumerate(path):
                found.rows.append((step, f"{each.class_id}/{each.instance_id}", _name(answer, each)))
        found.notes += _remarks([answer])
        return found

    async def _compared(self, country: AggregateId, subdivisions: Sequence[AggregateId]) -> _Country:
        there = await self._walk([country], SUBDIVISIONS, AIRPORTS)
        answers = [there]
        if there.cut:  # then of each subdivision alone, which is less to look at
            answers = [await self._walk([subdivision], AIRPORTS) for subdivision in subdivisions]
        direct = await self._walk([country], AIRPORTS)
        placed = {path[-1] for answer in answers for path in answer.paths}
        in_none = {path[-1] for path in direct.paths} - placed
        return _Country(
            among=Counter(path[-2] for answer in answers for path in answer.paths),
            in_none=None if direct.cut else len(in_none),
            answers=[*answers, replace(direct, cut=False)],  # the country's in_none says so
        )

    async def _walk(self, starts: Sequence[AggregateId], *hops: Hop) -> Answer:
        return await self._reader.walk(starts, hops, ends_max=ENDS_MAX, **self._shown)

    def _country(self, code: str) -> AggregateId:
        return AggregateId.of(self._asked.db_name, COUNTRY, code)


def _cell(value: str | int | None) -> str:
    return "?" if value is None else f"{value:,}" if isinstance(value, int) else value


def _data(answer: Answer, aggregate_id: AggregateId) -> dict[str, Any]:
    document = answer.documents.get(aggregate_id)
    return dict(document.body["data"]) if document else {}


def _name(answer: Answer, aggregate_id: AggregateId) -> str:
    data = _data(answer, aggregate_id)
    return str(data.get("common_name") or data.get("name") or aggregate_id.instance_id)


def _remarks(answers: Iterable[Answer]) -> list[str]:
    """Return what is not as it should be in any of the answers, each once."""
    return list(dict.fromkeys(text for answer in answers for text in remarks(answer)))
