"""Commands that have a record and no end, or an end that their status lacks."""

from collections.abc import Sequence
from functools import partial

import structlog

from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.records import AnyRecord, CommandRecord
from oncelog.domain.results import CommandResult
from oncelog.errors import StoreUnavailable
from oncelog.ports import CommandStatuses, KnownCommand, RunningWorkflows
from oncelog.reconcile.bulk import BulkReconciler
from oncelog.reconcile.scope import Scope, incomplete, reconcile_each
from oncelog.reconcile.summary import ReconcileSummary
from oncelog.replay.trace import AfterStep, Trace, nothing_after
from oncelog.write.command_outcomes import CommandOutcomes
from oncelog.write.commit import Committer
from oncelog.write.completion import complete
from oncelog.write.delivery import Deliverer

log = structlog.get_logger(__name__)


class CommandReconciler:
    """Finishes commands from their records, by the protocol's own means; any number of it may run at once."""

    def __init__(
        self,
        *,
        committer: Committer,
        deliverer: Deliverer,
        command_outcomes: CommandOutcomes,
        statuses: CommandStatuses,
        running: RunningWorkflows,
        bulks: BulkReconciler,
        after_step: AfterStep = nothing_after,
    ) -> None:
        self._committer = committer
        self._deliverer = deliverer
        self._command_outcomes = command_outcomes
        self._statuses = statuses
        self._running = running
        self._bulks = bulks
        self._after_step = after_step

    async def page(self, commands: Sequence[KnownCommand], scope: Scope) -> ReconcileSummary:
        """Reconcile these commands; raises StoreUnavailable if a server kept it from every one of them."""
        new = [command for command in commands if not scope.is_complete(command.written_at)]
        summary = await reconcile_each(new, partial(self._command, scope), place=_place)
        return summary + ReconcileSummary(commands=len(commands) - len(new))

    async def _command(self, scope: Scope, command: KnownCommand) -> ReconcileSummary:
        seen = ReconcileSummary(commands=1)
        if scope.is_recent(command.written_at):
            return seen + ReconcileSummary(recent=1)
        left = await self._incomplete_record(command)
        if left is None or not _covers(scope, left):
            return seen
        if await self._running.is_running(command.command_id):
            return seen + ReconcileSummary(running=1, oldest_left=command.written_at)
        left = await self._incomplete_record(command)  # it may have ended just before it was asked for
        if left is None:
            return seen
        known = await self._command_outcomes.result(left)
        found = incomplete(_place(command), _what(left, ended=known is not None))
        if not scope.repair:
            return seen + found + ReconcileSummary(oldest_left=command.written_at)
        result = await self._finish(left, known)
        log.info("command_finished", command_id=command.command_id, outcome=result.outcome)
        cut_short = isinstance(result, BulkResult) and result.closed is not None
        return seen + found + (ReconcileSummary(closed=1) if known or cut_short else ReconcileSummary(finished=1))

    async def _incomplete_record(self, command: KnownCommand) -> AnyRecord | None:
        """Return the last record of an incomplete command, or None.

        A status with a result is believed: it is kept after the end only. A status that is forgotten is no defect of a
        command that has ended, since its records hold the same: the last one that was listed, mostly.
        """
        status = await self._statuses.read_status(command.command_id)
        if status is not None and status.result is not None:
            return None
        if status is None and await self._command_outcomes.has_ended(command.command_id, command.last_record):
            return None
        record = await self._command_outcomes.last_record(command.command_id)
        if record is None or (status is None and await self._command_outcomes.result(record) is not None):
            return None
        return record

    async def _finish(self, record: AnyRecord, known: CommandResult | None) -> CommandResult:
        """Bring the command to its end from its record, and keep the result as its status."""
        trace = Trace(self._after_step)
        if isinstance(record, CommandRecord):
            result = await self._commit(record, trace)
        else:  # the reconciler of aggregates finds the undelivered events of a command that has ended
            result = known or await self._bulks.end(record)
        await complete(self._statuses, result, command_type=record.command["command_type"], trace=trace)
        return result

    async def _commit(self, record: CommandRecord, trace: Trace) -> CommandResult:
        """Commit and deliver: the same command, time and slot, by any attempt."""
        command = record.own_command()
        committed = await self._committer.commit(command, occurred_at=record.occurred_at, trace=trace, bounded=False)
        result = committed.result
        if result.aggregate_id is not None and result.sequence_number is not None:
            place = AggregateId.parse(result.aggregate_id), result.sequence_number
            if not committed.published:
                await self._deliverer.publish(*place, trace)
            if self._deliverer.projects(place[0]):
                await self._project(*place, trace)
        return result

    async def _project(self, aggregate_id: AggregateId, sequence_number: int, trace: Trace) -> None:
        """Project it now if that can be: its class may be closed until the reconciler of classes, which comes next, and
        the reconciler of aggregates projects the missing states after that.
        """
        try:
            await self._deliverer.project_or_park(aggregate_id, sequence_number, trace)
        except StoreUnavailable as error:
            log.info("left_to_be_shown", aggregate_id=str(aggregate_id), reason=error.message)


def _place(command: KnownCommand) -> str:
    return f"command {command.command_id}"


def _covers(scope: Scope, record: AnyRecord) -> bool:
    if isinstance(record, CommandRecord):
        return scope.covers(AggregateId.parse(record.aggregate_id))
    return scope.cover(record.bulk.db_name, record.bulk.class_id)


def _what(record: AnyRecord, *, ended: bool) -> str:
    if ended:
        return "came to its end, which its status does not tell"
    if not isinstance(record, CommandRecord):
        items = record.plan.items_count if record.plan else 0
        return f"bulk command of {items} items on {record.bulk.db_name}/{record.bulk.class_id}, without its result"
    return f"bound to slot {record.slot} of {record.aggregate_id} by record {record.number}, without its event"
