"""Events, states and records as the pipeline makes them, without it."""

from typing import Any

from oncelog.domain.commands import Command
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, decide, evolve
from tests.commands import create, update
from tests.write.world import NOON

PLACE = AggregateId.parse("shop/Product/p1")


def event_of(state: Instance, command: Command) -> Event:
    event = decide(state, command, occurred_at=NOON)
    assert isinstance(event, Event)
    return event


def chain(length: int, instance_id: str = "p1", **payload: Any) -> list[Event]:
    """Return the events of one instance: it is created and then updated, each time with the payload and a number."""
    state = Instance(aggregate_id=str(create(instance_id).aggregate_id))
    events = []
    for number in range(length):
        make = update if number else create
        events.append(event_of(state, make(instance_id, payload | {"n": number})))
        state = evolve(state, events[-1])
    return events


def state_at(events: list[Event]) -> Instance:
    state = Instance(aggregate_id=events[0].aggregate_id)
    for event in events:
        state = evolve(state, event)
    return state
