"""What must hold of what lies in the servers, whatever happened; told from their contents alone."""

from collections import defaultdict
from collections.abc import Iterable, Mapping

from factline.domain.events import Event, read_event
from factline.domain.instance import Instance, evolve
from factline.ports import Document
from factline.projections.documents import document_of

Logs = dict[str, list[Event]]


def logs_of(objects: Mapping[str, bytes]) -> Logs:
    """Return every aggregate's events, in order of their keys; the objects may be of any kind."""
    found: defaultdict[str, list[Event]] = defaultdict(list)
    for key in sorted(key for key in objects if key.startswith("events/")):
        event = read_event(objects[key], where=key)  # raises where a checksum or the canonical form is wrong
        assert key == f"events/{event.aggregate_id}/{event.sequence_number:020d}.json"
        found[event.aggregate_id].append(event)
    return dict(found)


def state_of(events: Iterable[Event]) -> Instance:
    """Fold one aggregate's events; raises on a gap, a fork or a broken chain."""
    first, *others = events
    state = evolve(Instance(aggregate_id=first.aggregate_id), first)
    for event in others:
        state = evolve(state, event)
    return state


def check_logs(logs: Logs) -> None:
    """Hold that every log is one unbroken chain, and that no command has two events (P1, P2, P3)."""
    made_by: dict[str, Event] = {}
    for events in logs.values():
        state_of(events)
        for event in events:
            assert event.command_id not in made_by, f"two events of {event.command_id}"
            made_by[event.command_id] = event


def check_stream(logs: Logs, messages: Iterable[tuple[bytes, bytes]], *, all_of_it: bool = True) -> None:
    """Hold that first deliveries are the log's own bytes in its order (P2), and that none is missing if so asked.

    ``messages``: key and value in the order of the stream.
    """
    delivered: defaultdict[str, list[bytes]] = defaultdict(list)
    for key, value in messages:
        if value not in delivered[key.decode()]:
            delivered[key.decode()].append(value)
    for aggregate_id, found in delivered.items():
        stored = [event.canonical for event in logs[aggregate_id]]
        assert found == stored[: len(found)], f"{aggregate_id}: first deliveries out of order"
    if all_of_it:
        assert {name: len(found) for name, found in delivered.items()} == {
            name: len(events) for name, events in logs.items()
        }


def check_document(events: Iterable[Event], found: Document | None) -> None:
    """Hold that the document is the fold of the aggregate's events (P5)."""
    expected = document_of(state_of(events))
    assert found == expected, f"{expected.aggregate_id}: {found} is not {expected}"
