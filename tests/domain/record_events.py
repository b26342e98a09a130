"""Writes samples of stored events, and of the states they folded to: ``python -m tests.domain.record_events``.

A version of the events is sampled once, by the very code that wrote it first, and the files are then kept as they are:
whatever is read today must be readable for ever. So a new version gets a folder of its own beside the old ones.
"""

from pathlib import Path
from typing import Any

from factline.domain.commands import parse_command
from factline.domain.events import SCHEMA_VERSIONS, Event, EventType
from factline.domain.instance import Instance, decide, evolve

FOLDER = Path(__file__).parent / "stored_events"

#: Types, what is in them, and who asked: everything that a version may treat in its own way.
STORY: list[dict[str, Any]] = [
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


def record() -> None:
    folder = FOLDER / SCHEMA_VERSIONS[EventType.INSTANCE_CREATED]
    folder.mkdir()
    state = Instance(aggregate_id="geo/Country/C%C3%B4te%20d%27Ivoire")
    for number, told in enumerate(STORY, start=1):
        named = {"command_id": f"c{number}", "db_name": "geo", "class_id": "Country", "instance_id": "Côte d'Ivoire"}
        event = decide(state, parse_command(named | told), occurred_at=f"2026-01-0{number}T12:00:00.000000Z")
        assert isinstance(event, Event), event
        state = evolve(state, event)
        (folder / f"{number}-{event.event_type.lower()}.json").write_bytes(event.canonical)
        (folder / f"{number}-state.json").write_text(state.model_dump_json())


if __name__ == "__main__":
    record()
