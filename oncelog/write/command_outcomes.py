"""The outcome of a command, from its records and the slots they name: the answer that outlives every other memory."""

import structlog
from pydantic import ValidationError

from oncelog.domain.bulk.records import BulkRecord
from oncelog.domain.bulk.results import BulkResult, rejected_bulk
from oncelog.domain.commands import Command
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.records import AnyRecord
from oncelog.domain.results import CommandResult, Outcome, Rejection, reused_id
from oncelog.domain.stored_names import summary_key
from oncelog.domain.tokens import make_token
from oncelog.errors import LogDamaged
from oncelog.ports import Ports

log = structlog.get_logger(__name__)


class CommandOutcomes:
    """Reads commands' ends back from the log; never writes."""

    def __init__(self, ports: Ports) -> None:
        self._installation = ports.installation
        self._records = ports.records
        self._log = ports.event_log
        self._objects = ports.large_objects

    async def last_record(self, command_id: str) -> AnyRecord | None:
        """Return a command's last record, or None if no attempt came so far as to write one."""
        last: AnyRecord | None = None
        while record := await self._records.read_record(command_id, last.number + 1 if last else 1):
            last = record
        return last

    async def has_ended(self, command_id: str, record_number: int) -> bool:
        """Return whether a record holds the command's end, be it the last one or not: a command has only one end."""
        record = await self._records.read_record(command_id, record_number)
        return record is not None and await self.result(record) is not None

    async def result(self, record: AnyRecord) -> BulkResult | CommandResult | None:
        """Return the command's result by its last record, or None if it has not come to its end."""
        if isinstance(record, BulkRecord):
            return await self.bulk_result(record)
        end = record.end
        if isinstance(end, Rejection):
            return CommandResult(
                command_id=record.command_id,
                command_hash=record.command_hash,
                outcome=Outcome.REJECTED,
                aggregate_id=record.aggregate_id,
                rejection=end,
            )
        stored = await self._log.read_event(AggregateId.parse(record.aggregate_id), end)
        if stored is None or stored.event.command_id != record.command_id:
            return None
        return self.applied(stored.event)

    def applied(self, event: Event) -> CommandResult:
        """Return the result of the command that made this event."""
        return CommandResult(
            command_id=event.command_id,
            command_hash=event.command_hash,
            outcome=Outcome.APPLIED,
            aggregate_id=event.aggregate_id,
            sequence_number=event.sequence_number,
            event_id=event.event_id,
            consistency_token=make_token({event.aggregate_id: event.sequence_number}, installation=self._installation),
        )

    async def bulk_result(self, record: BulkRecord) -> BulkResult | None:
        """Return a bulk command's kept result; without one, the command assembles it again from its chunks' records."""
        if record.rejection is not None:
            return rejected_bulk(record.bulk, record.rejection)
        key = summary_key(record.command_id)
        size = await self._objects.object_size(key)
        if size is None:
            return None
        try:
            result = BulkResult.model_validate_json(await self._objects.read_object(key, range(size)))
        except (ValidationError, LogDamaged) as error:
            log.warning("summary_unreadable", key=key, reason=str(error))
            return None
        return result if result.command_hash == record.command_hash else None


def reused(command: Command, first_hash: str | None) -> CommandResult:
    """Return the refusal of a command that reuses an ID with other content."""
    return rejected(command, reused_id(command.command_id, first_hash=first_hash, found_hash=command.hash))


def rejected(command: Command, rejection: Rejection) -> CommandResult:
    """Return the result of a command that was refused."""
    return CommandResult(
        command_id=command.command_id,
        command_hash=command.hash,
        outcome=Outcome.REJECTED,
        aggregate_id=str(command.aggregate_id),
        rejection=rejection,
    )
