"""Streams of events to measure with: one instance each, created and then changed."""

import uuid
from collections.abc import Callable
from typing import Any

from oncelog.domain.commands import Command, CommandType
from oncelog.domain.decide import decide
from oncelog.domain.events import Event
from oncelog.domain.instance import Instance, evolve

OCCURRED_AT = "2026-01-01T12:00:00.000000Z"
DATABASE, CLASS = "bench", "Product"


def stream(number: int, events_count: int, payload: Callable[[int], dict[str, Any]]) -> tuple[list[Event], Instance]:
    """Return so many events of one instance, and its state after them. ``payload``: of a version, from 0."""
    state = Instance(aggregate_id=f"{DATABASE}/{CLASS}/p{number:08d}")
    events = []
    for version in range(events_count):
        command = Command(
            command_id=str(uuid.uuid4()),
            command_type=CommandType.UPDATE_INSTANCE if version else CommandType.CREATE_INSTANCE,
            db_name=DATABASE,
            class_id=CLASS,
            instance_id=f"p{number:08d}",
            payload=payload(version),
        )
        event = decide(state, command, occurred_at=OCCURRED_AT)
        if not isinstance(event, Event):
            raise TypeError(f"expected an event, found {event}")
        state = evolve(state, event)
        events.append(event)
    return events, state
