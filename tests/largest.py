"""The largest permitted thing through every door, and the largest refusals: written objects have to be read back."""

from typing import Any

from oncelog.domain.bulk.command import Bulk
from oncelog.domain.commands import Command
from oncelog.domain.limits import DEFINITION_BYTES_MAX, DEPTH_MAX, METADATA_BYTES_MAX
from tests.bulks import bulk_create, item
from tests.classes import define
from tests.commands import create, update

Story = list[Command | Bulk]


def nested(levels: int) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for _ in range(levels):
        data = {"n": data}
    return data


def largest() -> dict[str, Any]:
    return {f"k{number}": "é" * 340 for number in range(1_500)}


def dearest() -> dict[str, Any]:
    """Return data that costs an index as much as it may."""
    data: Any = list(range(285))
    for _ in range(28):
        data = {"k" * 512: data}
    return {"dearest": data}


def long_places() -> dict[str, Any]:
    data: Any = {f"k{number}": number for number in range(400)}
    for _ in range(20):
        data = {"n" * 498: data}
    return {"deep": data}


def largest_definition() -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "additionalProperties": {"$ref": "#"}}
    definition = {"version": "1.0.0", "schema": schema}
    schema["description"] = "x" * (DEFINITION_BYTES_MAX - 200)
    return definition


def with_metadata(command: Command) -> Command:
    fields = command.model_dump() | {"metadata": {"text": "x" * (METADATA_BYTES_MAX - 20)}}
    return Command.model_validate(fields)


def stories() -> dict[str, Story]:
    """Return commands with new IDs, by door; each story has instances of its own, in a class of its own."""
    told: dict[str, Story] = {
        "deepest": [create("deep", nested(DEPTH_MAX)), update("deep", {"more": 1})],
        "largest": [create("large", largest()), update("large", {"more": 1})],
        "dearest": [create("dear", dearest()), update("dear", {"more": 1})],
        "metadata": [with_metadata(create("told", largest()))],
        "class": [define(largest_definition(), class_id="Tree"), create("t1", long_places(), class_id="Tree")],
        "inline": [bulk_create(item("b1", nested(DEPTH_MAX - 4)), item("b2", largest()))],
        "refused": [bulk_create(*({"instance_id": f"r{n}", "payload": {}, "x" * 100: 1} for n in range(500)))],
    }
    return told
