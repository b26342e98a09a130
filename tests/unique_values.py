"""A class with unique constraints, and who holds which value by the logs alone, without the code under test."""

import json
from collections.abc import Mapping
from typing import Any

from oncelog.stores.s3 import StoredObject
from tests.classes import TEXT, WHOLE, define, schema

USERS: dict[str, Any] = {
    "version": "1.0.0",
    "schema": schema(email=TEXT, country=TEXT, plate=TEXT, n=WHOLE),
    "unique": {"email": ["/email"], "plate": ["/country", "/plate"]},
}


def define_users(**more: Any):
    return define({**USERS, **more})


def states(objects: Mapping[str, StoredObject], class_id: str = "Product") -> dict[str, list[dict[str, Any] | None]]:
    """Return each instance's data after each of its events, None where it is deleted; from the objects alone."""
    found: dict[str, list[dict[str, Any] | None]] = {}
    for key in sorted(key for key in objects if key.startswith(f"events/shop/{class_id}/")):
        event = json.loads(objects[key].body)
        history = found.setdefault(event["aggregate_id"], [])
        before = history[-1] if history and history[-1] else {}
        match event["effect"]:
            case "REPLACE":
                history.append(event["data"])
            case "MERGE":
                merged = {**before, **event["data"]}
                history.append({name: value for name, value in merged.items() if value is not None})
            case _:
                history.append(None)
    return found


def holders(objects: Mapping[str, StoredObject], *names: str) -> dict[tuple[Any, ...], list[str]]:
    """Return which live instances hold each value of the members ``names``, taken together."""
    found: dict[tuple[Any, ...], list[str]] = {}
    for aggregate_id, history in states(objects).items():
        data = history[-1] or {}
        value = tuple(data.get(name) for name in names)
        if None not in value:
            found.setdefault(value, []).append(aggregate_id)
    return found


def doubled(objects: Mapping[str, StoredObject]) -> dict[tuple[Any, ...], list[str]]:
    """Return the values that more than one live instance holds."""
    both = holders(objects, "email") | holders(objects, "country", "plate")
    return {value: names for value, names in both.items() if len(names) > 1}
