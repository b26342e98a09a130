"""Status lookup, from each source that still knows the command: Redis, its records in S3, Temporal.

Redis has the times and the end, for a while. The records know for ever whether there is a fact. Temporal knows whether
the workflow is open. So all three are asked about a command that is not at its end, and none has to answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar, cast

from temporalio.client import Client, WorkflowExecutionStatus, WorkflowHandle
from temporalio.common import TypedSearchAttributes
from temporalio.service import RPCError, RPCStatusCode

from oncelog.client import connection
from oncelog.domain.bulk.results import AnyResult, BulkResult
from oncelog.domain.identifiers import check_command_id
from oncelog.domain.records import AnyRecord, CommandRecord
from oncelog.domain.results import CommandResult, Outcome
from oncelog.errors import CommandUnknown, StoreUnavailable
from oncelog.ports import CommandStatus, CommandStatuses, Stage
from oncelog.workflows.attributes import AGGREGATE_ID, COMMAND_TYPE
from oncelog.workflows.command import InstanceCommand
from oncelog.write.command_outcomes import CommandOutcomes

RPC_TIMEOUT = timedelta(seconds=10)
RUNNING, COMPLETED, UNKNOWN = "RUNNING", "COMPLETED", "UNKNOWN"

T = TypeVar("T")


@dataclass(frozen=True)
class _Workflow:
    """The workflow's state in Temporal. ``state``: its own word, or UNKNOWN where it has no such workflow (any
    more).
    """

    state: str
    attributes: TypedSearchAttributes = TypedSearchAttributes.empty
    result: BulkResult | CommandResult | None = None


@dataclass(frozen=True)
class _Recorded:
    """The state in the records: the last one, and the command's result if it is known."""

    record: AnyRecord
    result: BulkResult | CommandResult | None


class StatusLookup:
    """Asks for the status of commands. ``temporal``: gives the client of Temporal."""

    def __init__(
        self, *, statuses: CommandStatuses, command_outcomes: CommandOutcomes, temporal: Callable[[], Awaitable[Client]]
    ) -> None:
        self._statuses = statuses
        self._command_outcomes = command_outcomes
        self._temporal = temporal

    async def status(self, command_id: str) -> CommandStatus:
        """Return how far a command has come, and whether its workflow is open.

        Raises CommandUnknown, InputInvalid for an invalid command ID, LogDamaged, and StoreUnavailable if no source
        that answers knows it.
        """
        check_command_id(command_id)
        silent: list[StoreUnavailable] = []
        remembered = await _asked(self._statuses.read_status(command_id), silent)
        if remembered and remembered.result:  # it is kept with its result at its end only
            return remembered
        workflow = await _asked(
            self._workflow(command_id), silent
        )  # before the records: all that it wrote is there then
        recorded = await _asked(self._recorded(command_id), silent)
        if remembered is None and recorded is None and (workflow is None or workflow.state == UNKNOWN):
            raise StoreUnavailable.of_all(silent) if silent else _unknown(command_id)
        if recorded and remembered and remembered.command_hash != recorded.record.command_hash:
            remembered = None  # a claim by another content, which the record refuses
        known = remembered or (_of_records(recorded) if recorded else _of_workflow(command_id, workflow))
        result = _result(recorded, workflow)
        status = replace(
            known, stage=_stage(result, workflow), result=result, workflow=workflow.state if workflow else None
        )
        return replace(status, remark=_remark(status, recorded=recorded is not None, silent=bool(silent)))

    async def _recorded(self, command_id: str) -> _Recorded | None:
        record = await self._command_outcomes.last_record(command_id)
        return _Recorded(record, await self._command_outcomes.result(record)) if record else None

    async def _workflow(self, command_id: str) -> _Workflow:
        temporal = await self._temporal()
        handle = handle_of(temporal, command_id)
        try:
            described = await handle.describe(rpc_timeout=RPC_TIMEOUT)
            ended = described.status is WorkflowExecutionStatus.COMPLETED
            result = await handle.result(rpc_timeout=RPC_TIMEOUT) if ended else None
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return _Workflow(UNKNOWN)
            address = temporal.service_client.config.target_host
            raise connection.unavailable(address, "asking for a status", error) from error
        state = described.status.name if described.status else UNKNOWN
        return _Workflow(state, described.typed_search_attributes, result)


