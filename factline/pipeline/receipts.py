"""What a command came to, from its records and the slots they name: the answer that outlives every other memory."""

from factline.domain.events import Event
from factline.domain.identifiers import AggregateId
from factline.domain.records import CommandRecord
from factline.domain.results import CommandResult, Outcome
from factline.domain.tokens import make_token
from factline.ports import CommandRecords, EventLog


class Receipts:
    """Reads commands' ends back from the log; never writes."""

    def __init__(self, *, records: CommandRecords, log: EventLog) -> None:
        self._records = records
        self._log = log

    async def last_record(self, command_id: str) -> CommandRecord | None:
        """Return a command's last record, or None if no attempt came so far as to write one."""
        last = None
        while record := await self._records.read(command_id, last.number + 1 if last else 1):
            last = record
        return last

    async def result(self, record: CommandRecord) -> CommandResult | None:
        """Return what the command came to as its last record tells, or None if it has not come to its end."""
        if record.rejection is not None:
            return CommandResult(
                command_id=record.command_id,
                command_hash=record.command_hash,
                outcome=Outcome.REJECTED,
                aggregate_id=record.aggregate_id,
                rejection=record.rejection,
            )
        assert record.slot is not None  # a record names one or the other
        stored = await self._log.read(AggregateId.parse(record.aggregate_id), record.slot)
        if stored is None or stored.event.command_id != record.command_id:
            return None
        return applied(stored.event)


def applied(event: Event) -> CommandResult:
    """Return the result of the command that made this event."""
    return CommandResult(
        command_id=event.command_id,
        command_hash=event.command_hash,
        outcome=Outcome.APPLIED,
        aggregate_id=event.aggregate_id,
        sequence_number=event.sequence_number,
        event_id=event.event_id,
        consistency_token=make_token({event.aggregate_id: event.sequence_number}),
    )
