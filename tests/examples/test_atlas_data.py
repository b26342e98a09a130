"""The demo's real input, as it is installed, and the definitions that it is sent under."""

from collections import Counter
from collections.abc import Callable
from functools import cache
from importlib.metadata import version
from typing import Any

import airportsdata
import pycountry
import pytest

from examples.atlas.classes import AIRPORT, AIRPORTS, AIRPORTS_IN_FEET, AIRPORTS_PLACED, COUNTRIES, SUBDIVISIONS
from examples.atlas.data import (
    DB_NAME,
    Load,
    Placed,
    SubdivisionNames,
    airport,
    airport_records,
    airports,
    countries,
    country_commands,
    definition_command,
    subdivision_commands,
    subdivisions,
)
from oncelog.domain.commands import Command, CommandType, parse_command
from oncelog.domain.decide import decide
from oncelog.domain.events import Event
from oncelog.domain.instance import Instance, evolve
from oncelog.domain.ontology.definition import parse_definition
from oncelog.domain.ontology.migration import migrated
from oncelog.domain.ontology.schemas import validator_of

VERSIONS = (AIRPORTS, AIRPORTS_PLACED, AIRPORTS_IN_FEET)


placed_airports = cache(airports)


def all_airports() -> Load:
    return placed_airports()[0]


@pytest.mark.parametrize(
    ("load", "package", "source", "definition"),
    [
        (countries, "pycountry", pycountry.countries, COUNTRIES),
        (subdivisions, "pycountry", pycountry.subdivisions, SUBDIVISIONS),
        (all_airports, "airportsdata", airportsdata.load(), AIRPORTS_IN_FEET),
    ],
)
def test_every_record_is_an_item_that_fits_its_class(
    load: Callable[[], Load], package: str, source: Any, definition: dict[str, Any]
):
    loaded = load()
    assert loaded.source == f"{package} {version(package)}"
    assert len({item["instance_id"] for item in loaded.items}) == len(loaded.items) == len(source)
    validator = validator_of(parse_definition(definition, class_id=loaded.class_id).json_schema)
    for item in loaded.items:
        assert validator.is_valid(item["payload"])
    for item in loaded.items[::20]:
        command = {"command_id": "c", "command_type": "CREATE_INSTANCE", "db_name": "d", "class_id": loaded.class_id}
        assert parse_command({**command, **item}).payload == item["payload"]


def test_what_refers_to_others_is_kept_and_what_is_empty_is_not():
    payloads = {item["instance_id"]: item["payload"] for item in subdivisions().items}
    assert payloads["BY-HM"].keys() == {"code", "name", "type", "country_code"}
    parts = [payload for payload in payloads.values() if "parent_code" in payload]
    assert len(parts) == sum(subdivision.parent_code is not None for subdivision in pycountry.subdivisions)
    (vienna,) = [item["payload"] for item in all_airports().items if item["instance_id"] == "LOWW"]
    assert (vienna["iata"], vienna["country"], "lid" in vienna) == ("VIE", "AT", False)


def test_what_others_are_within_comes_first():
    items = subdivisions().items
    position = {item["instance_id"]: index for index, item in enumerate(items)}
    for index, item in enumerate(items):
        parent = item["payload"].get("parent_code")
        assert parent is None or position[parent] < index or "parent_code" in items[position[parent]]["payload"]


def test_subdivision_is_found_by_a_name_it_has():
    """Held against the packages, by a way of comparing of its own."""
    names = SubdivisionNames()
    named: dict[tuple[str, str], set[str]] = {}
    for record in pycountry.subdivisions:
        named.setdefault((record.country_code, record.name.casefold()), set()).add(record.code)
    counted: Counter[Placed] = Counter()
    for record in airportsdata.load().values():
        code, how = names.find(record)
        counted[how] += 1
        same = named.get((record["country"], record["subd"].casefold()), set())
        assert (how is Placed.UNNAMED) == (record["subd"] == "")
        assert (code is not None) == (how is Placed.FOUND)
        if code is not None:
            found = pycountry.subdivisions.get(code=code)
            assert found.country_code == record["country"]
            assert same <= {code}
        elif how is Placed.UNKNOWN:
            assert same == set()
    assert counted == placed_airports()[1]
    assert counted[Placed.FOUND] > 0.8 * counted.total()


@pytest.mark.parametrize(
    ("country", "name", "code", "how"),
    [
        ("BO", "Potosi", "BO-P", Placed.FOUND),
        ("EC", "Santo-Domingo-de-los-Tsachilas", "EC-SD", Placed.FOUND),
        ("AT", "Lower-Austria", None, Placed.UNKNOWN),  # there it is Niederösterreich
        ("BO", "", None, Placed.UNNAMED),
        ("XK", "Pristina", None, Placed.UNKNOWN),
        ("ES", "Madrid", None, Placed.AMBIGUOUS),  # a province, and a community
    ],
)
def test_names_are_compared_without_accents_and_not_translated(country: str, name: str, code: str | None, how: Placed):
    assert SubdivisionNames().find({"country": country, "subd": name}) == (code, how)


def test_each_version_of_the_airport_follows_from_the_one_before():
    state = Instance(aggregate_id=f"{DB_NAME}/_class/{AIRPORT}")
    for definition in VERSIONS:
        event = decide(
            state, definition_command(DB_NAME, AIRPORT, definition), occurred_at="2026-01-01T00:00:00.000000Z"
        )
        assert isinstance(event, Event), event
        state = evolve(state, event)
    assert state.sequence_number == 3


def test_old_forms_fit_a_minor_and_a_major_migrates_them():
    found = {definition["version"]: parse_definition(definition, class_id=AIRPORT) for definition in VERSIONS}

    def fits(payload: dict[str, Any], version: str) -> bool:
        return validator_of(found[version].json_schema).is_valid(payload)

    names = SubdivisionNames()
    for record in airport_records(["BO"]):
        first, second = airport(record), airport(record, names.find(record)[0])
        assert fits(first, "1.0.0")
        assert fits(first, "1.1.0")
        assert fits(second, "1.1.0")
        assert fits(second, "1.0.0") == ("subdivision" not in second)
        assert not fits(first, "2.0.0")
        assert not fits(second, "2.0.0")
        assert migrated(second, found["2.0.0"].migration) == airport(record, names.find(record)[0], in_feet=True)
        assert fits(migrated(second, found["2.0.0"].migration), "2.0.0")


def test_command_ids_are_stable_and_unique():
    def commands() -> list[Command]:
        return [*country_commands(), *subdivision_commands()]

    first, second = commands(), commands()
    assert first == second
    assert len({command.command_id for command in first}) == len(first)
    created = [command for command in first if command.command_type is CommandType.CREATE_INSTANCE]
    assert sum(command.class_id == "Country" for command in created) == len(pycountry.countries)
