"""Writes samples of stored events, and of the states they folded to: ``python -m tests.domain.record_events``.

A version of the events is sampled once, by the very code that wrote it first, and the files are then kept as they are:
whatever is read today must be readable for ever. So a new version gets a folder of its own beside the old ones.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from oncelog.domain.commands import parse_command
from oncelog.domain.decide import decide
from oncelog.domain.events import SCHEMA_VERSIONS, Event, EventType, read_event
from oncelog.domain.instance import INSTANCE_JSON, Instance, evolve
from oncelog.domain.ontology.class_schema import ClassSchema, class_schema_of

FOLDER = Path(__file__).parent / "stored_events"

#: Types, what is in them, and who asked: everything that a version may treat in its own way.
INSTANCES: list[dict[str, Any]] = [
    {
        "command_type": "CREATE_INSTANCE",
        "payload": {
            "name": "Côte d'Ivoire \U0001f1e8\U0001f1ee",
            "area_km2": 322463.5,
            "population": 31165654,
            "codes": {"alpha_2": "CI", "former": None},
            "languages": ["fr"],
            "landlocked": False,
        },
        "actor": "alice",
        "correlation_id": "import-7",
        "causation_id": "request-1",
        "metadata": {"source": "ISO 3166"},
    },
    {
        "command_type": "UPDATE_INSTANCE",
        "payload": {"codes": {"alpha_2": None, "numeric": "384"}, "languages": ["fr", "dyu"], "landlocked": None},
        "expected_version": 1,
    },
    {"command_type": "DELETE_INSTANCE", "actor": "bob"},
    {"command_type": "CREATE_INSTANCE", "payload": {"name": "again", "smallest": 5e-324, "largest": 2**53 - 1}},
]


VILLAGES: list[dict[str, Any]] = [
    {"command_type": "CREATE_INSTANCE", "payload": {"name": "Grand-Bassam", "pop": "124567", "in": "CI"}},
    {"command_type": "UPDATE_INSTANCE", "payload": {"twinned": ["DE-1"]}},
    {"command_type": "UPDATE_INSTANCE", "payload": {"name": "Grand Bassam"}},
]

_NAMES = {"name": {"type": "string"}, "in": {"type": "string"}}
CLASSES: list[dict[str, Any]] = [
    {
        "command_type": "DEFINE_CLASS",
        "payload": {
            "version": "1.0.0",
            "schema": {
                "type": "object",
                "properties": {**_NAMES, "pop": {"type": "string", "pattern": "^[0-9]+$"}},
                "required": ["name"],
                "additionalProperties": False,
            },
            "relationships": {"part_of": {"target_class": "Country", "cardinality": "one", "path": "/in"}},
        },
        "actor": "alice",
    },
    {
        "command_type": "DEFINE_CLASS",
        "payload": {
            "version": "2.0.0",
            "schema": {
                "type": "object",
                "properties": {
                    **_NAMES,
                    "population": {"type": "integer"},
                    "twinned": {"type": "array", "items": {"type": "string"}},
                },
                "required": ["name", "population"],
                "additionalProperties": False,
            },
            "relationships": {
                "part_of": {"target_class": "Country", "cardinality": "one", "path": "/in", "inverse": "has"},
                "twinned_with": {"target_class": "Village", "cardinality": "many", "path": "/twinned"},
            },
            "migration": [
                {"rename": {"at": "/pop", "to": "population"}},
                {"default": {"at": "/population", "value": 0}},
                {"convert": {"at": "/population", "to": "integer", "otherwise": 0}},
            ],
        },
        "expected_version": 1,
    },
    {"command_type": "RETIRE_CLASS", "actor": "bob"},
]


def record(
    name: str, version: str, named: dict[str, str], stories: Iterable[tuple[dict[str, Any], ClassSchema | None]]
) -> None:
    folder = FOLDER / f"{name}-{version}"
    if folder.exists():
        return
    folder.mkdir()
    state = None
    for number, (told, class_schema) in enumerate(stories, start=1):
        command = parse_command({"command_id": f"c{number}", "db_name": "geo"} | named | told)
        state = state or Instance(aggregate_id=str(command.aggregate_id))
        event = decide(state, command, occurred_at=f"2026-01-0{number}T12:00:00.000000Z", class_schema=class_schema)
        assert isinstance(event, Event), event
        state = evolve(state, event)
        (folder / f"{number}-{event.event_type.lower()}.json").write_bytes(event.canonical)
        (folder / f"{number}-state.json").write_bytes(INSTANCE_JSON.dump_json(state))


def record_all() -> None:
    newest = SCHEMA_VERSIONS[EventType.INSTANCE_CREATED]
    country = {"class_id": "Country", "instance_id": "Côte d'Ivoire"}
    record("instances", newest, country, [(told, None) for told in INSTANCES])
    record(
        "classes", SCHEMA_VERSIONS[EventType.CLASS_DEFINED], {"class_id": "Village"}, [(told, None) for told in CLASSES]
    )
    defined = [
        read_event(path.read_bytes(), where=path.name) for path in sorted(FOLDER.glob("classes-1.0.0/*-class_*"))
    ]
    class_schema = [class_schema_of(defined[:number]) for number in (1, 2, 2)]
    village = {"class_id": "Village", "instance_id": "grand-bassam"}
    record("defined", newest, village, zip(VILLAGES, class_schema, strict=True))


if __name__ == "__main__":
    record_all()
