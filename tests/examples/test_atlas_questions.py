"""The demo's questions, of a small world in memory: their counts, and the gaps that they report."""

import pytest

from examples.atlas.classes import AIRPORT, AIRPORTS_IN_FEET, COUNTRIES, COUNTRY, SUBDIVISION, SUBDIVISIONS
from examples.atlas.data import create, definition_command
from examples.atlas.questions import Asking, Questions
from oncelog.query.reader import Reader
from tests.write.world import World

DEFINITIONS = {COUNTRY: COUNTRIES, SUBDIVISION: SUBDIVISIONS, AIRPORT: AIRPORTS_IN_FEET}
QUESTIONS = Questions("demo", ("AT", 1_000), ["AT", "LI", "MC", "XX"], ends=("VIE", "INN"), remark="XX is nowhere")


def _airport(code: str, feet: float, country: str, subdivision: str | None) -> dict[str, object]:
    placed = {"subdivision": subdivision} if subdivision else {}
    return {"icao": code, "name": f"At {code}", "country": country, "tz": "x", "lat": 1, "lon": 2, **placed} | {
        "elevation_ft": feet
    }


@pytest.fixture
async def world() -> World:
    """Two countries with subdivisions, one without, one that is not there; airports in all, some in no subdivision."""
    world = World()
    process = world.process()
    commands = [definition_command("demo", class_id, payload) for class_id, payload in DEFINITIONS.items()]
    for code, name in (("AT", "Austria"), ("LI", "Liechtenstein"), ("MC", "Monaco")):
        fields = {"name": name, "alpha_2": code, "alpha_3": code * 2, "numeric": "1"}
        commands.append(create(COUNTRY, code, fields))
    for code, name in (("AT-9", "Wien"), ("AT-7", "Tirol"), ("AT-8", "Vorarlberg"), ("LI-11", "Vaduz")):
        fields = {"code": code, "name": name, "type": "State", "country_code": code[:2]}
        commands.append(create(SUBDIVISION, code, fields))
    airports = (
        _airport("VIE", 600, "AT", "AT-9"),
        _airport("LOAV", 765.6, "AT", "AT-9"),
        _airport("INN", 1906, "AT", "AT-7"),
        _airport("LOIR", 2776, "AT", "AT-7"),
        _airport("LOXX", 1000, "AT", None),
        _airport("LOXY", 999, "AT", None),
        _airport("LOXZ", 999, "AT", None),
        _airport("NOTE", 500, "LI", "LI-99"),
        _airport("LNMC", 33, "MC", None),
        _airport("NONE", 33, "XX", None),
    )
    commands += [create(AIRPORT, str(airport["icao"]), airport) for airport in airports]
    for command in commands:
        assert (await process.run(command)).rejection is None
    return world


def _asking(world: World, **limits: int) -> Asking:
    process = world.process()
    return Asking(Reader(process.ports, process.pipeline.reader, **limits), QUESTIONS, token=None, deadline_s=0)


async def test_high_airports_are_found_through_subdivisions(world: World):
    found = await _asking(world).high_airports()
    assert found.rows == [("LOIR", 2776, "AT-7 Tirol", "At LOIR"), ("INN", 1906, "AT-7 Tirol", "At INN")]
    assert found.notes == ["Not among them: LOXX At LOXX, as high, in no subdivision."]


async def test_countries_are_compared_and_what_is_not_there_is_named(world: World):
    found = await _asking(world).compared_countries()
    assert found.rows == [("Austria", 4, 3, 1, 3), ("Liechtenstein", 0, 1, 1, 1), ("Monaco", 0, 0, 0, 1)]
    assert found.notes == ["XX is nowhere", "not in the graph: demo/Country/XX"]


async def test_large_country_is_counted_by_its_subdivisions(world: World):
    found = await _asking(world, nodes_max=7).compared_countries()
    assert found.rows[0] == ("Austria", 4, 3, 1, None)
    assert "?: Austria has more airports than one question looks at." in found.notes


async def test_the_shortest_way_is_shown_step_by_step(world: World):
    found = await _asking(world).shortest_path()
    assert [(step, instance) for step, instance, _ in found.rows] == [
        (0, "Airport/VIE"),
        (1, "Subdivision/AT-9"),
        (2, "Country/AT"),
        (3, "Subdivision/AT-7"),
        (4, "Airport/INN"),
    ]
    assert found.rows[2][2] == "Austria"


async def test_answer_is_a_table_and_a_json_object(world: World, capsys: pytest.CaptureFixture[str]):
    found = await _asking(world).compared_countries()
    found.rows.append(("United States", 12_579, 57, 4, None))
    found.present(rows_max=2)
    shown = capsys.readouterr().out
    assert "Austria" in shown
    assert "Monaco" not in shown
    assert "… and 2 more" in shown
    found.present(rows_max=9)
    assert "12,579" in (out := capsys.readouterr().out)
    assert all(len(line) <= 80 for line in out.splitlines() if not line.startswith("$"))
    assert found.fields()["rows"][-1] == {
        "country": "United States",
        "airports": 12_579,
        "subdivisions": 57,
        "without any": 4,
        "airports in none": None,
    }
