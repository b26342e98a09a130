"""The cost of judging an ordinary command: the bare validator against the validator with its budgets.

python -m benchmarks.judging        some seconds; no servers

The budgets are counted for each value, so their cost is a ratio to the validator's own. Rounds of all contenders take
turns, and the median of the CPU time of each is compared.
"""

import statistics
import time
from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.table import Table

from oncelog.domain.commands import Command, CommandType
from oncelog.domain.decide import decide
from oncelog.domain.events import DefinitionReference
from oncelog.domain.instance import Instance
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.domain.ontology.definition import ClassDefinition
from oncelog.domain.ontology.schemas import validator_of

ROUNDS = 30
CALLS = 300
NOON = "2026-01-01T12:00:00.000000Z"

AIRPORT: dict[str, Any] = {
    "icao": "EGLL",
    "iata": "LHR",
    "name": "London Heathrow Airport",
    "city": "London",
    "subdivision": "GB-ENG",
    "country": "GB",
    "elevation_ft": 83,
    "lat": 51.4706,
    "lon": -0.461941,
    "tz": "Europe/London",
}
_TEXT = {"type": "string", "minLength": 1}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["icao", "name", "country"],
    "additionalProperties": False,
    "properties": {
        **dict.fromkeys(AIRPORT, _TEXT),
        "icao": {"type": "string", "pattern": "^[A-Z0-9]{4}$"},
        "elevation_ft": {"type": "number"},
        "lat": {"type": "number", "minimum": -90, "maximum": 90},
        "lon": {"type": "number", "minimum": -180, "maximum": 180},
    },
}


def contenders() -> dict[str, Callable[[], object]]:
    """Return what is measured, the floor first."""
    definition = ClassDefinition.model_validate({"version": "1.0.0", "schema": SCHEMA})
    class_schema = ClassSchema(DefinitionReference(sequence_number=1, version="1.0.0"), definition, ((1, ()),))
    bare = validator_of(SCHEMA)
    command = Command(
        command_id="c1",
        command_type=CommandType.CREATE_INSTANCE,
        db_name="geo",
        class_id="Airport",
        instance_id="EGLL",
        payload=AIRPORT,
    )
    state = Instance(aggregate_id=str(command.aggregate_id))
    return {
        "bare validator": lambda: bare.is_valid(AIRPORT),
        "judged within budgets": lambda: class_schema.findings(AIRPORT, hurried=True),
        "decided": lambda: decide(state, command, occurred_at=NOON, class_schema=class_schema),
        "decided as a worker does": lambda: decide(
            state, command, occurred_at=NOON, class_schema=class_schema, hurried=True
        ),
    }


def measure() -> dict[str, float]:
    """Return the median CPU time of one call of each, in microseconds."""
    calls = contenders()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began_s = time.process_time()
            for _ in range(CALLS):
                call()
            taken[name].append((time.process_time() - began_s) / CALLS * 1e6)
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    """Measure and print."""
    found = measure()
    floor = found["bare validator"]
    table = Table("judging an ordinary command", "µs", "times the bare validator")
    for name, microseconds in found.items():
        table.add_row(name, f"{microseconds:.1f}", f"{microseconds / floor:.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
