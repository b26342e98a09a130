"""Both demos on real servers, with fewer instances; their answers held against what the data itself says."""

import json
import unicodedata
from dataclasses import replace
from typing import Any

import airportsdata
import pycountry
import pytest

from examples.atlas.classes import AIRPORT, AIRPORTS, AIRPORTS_IN_FEET, AIRPORTS_PLACED
from examples.atlas.data import (
    DB_NAME,
    OUTSIDE,
    SHOWN,
    WORLD,
    Load,
    airport_records,
    airports,
    countries,
    country_commands,
    definition_command,
    subdivision_commands,
    subdivisions,
)
from examples.atlas.full import apply_loads, ask, collide
from examples.atlas.questions import Questions
from examples.atlas.quick import Demo, Scene
from oncelog.cli.exits import Exit
from oncelog.domain.events import content_of
from oncelog.domain.results import Outcome
from tests.integration.installation import Installation

pytestmark = pytest.mark.integration

#: Airports: the shown one, one in another department, the highest ones, one in no department, and Kosovo's.
CODES = (SHOWN, "SLVR", "SLUU", "SLPO", "SLCN", "SLET", "SLAL", "SLOR", "SLTJ", *("BKPR", "LYPT"))
FEET = 12_500


def _dead_letters(name: str) -> str:
    """Return a name's letters without accents and capitals, compared otherwise than the demo does."""
    return "".join(each for each in unicodedata.normalize("NFKD", name).lower() if each.isalpha())


class Data:
    """The packages' data on some airports, read without the demo."""

    def __init__(self, codes: set[str]) -> None:
        self.airports = {code: each for code, each in airportsdata.load().items() if code in codes}

    def subdivision(self, code: str) -> Any:
        """Return the one that is called as the airport's record says, or None."""
        airport = self.airports[code]
        candidates = [each for each in pycountry.subdivisions if each.country_code == airport["country"]]
        return next((each for each in candidates if _dead_letters(each.name) == _dead_letters(airport["subd"])), None)

    def high(self, country: str) -> list[dict[str, Any]]:
        rows = [
            {
                "airport": code,
                "ft": round(airport["elevation"]),
                "in": f"{self.subdivision(code).code} {self.subdivision(code).name}",
                "name": airport["name"],
            }
            for code, airport in self.airports.items()
            if airport["country"] == country and airport["elevation"] >= FEET and self.subdivision(code)
        ]
        return sorted(rows, key=lambda row: -row["ft"])

    def compared(self, country: str, name: str) -> dict[str, Any]:
        within = [code for code, airport in self.airports.items() if airport["country"] == country]
        used = [self.subdivision(code).code for code in within if self.subdivision(code)]
        count = sum(each.country_code == country for each in pycountry.subdivisions)
        return {
            "country": name,
            "airports": len(used),
            "subdivisions": count,
            "without any": count - len(set(used)),
            "airports in none": len(within) - len(used),
        }

    def way(self, start: str, end: str, name: str) -> list[dict[str, Any]]:
        """Return the only shortest way between airports in two subdivisions of one country."""
        one, other = self.subdivision(start), self.subdivision(end)
        country = one.country_code
        assert one.code != other.code
        places = [
            (f"Airport/{start}", self.airports[start]["name"]),
            (f"Subdivision/{one.code}", one.name),
            (f"Country/{country}", name),
            (f"Subdivision/{other.code}", other.name),
            (f"Airport/{end}", self.airports[end]["name"]),
        ]
        return [{"step": step, "instance": place, "name": called} for step, (place, called) in enumerate(places)]


def _questions(db_name: str) -> Questions:
    return Questions(db_name, ("BO", FEET), ["BO", "EC", *OUTSIDE], ends=(SHOWN, "SLVR"), remark="not in ISO 3166")


def _objects(output: str) -> list[dict[str, Any]]:
    """Return what is printed for programs; the worker in this process says something in between."""
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]


def _answers(output: str) -> list[dict[str, Any]]:
    return [each for each in _objects(output) if "question" in each]


def _hold_against_data(answers: list[dict[str, Any]], codes: set[str]) -> None:
    high, compared, way = answers
    data = Data(codes)
    assert high["rows"] == data.high("BO")
    assert {row["airport"] for row in high["rows"]} >= {"SLUU", SHOWN}
    assert high["notes"] == ["Not among them: SLCN Charana Airport, as high, in no subdivision."]
    assert compared["rows"] == [data.compared("BO", "Bolivia"), data.compared("EC", "Ecuador")]
    assert compared["notes"][0] == "not in ISO 3166"
    assert [note.partition(":")[0] for note in compared["notes"][1:]] == ["not in the graph"]
    assert compared["notes"][1].endswith("/Country/XK")
    assert way["rows"] == data.way(SHOWN, "SLVR", "Bolivia")
    assert way["notes"] == []


