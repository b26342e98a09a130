"""The contracts of ``ReadModel`` and ``EventReadModel``: repeated, late and missing events change nothing."""

from collections.abc import Sequence
from typing import Any

from oncelog.domain.commands import Command, CommandType
from oncelog.domain.decide import decide
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance, evolve
from oncelog.ports import Changes, EventLog, EventReadModel, ReadModel, Watermark

OCCURRED_AT = "2026-01-31T12:00:00.000000Z"


class _Streams:
    """Aggregates for the suites. Override ``payload`` where the read model needs data of a certain form."""

    db_name, class_id = "shop", "Product"

    def payload(self, number: int) -> dict[str, Any]:
        """Return the data of event ``number`` (from 1) of each aggregate: a whole object, then merge patches."""
        return {"name": "Lamp", "n": number}

    def stream(self, instance_id: str, length: int) -> list[Event]:
        """Return the events of one aggregate: it is created, then updated."""
        aggregate_id = AggregateId.of(self.db_name, self.class_id, instance_id)
        state, events = Instance(aggregate_id=str(aggregate_id)), list[Event]()
        for number in range(1, length + 1):
            command = Command(
                command_id=f"contract-{instance_id}-{number}",
                command_type=CommandType.UPDATE_INSTANCE if number > 1 else CommandType.CREATE_INSTANCE,
                db_name=self.db_name,
                class_id=self.class_id,
                instance_id=instance_id,
                payload=self.payload(number),
            )
            event = decide(state, command, occurred_at=OCCURRED_AT)
            if not isinstance(event, Event):
                raise TypeError(f"payload({number}): expected data that is accepted, found {event}")
            state = evolve(state, event)
            events.append(event)
        return events

    def states(self, events: Sequence[Event]) -> list[Instance]:
        """Return the state after each event."""
        state, states = Instance(aggregate_id=events[0].aggregate_id), list[Instance]()
        for event in events:
            state = evolve(state, event)
            states.append(state)
        return states


class ReadModelContract(_Streams):
    """The contract of a ``ReadModel``; a subclass has a fixture ``read_model``, empty for each test."""

    async def test_newest_state_counts_in_any_order(self, read_model: ReadModel) -> None:
        events = self.stream("p1", 3)
        for order in ((0, 1, 2), (2, 0, 1), (2, 2, 2)):
            for index in order:
                assert list(await read_model.project_states([self.states(events)[index]])) == [None]
            assert list(await read_model.projected_versions([events[0].aggregate])) == [3]

    async def test_batch_of_any_size_answers_one_by_one(self, read_model: ReadModel) -> None:
        states = [self.states(self.stream(f"p{number}", 2))[-1] for number in range(10)]
        assert list(await read_model.project_states([])) == []
        assert list(await read_model.project_states([*states, *states])) == [None] * 20
        asked = [*(AggregateId.parse(state.aggregate_id) for state in states), self._unknown]
        assert list(await read_model.projected_versions(asked)) == [*[2] * 10, 0]

    async def test_status_is_the_projected_version(self, read_model: ReadModel) -> None:
        events = self.stream("p1", 1)
        await read_model.project_states(self.states(events))
        (status,) = await read_model.projection_statuses([events[0].aggregate])
        assert status.sequence_number == 1

    @property
    def _unknown(self) -> AggregateId:
        return AggregateId.of(self.db_name, self.class_id, "unknown")


class EventReadModelContract(_Streams):
    """The contract of an ``EventReadModel``.

    A subclass has fixtures ``read_model``, empty for each test, and ``event_log``, the log that it reads missing events
    from. It overrides ``applied_events``.
    """

    async def applied_events(self, read_model: EventReadModel) -> int:
        """Return how many events the read model has applied, each time that it did."""
        raise NotImplementedError

    async def test_repeated_events_are_applied_once(self, read_model: EventReadModel, event_log: EventLog) -> None:
        events = self.stream("p1", 3)
        await _write(event_log, events)
        for number in (1, 3, 2, 3):
            assert list(await read_model.project_events([_changes(events[:number])])) == [None]
        assert await self.applied_events(read_model) == 3
        assert list(await read_model.projected_versions([events[0].aggregate])) == [3]

    async def test_missing_events_are_read_from_the_log(self, read_model: EventReadModel, event_log: EventLog) -> None:
        events = self.stream("p1", 4)
        await _write(event_log, events)
        assert list(await read_model.project_events([_changes(events[3:])])) == [None]
        assert await self.applied_events(read_model) == 4

    async def test_batch_of_many_aggregates_is_applied(self, read_model: EventReadModel, event_log: EventLog) -> None:
        streams = [self.stream(f"p{number}", 2) for number in range(10)]
        for events in streams:
            await _write(event_log, events)
        assert list(await read_model.project_events([])) == []
        assert list(await read_model.project_events(list(map(_changes, streams)))) == [None] * 10
        assert await self.applied_events(read_model) == 20


def _changes(events: Sequence[Event]) -> Changes:
    first, last = events[0], events[-1]
    at_hand = {event.sequence_number: event for event in events}
    return Changes(first.aggregate_id, first.sequence_number, last.sequence_number, at_hand)


async def _write(event_log: EventLog, events: Sequence[Event]) -> None:
    for event in events:
        await event_log.append_event(event, published_through=Watermark(1, event.sequence_number - 1))
