"""Writes the events that records bind to slots: for an attempt itself, and for one that helps it (R1)."""

from dataclasses import dataclass

from oncelog.domain.bulk.items import ItemChange
from oncelog.domain.commands import Command
from oncelog.domain.events import DecidedEvent, DefinitionReference, Event
from oncelog.domain.instance import Change, Instance, made_event
from oncelog.domain.records import AnyRecord, CommandRecord
from oncelog.domain.results import Rejection
from oncelog.errors import LogDamaged
from oncelog.ports import EventLog, StoredEvent, Watermark
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StreamReader
from oncelog.write.judge import Judge


@dataclass(frozen=True)
class EventWriter:
    """Writes an event into the slot its record names, and only there. Every writer writes the same bytes."""

    log: EventLog
    reader: StreamReader
    class_schemas: ClassSchemas
    judge: Judge

    async def write(
        self, command: Command, record: AnyRecord, *, published: Watermark, state: Instance | None = None
    ) -> StoredEvent:
        """Do as ``write_into`` does, for the slot that a command's record names; raises LogDamaged if it names none."""
        if not isinstance(record, CommandRecord) or record.slot is None:
            raise LogDamaged(f"command {record.command_id}: record {record.number} names no slot")
        return await self.write_into(
            record.slot,
            command,
            occurred_at=record.occurred_at,
            definition=record.definition,
            published=published,
            recorded=record.event,
            state=state,
        )

    async def write_into(
        self,
        slot: int,
        change: Change,
        *,
        occurred_at: str,
        definition: DefinitionReference | None,
        published: Watermark,
        recorded: DecidedEvent | None = None,
        state: Instance | None = None,
    ) -> StoredEvent:
        """Return the event that a slot has in the end, be it another command's.

        ``recorded``: the event that the record carries; None where it follows from the change. ``state``: of the
        aggregate, as far as it is known. ``published``: its watermark, or less.
        """
        aggregate_id = change.aggregate_id
        if state is None or state.sequence_number != slot - 1:  # bound by another attempt: others may have gone on
            stored = await self.log.read_event(aggregate_id, slot)
            if stored:
                return stored
            state = await self.reader.at(aggregate_id, slot - 1)
        event = _recorded_event(change, state, recorded, definition, occurred_at)
        if event is None:
            event = await self._decided(change, state, occurred_at, definition)
        return await self.log.append_event(event, published_through=published.at_most(slot - 1))

    async def _decided(
        self, change: Change, state: Instance, occurred_at: str, definition: DefinitionReference | None
    ) -> Event:
        """Decide again the event of a record that is still without it."""
        class_schema = await self.class_schemas.at(change.aggregate_id, definition)
        decision = await self.judge.decide(
            state, change, occurred_at=occurred_at, class_schema=class_schema, accepted=True
        )
        return accepted_event(decision, change, state)


def accepted_event(decision: Event | Rejection, change: Change, state: Instance) -> Event:
    """Return the event that a record was decided to; raises LogDamaged if its slot would refuse it today."""
    if isinstance(decision, Event):
        return decision
    item = f", item {change.index}" if isinstance(change, ItemChange) else ""
    raise LogDamaged(
        f"command {change.command_id}{item}: bound to slot {state.sequence_number + 1} of {state.aggregate_id}, but "
        f"there it would be rejected: {decision.message}; a release changed what commands decide, run the one that "
        "accepted it",
        command_id=change.command_id,
    )


def _recorded_event(
    change: Change,
    state: Instance,
    recorded: DecidedEvent | None,
    definition: DefinitionReference | None,
    occurred_at: str,
) -> Event | None:
    """Return the event that a record carries, in its slot; the code of today has no say in it."""
    if recorded is None:
        return None
    return made_event(state, change, decided=recorded, definition=definition, occurred_at=occurred_at)
