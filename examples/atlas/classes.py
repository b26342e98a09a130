"""The demo's classes: countries, their subdivisions, and airports, whose definition evolves while they flow.

Relationships stand where the data has them: an airport's country is a field of its record, and the subdivision is the
code that its name was found under, if it was.
"""

from collections.abc import Mapping
from typing import Any

COUNTRY, SUBDIVISION, AIRPORT = "Country", "Subdivision", "Airport"

_TEXT, _NUMBER = {"type": "string"}, {"type": "number"}


def _object(properties: Mapping[str, Any], *optional: str) -> dict[str, Any]:
    """Return a closed object's schema, of which all properties are required that are not optional."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


def _to(target_class: str, path: str, inverse: str) -> dict[str, Any]:
    return {"target_class": target_class, "cardinality": "one", "path": path, "inverse": inverse}


COUNTRIES: dict[str, Any] = {
    "version": "1.0.0",
    "schema": _object(
        dict.fromkeys(("name", "alpha_2", "alpha_3", "numeric", "common_name", "official_name", "flag"), _TEXT),
        "common_name",
        "official_name",
        "flag",
    ),
    "unique": {"alpha_2": ["/alpha_2"]},
}

SUBDIVISIONS: dict[str, Any] = {
    "version": "1.0.0",
    "schema": _object(
        dict.fromkeys(("code", "name", "type", "country_code", "parent_code"), _TEXT),
        "parent_code",
    ),
    "relationships": {
        "part_of": _to(COUNTRY, "/country_code", "subdivisions"),
        "within": _to(SUBDIVISION, "/parent_code", "parts"),
    },
}

_PLACED: dict[str, Any] = {
    **dict.fromkeys(("icao", "iata", "lid", "name", "city", "subd", "country", "tz"), _TEXT),
    "lat": _NUMBER,
    "lon": _NUMBER,
}
_OPTIONAL = ("iata", "lid", "city", "subd", "subdivision")

#: Few airports have a code of IATA; no value is held where there is none.
_CODES = {"icao": ["/icao"], "iata": ["/iata"]}

#: The first version: an airport knows its country only.
AIRPORTS: dict[str, Any] = {
    "version": "1.0.0",
    "schema": _object({**_PLACED, "elevation": _NUMBER}, *_OPTIONAL),
    "relationships": {"in_country": _to(COUNTRY, "/country", "airports")},
    "unique": _CODES,
}

#: A MINOR: all that was valid still is, and an airport may say which subdivision it lies in.
AIRPORTS_PLACED: dict[str, Any] = {
    "version": "1.1.0",
    "schema": _object({**_PLACED, "elevation": _NUMBER, "subdivision": _TEXT}, *_OPTIONAL),
    "relationships": {**AIRPORTS["relationships"], "located_in": _to(SUBDIVISION, "/subdivision", "airports")},
    "unique": _CODES,
}

#: A MAJOR: a number says its unit. Data stored before is read in the new form.
AIRPORTS_IN_FEET: dict[str, Any] = {
    **AIRPORTS_PLACED,
    "version": "2.0.0",
    "schema": _object({**_PLACED, "elevation_ft": _NUMBER, "subdivision": _TEXT}, *_OPTIONAL),
    "migration": [{"rename": {"at": "/elevation", "to": "elevation_ft"}}],
}
