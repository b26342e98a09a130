"""The demo's real input: countries and subdivisions of ISO 3166, and the world's airports.

Both come with packages of the extra ``demo``; what is not installed is InputInvalid, and says how to have it. Command
IDs are always the same for the same data, so that a second run consists of duplicates only.
"""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from types import ModuleType
from typing import Any

from factline.client import Command, CommandType
from factline.errors import InputInvalid

DB_NAME, COUNTRY = "iso3166", "Country"
SHOWN = "BO"  # a country that is created and updated
DELETED = "AQ"  # nobody lives there who could object


@dataclass(frozen=True)
class Load:
    """Instances of one class to create at once: the items of a bulk command.

    ``source``: where they are from; ``shown``: the one that is looked at.
    """

    command_id: str
    class_id: str
    source: str
    shown: str
    items: list[dict[str, Any]]


def country_commands() -> list[Command]:
    """Return a CREATE for each country, an UPDATE where it has a common name, one DELETE."""
    countries = sorted(_package("pycountry").countries, key=lambda country: country.alpha_2)
    created = [
        country_command(
            CommandType.CREATE_INSTANCE, country.alpha_2, _fields(country, "name", "alpha_2", "alpha_3", "numeric")
        )
        for country in countries
    ]
    updated = [
        country_command(
            CommandType.UPDATE_INSTANCE, country.alpha_2, _fields(country, "common_name", "official_name", "flag")
        )
        for country in countries
        if hasattr(country, "common_name")
    ]
    return [*created, *updated, country_command(CommandType.DELETE_INSTANCE, DELETED, {})]


def country_command(command_type: CommandType, code: str, payload: dict[str, Any]) -> Command:
    return Command(
        command_id=f"iso3166-{command_type.removesuffix('_INSTANCE').lower()}-{code}",
        command_type=command_type,
        db_name=DB_NAME,
        class_id=COUNTRY,
        instance_id=code,
        payload=payload,
        actor="demo",
    )


def subdivisions() -> Load:
    """Return what ISO 3166-2 has, each with the country, and the subdivision, that it is part of."""
    found = sorted(_package("pycountry").subdivisions, key=lambda subdivision: subdivision.code)
    items = [
        _item(subdivision.code, _fields(subdivision, "code", "name", "type", "country_code", "parent_code"))
        for subdivision in found
    ]
    return _load("subdivisions", "Subdivision", "pycountry", items, shown="BO-L")


def airports() -> Load:
    """Return the airports by their ICAO code, or what stands for one, with the country that each is in."""
    found = _package("airportsdata").load()
    items = [_item(code, found[code]) for code in sorted(found)]
    return _load("airports", "Airport", "airportsdata", items, shown="SLLP")


def _load(name: str, class_id: str, package: str, items: list[dict[str, Any]], *, shown: str) -> Load:
    source = f"{package} {version(package)}"
    return Load(f"demo-{name}-{version(package)}", class_id, source, shown, items)


def _item(instance_id: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item of a bulk command, without what its source leaves empty."""
    payload = {name: value for name, value in fields.items() if value not in (None, "")}
    return {"instance_id": instance_id, "payload": payload}


def _fields(record: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(record, name) for name in names if hasattr(record, name)}


def _package(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputInvalid(f'the demo needs {name}: pip install "factline[demo]"') from error
