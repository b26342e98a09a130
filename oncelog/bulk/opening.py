"""Opening a bulk command: it is new, or known, or refused; from then on its record binds."""

from oncelog.bulk.items import BulkItems
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.plan import Plan
from oncelog.domain.bulk.records import BulkRecord, bulk_record
from oncelog.domain.bulk.results import BulkResult, rejected_bulk, reused_bulk
from oncelog.domain.records import AnyRecord
from oncelog.domain.results import Rejection
from oncelog.errors import LogDamaged
from oncelog.ports import CommandStatus, Stage
from oncelog.replay.trace import Trace
from oncelog.write.name_collision import find_collision
from oncelog.write.write_path import WritePath


class BulkOpener:
    """Opens bulk commands. Any number of attempts may do so at once; all come to the same record."""

    def __init__(self, path: WritePath, *, items: BulkItems) -> None:
        self._statuses = path.ports.statuses
        self._records = path.ports.records
        self._names = path.ports.names
        self._command_outcomes = path.command_outcomes
        self._strictness = path.strictness
        self._items = items

    async def open(self, bulk: Bulk, *, occurred_at: str, trace: Trace) -> BulkRecord | BulkResult:
        """Claim the command ID, look at all items once, and write the record; or find the stored one.

        Returns the record that the command goes on from, or its result if it has one.

        ``occurred_at``: the workflow's clock, RFC 3339 UTC; it counts for every event, unless there is a record.
        """
        async with trace.step("bulk_claim"):
            status = await self._claim(bulk, occurred_at)
        known = status and status.result
        if isinstance(known, BulkResult) and known.command_hash == bulk.hash:
            return known
        record = await self._records.read_record(bulk.command_id, 1)
        if record is None:
            refusal = await find_collision(self._names, bulk.db_name, bulk.class_id)
            if refusal:
                return rejected_bulk(bulk, refusal)
            end: Plan | Rejection | None = await self._strictness.refusal(bulk)
            if end is None:
                async with trace.step("bulk_scan"):
                    end = await self._items.plan(bulk)
            async with trace.step("bulk_open"):
                record = await self._records.write_record(bulk_record(bulk, occurred_at=occurred_at, end=end))
        if record.command_hash != bulk.hash:
            return reused_bulk(bulk, record.command_hash)
        own = _of_bulk(record)
        return await self._command_outcomes.bulk_result(own) or own

    async def record(self, command_id: str) -> BulkRecord:
        """Return the record of a command that was opened; raises LogDamaged if there is none."""
        record = await self._records.read_record(command_id, 1)
        if record is None:
            raise LogDamaged(
                f"command {command_id}: its record was written and is now missing; restore it from its versions",
                command_id=command_id,
            )
        return _of_bulk(record)

    async def _claim(self, bulk: Bulk, occurred_at: str) -> CommandStatus | None:
        return await self._statuses.claim_command(
            CommandStatus(
                command_id=bulk.command_id,
                command_hash=bulk.hash,
                command_type=bulk.command_type,
                aggregate_id="",
                stage=Stage.ACCEPTED,
                history=((Stage.ACCEPTED, occurred_at),),
            )
        )


def _of_bulk(record: AnyRecord) -> BulkRecord:
    if not isinstance(record, BulkRecord):
        raise LogDamaged(
            f"command {record.command_id}: expected the record of a bulk command, found one on {record.aggregate_id}; "
            "it was altered, run oncelog verify",
            command_id=record.command_id,
        )
    return record
