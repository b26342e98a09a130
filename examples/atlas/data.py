"""The demo's real input: countries and subdivisions of ISO 3166, and the world's airports.

They come with packages of the extra ``demo``; a missing one raises InputInvalid, which says how to have it. Command
IDs are always the same for the same data, so that a second run consists of duplicates only.
"""

import importlib
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from types import ModuleType
from typing import Any

from examples.atlas.classes import AIRPORT, COUNTRY, SUBDIVISION
from oncelog.client.client import Command, CommandType, class_command
from oncelog.errors import InputInvalid

#: The quick demo's database, and the full one's: each is whole whether or not the other ran.
DB_NAME, WORLD = "demo", "world"

#: Which countries airports are in that ISO 3166 does not have, and what is to be said of them.
OUTSIDE = ("XK",)
OUTSIDE_REMARK = "XK is Kosovo: it has airports, which refer to it, and no entry in ISO 3166."

#: Whose subdivisions and airports the quick demo has.
REGION = ("BO", "EC", "IE", *OUTSIDE)
SHOWN = "SLLP"  # El Alto, above La Paz
EXISTING = "BO"  # a country that is created twice
DELETED = "AQ"  # there is no population that could object


class Placed(StrEnum):
    """The subdivision's name that an airport's record has or lacks, and its resolution."""

    FOUND = "named as in ISO 3166-2"
    UNNAMED = "not named"
    UNKNOWN = "named otherwise"
    AMBIGUOUS = "named as several are"


def placed_text(placed: Counter[Placed]) -> str:
    """Say how many airports have their subdivision, and why the others have none."""
    return ", ".join(f"{count:,} {how}" for how, count in placed.most_common())


@dataclass(frozen=True)
class Load:
    """Instances of one class to create at once: the items of a bulk command.

    ``source``: where they are from; ``shown``: the ID of the example.
    """

    command_id: str
    class_id: str
    source: str
    shown: str
    items: list[dict[str, Any]]


class SubdivisionNames:
    """The subdivisions of ISO 3166-2 by what they are called: the whole name, or one of several in it.

    Capitals, accents and punctuation do not count: ``Santo-Domingo-de-los-Tsachilas`` is ``Santo Domingo de los
    Tsáchilas``. Names in other languages than ISO has are not guessed at.
    """

    def __init__(self) -> None:
        self._codes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)
        for record in _package("pycountry").subdivisions:
            for name in (record.name, *re.split(r"[][(),;/]", record.name)):
                if plain := _plain(name):
                    self._codes[record.country_code, plain].add(record.code)

    def find(self, airport: Mapping[str, Any]) -> tuple[str | None, Placed]:
        """Return the code of the subdivision that an airport's record names, if it is one and only one."""
        if not airport["subd"]:
            return None, Placed.UNNAMED
        codes = self._codes.get((airport["country"], _plain(airport["subd"])), set())
        if len(codes) == 1:
            return next(iter(codes)), Placed.FOUND
        return None, Placed.AMBIGUOUS if codes else Placed.UNKNOWN


def country_commands() -> list[Command]:
    """Return a CREATE for each country, an UPDATE where it has a common name, one DELETE."""
    countries = _countries()
    created = [create(COUNTRY, country.alpha_2, _country(country)) for country in countries]
    updated = [
        update(COUNTRY, country.alpha_2, _names(country)) for country in countries if hasattr(country, "common_name")
    ]
    return [*created, *updated, _command(CommandType.DELETE_INSTANCE, COUNTRY, DELETED, {})]


def taken_command() -> Command:
    """Return a CREATE that takes the code which the deleted country has let go."""
    (deleted,) = [country for country in _countries() if country.alpha_2 == DELETED]
    return create(COUNTRY, deleted.alpha_3, _country(deleted))


def colliding_command(record: Mapping[str, Any], *, db_name: str = DB_NAME) -> Command:
    """Return a CREATE of another instance with the ICAO code of an airport that exists."""
    payload = airport({**record, "iata": ""}, in_feet=True)
    return _command(CommandType.CREATE_INSTANCE, AIRPORT, f"{record['icao']}-2", payload, db_name=db_name)


def subdivision_commands(countries: Collection[str] = REGION) -> list[Command]:
    """Return a CREATE for each subdivision of these countries."""
    return [
        create(SUBDIVISION, record.code, _subdivision(record))
        for record in _subdivisions()
        if record.country_code in countries
    ]


