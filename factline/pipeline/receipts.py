"""What a command came to, from its records and the slots they name: the answer that outlives every other memory."""

from factline.domain.commands import Command
from factline.domain.events import Event
from factline.domain.identifiers import AggregateId
from factline.domain.records import CommandRecord
from factline.domain.results import CommandResult, Outcome, Rejection, RejectionCode
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


def reused(command: Command, first_hash: str | None) -> CommandResult:
    """Return the refusal of a command whose ID was used before with other content."""
    message = (
        f"command {command.command_id}: was used before with other content (hash {first_hash}, found {command.hash}); "
        "give the new command an ID of its own"
    )
    details = {"expected_hash": first_hash, "found_hash": command.hash}
    return rejected(command, Rejection(code=RejectionCode.COMMAND_ID_REUSED, message=message, details=details))


def rejected(command: Command, rejection: Rejection) -> CommandResult:
    """Return the result of a command that was refused."""
    return CommandResult(
        command_id=command.command_id,
        command_hash=command.hash,
        outcome=Outcome.REJECTED,
        aggregate_id=str(command.aggregate_id),
        rejection=rejection,
    )


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