def handle_of(temporal: Client, command_id: str) -> WorkflowHandle[InstanceCommand, BulkResult | CommandResult]:
    """Return the handle of a command of any kind, which reads a result of either kind."""
    return temporal.get_workflow_handle(command_id, result_type=cast("type[BulkResult | CommandResult]", AnyResult))


async def _asked(question: Awaitable[T], silent: list[StoreUnavailable]) -> T | None:
    """Return the answer; remember a source that gives none."""
    try:
        return await question
    except StoreUnavailable as error:
        silent.append(error)
        return None


def _of_records(recorded: _Recorded) -> CommandStatus:
    """Return the status of an accepted command, from its records."""
    record = recorded.record
    return CommandStatus(
        command_id=record.command_id,
        command_hash=record.command_hash,
        command_type=record.command["command_type"],
        aggregate_id=record.aggregate_id if isinstance(record, CommandRecord) else "",
        stage=Stage.ACCEPTED,
        history=((Stage.ACCEPTED, record.occurred_at),),
    )


def _of_workflow(command_id: str, workflow: _Workflow | None) -> CommandStatus:
    """Return the status of an accepted command, from its workflow."""
    found = workflow or _Workflow(UNKNOWN)
    return CommandStatus(
        command_id=command_id,
        command_hash=(found.result and found.result.command_hash) or "",
        command_type=found.attributes.get(COMMAND_TYPE, ""),
        aggregate_id=found.attributes.get(AGGREGATE_ID, ""),
        stage=Stage.ACCEPTED,
    )


def _result(recorded: _Recorded | None, workflow: _Workflow | None) -> BulkResult | CommandResult | None:
    """Return the result: the records bind, and Temporal's counts if it is that of the same command."""
    told = workflow.result if workflow else None
    if recorded is None:
        return told
    own = told if told and told.command_hash == recorded.record.command_hash else None
    return recorded.result or own


def _stage(result: BulkResult | CommandResult | None, workflow: _Workflow | None) -> Stage:
    if result is None:
        return Stage.ACCEPTED
    if result.outcome is Outcome.REJECTED:
        return Stage.REJECTED
    told = workflow.result if workflow else None
    ended = told is not None and told.command_hash == result.command_hash
    # A bulk command's status is written when all of it is delivered; a single one's event may be all there is.
    return Stage.COMPLETED if ended or isinstance(result, BulkResult) else Stage.PERSISTED


def _remark(status: CommandStatus, *, recorded: bool, silent: bool) -> str:
    """Return the remedy for a command without an open workflow and without an end; nothing where there is
    nothing to do.
    """
    if status.workflow in (None, RUNNING) or status.stage in (Stage.COMPLETED, Stage.REJECTED):
        return ""
    if status.workflow == UNKNOWN:
        return "" if status.result else "no workflow is at work on it: submit it again, it goes on where it stood"
    if recorded:
        return (
            "its workflow ended without a result; what is left to do, a consistency check does: oncelog check --repair"
        )
    if silent:
        return "its workflow ended without a result; whether anything was written, S3 or Redis could not be asked"
    return (
        "its workflow ended before anything was written (what an attempt that is still alive may write yet, a "
        "consistency check finishes); submit it under an ID of its own"
    )


def _unknown(command_id: str) -> CommandUnknown:
    return CommandUnknown(
        f"command {command_id}: no store and no workflow knows it; was it submitted to this installation?",
        command_id=command_id,
    )