def airport_records(countries: Collection[str] = REGION) -> list[dict[str, Any]]:
    """Return the records of these countries' airports, the one that is shown first, then by code."""
    found = [record for record in _package("airportsdata").load().values() if record["country"] in countries]
    return sorted(found, key=lambda record: (record["icao"] != SHOWN, record["icao"]))


def airport(record: Mapping[str, Any], subdivision: str | None = None, *, in_feet: bool = False) -> dict[str, Any]:
    """Return an airport's data. ``in_feet``: as of the version where the elevation says its unit."""
    elevation = {"elevation_ft" if in_feet else "elevation": record["elevation"]}
    others = {name: value for name, value in record.items() if name != "elevation"}
    return _without_blanks({**others, **elevation, "subdivision": subdivision})


def create(class_id: str, instance_id: str, payload: dict[str, Any]) -> Command:
    return _command(CommandType.CREATE_INSTANCE, class_id, instance_id, payload)


def update(class_id: str, instance_id: str, payload: dict[str, Any]) -> Command:
    return _command(CommandType.UPDATE_INSTANCE, class_id, instance_id, payload)


def definition_command(db_name: str, class_id: str, definition: Mapping[str, Any]) -> Command:
    """Return the command that defines a class."""
    command_id = f"{db_name}-define-{class_id}-{definition['version']}"
    return class_command(
        CommandType.DEFINE_CLASS, db_name, class_id, command_id, payload=dict(definition), actor="demo"
    )


def countries() -> Load:
    """Return all countries."""
    items = [_item(country.alpha_2, _country(country) | _names(country)) for country in _countries()]
    return _load("countries", COUNTRY, "pycountry", items, shown=EXISTING)


def subdivisions() -> Load:
    """Return what ISO 3166-2 has, each with the country, and the subdivision, that it is part of."""
    items = [_item(record.code, _subdivision(record)) for record in _subdivisions()]
    return _load("subdivisions", SUBDIVISION, "pycountry", items, shown="BO-L")


def airports() -> tuple[Load, Counter[Placed]]:
    """Return all airports by their ICAO code, or what stands for one, and how many were placed in a subdivision."""
    names, placed = SubdivisionNames(), Counter[Placed]()
    items = []
    for code, record in sorted(_package("airportsdata").load().items()):
        subdivision, how = names.find(record)
        placed[how] += 1
        items.append(_item(code, airport(record, subdivision, in_feet=True)))
    return _load("airports", AIRPORT, "airportsdata", items, shown=SHOWN), placed


def _countries() -> list[Any]:
    return sorted(_package("pycountry").countries, key=lambda country: country.alpha_2)


def _country(record: Any) -> dict[str, Any]:
    return _fields(record, "name", "alpha_2", "alpha_3", "numeric")


def _names(record: Any) -> dict[str, Any]:
    return _fields(record, "common_name", "official_name", "flag")


def _subdivisions() -> list[Any]:
    """Return them so that whatever another one is within comes first."""
    return sorted(_package("pycountry").subdivisions, key=lambda record: (bool(record.parent_code), record.code))


def _subdivision(record: Any) -> dict[str, Any]:
    return _without_blanks(_fields(record, "code", "name", "type", "country_code", "parent_code"))


def _command(
    command_type: CommandType, class_id: str, instance_id: str, payload: dict[str, Any], *, db_name: str = DB_NAME
) -> Command:
    return Command(
        command_id=f"{db_name}-{command_type.removesuffix('_INSTANCE').lower()}-{class_id}-{instance_id}",
        command_type=command_type,
        db_name=db_name,
        class_id=class_id,
        instance_id=instance_id,
        payload=payload,
        actor="demo",
    )


def _load(name: str, class_id: str, package: str, items: list[dict[str, Any]], *, shown: str) -> Load:
    source = f"{package} {version(package)}"
    return Load(f"{WORLD}-{name}-{version(package)}", class_id, source, shown, items)


def _item(instance_id: str, payload: dict[str, Any]) -> dict[str, Any]:
    return {"instance_id": instance_id, "payload": payload}


def _without_blanks(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what the source leaves empty."""
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _fields(record: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names if hasattr(record, name)}


def _plain(name: str) -> str:
    """Return a name in lower case without accents, its words apart by one blank."""
    letters = (each for each in unicodedata.normalize("NFKD", name) if not unicodedata.combining(each))
    return " ".join(re.findall(r"\w+", "".join(letters).casefold()))


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputInvalid(f'the demo needs {name}: pip install "oncelog[demo]"') from error