def _demo(installation: Installation) -> Demo:
    kept = {"BO", "EC", "AQ"}
    commands = [command for command in country_commands() if command.instance_id in kept]
    records = [record for record in airport_records(["BO", "XK"]) if record["icao"] in CODES]
    scene = Scene([*commands, *subdivision_commands(["BO", "EC"])], records, _questions(DB_NAME))
    return Demo(installation.client, installation.stores, installation.settings, scene, concurrency=8)


async def test_second_demo_answers_the_same_after_evolution(
    installation: Installation, capsys: pytest.CaptureFixture[str]
):
    async def run(*, as_json: bool) -> str:
        assert await _demo(installation).run(as_json=as_json) is Exit.FINE
        return capsys.readouterr().out

    async with installation.worker():
        first, second, third = await run(as_json=True), await run(as_json=False), await run(as_json=True)
    results = _objects(first)
    applied = [each for each in results if each.get("outcome") == "APPLIED"]
    refused = {each["rejection"]["code"] for each in results if each.get("rejection")}
    assert not any(each["duplicate"] for each in applied)
    assert {"InstanceExists", "CommandIdReused", "PayloadInvalid", "UniqueViolated"} == refused
    _hold_against_data(_answers(first), set(CODES))
    assert _answers(third) == _answers(first)
    assert all(each["duplicate"] for each in _objects(third) if "question" not in each)
    count = len(CODES)
    assert f"Airports: {count} sent, {count} in S3, {count} found by search, {count} of them by elevation_ft" in (
        " ".join(second.split())
    )
    logs = await installation.check()
    contents = [content_of(event) for log in logs.values() for event in log if event.class_id == AIRPORT]
    assert {each.definition.version for each in contents if each.definition} == {"1.0.0", "1.1.0", "2.0.0"}


async def test_demo_continues_after_its_class_has_moved_on(
    installation: Installation, capsys: pytest.CaptureFixture[str]
):
    """As after a run that was interrupted: whatever still speaks an old form comes too late, and is sent again."""
    async with installation.worker():
        for definition in (AIRPORTS, AIRPORTS_PLACED, AIRPORTS_IN_FEET):
            result = await installation.client.submit(definition_command(DB_NAME, AIRPORT, definition))
            assert result.outcome is Outcome.APPLIED
        assert await _demo(installation).run(as_json=True) is Exit.FINE
    found = _objects(capsys.readouterr().out)
    _hold_against_data(_answers("\n".join(map(json.dumps, found))), set(CODES))
    late = [each["command_id"] for each in found if (each.get("rejection") or {}).get("code") == "PayloadInvalid"]
    again = {each["command_id"] for each in found if each.get("outcome") == "APPLIED"}
    late.remove(f"{DB_NAME}-create-{AIRPORT}-NEW")  # which is shown to be refused
    assert len(late) == len(CODES) - len(CODES) // 3
    assert again >= {f"{command_id}-again" for command_id in late}
    await installation.check()


def _load(load: Load, kept: set[str]) -> Load:
    items = [item for item in load.items if item["instance_id"] in kept]
    assert len(items) == len(kept)
    return replace(load, items=items)


async def test_a_second_full_demo_shows_the_first_results(
    installation: Installation, capsys: pytest.CaptureFixture[str]
):
    parts = {each.code for each in pycountry.subdivisions if each.country_code in ("BO", "EC")}
    loads = [
        _load(countries(), {"BO", "EC"}),
        _load(subdivisions(), parts),
        _load(airports()[0], set(CODES)),
    ]

    async def shown() -> str:
        assert await apply_loads(installation.client, installation.settings, loads, as_json=False) is Exit.FINE
        return capsys.readouterr().out

    async def answered() -> list[dict[str, Any]]:
        assert await ask(installation.client, _questions(WORLD), as_json=True) is Exit.FINE
        return _answers(capsys.readouterr().out)

    async def collided() -> dict[str, Any]:
        assert await collide(installation.client, airport_records()[0], as_json=True) is Exit.FINE
        (refused,) = _objects(capsys.readouterr().out)
        return refused

    async with installation.worker():
        first = await shown()
        refused = await collided()
        answers = await answered()
        second = await shown()
    assert "items/s" in first
    assert "a duplicate" not in first
    assert refused["rejection"]["details"]["holder"] == f"{WORLD}/{AIRPORT}/{SHOWN}"
    assert second.count("a duplicate: this is its first result") == 3
    assert "items/s" not in second
    _hold_against_data(answers, set(CODES))
    keys = [key.key for key in (await installation.stores.bucket.list_after(f"events/{WORLD}/", ""))[0]]
    assert len(keys) == 3 + sum(len(load.items) for load in loads)


async def test_an_item_that_is_refused_is_a_finding(installation: Installation, capsys: pytest.CaptureFixture[str]):
    some = _load(countries(), {"BO", "EC"})
    async with installation.worker():
        twice = [replace(some, items=[*some.items, some.items[0]])]
        assert await apply_loads(installation.client, installation.settings, twice, as_json=True) is Exit.FINDINGS
    assert '"rejected": 1' in capsys.readouterr().out
