"""The end of a command: its result becomes its status, with the stages that it went through."""

from collections.abc import Sequence

from oncelog.domain.results import CommandResult, Outcome, RejectionCode
from oncelog.ports import CommandStatus, CommandStatuses, Stage
from oncelog.replay.trace import StepReport, Trace, utc_now

_STAGES = {"persist": Stage.PERSISTED, "publish": Stage.PUBLISHED, "project": Stage.PROJECTED}


async def complete(
    statuses: CommandStatuses,
    result: CommandResult,
    *,
    command_type: str,
    trace: Trace,
    earlier: Sequence[StepReport] = (),
    step_name: str = "complete",
) -> None:
    """Save the result as the command's status; raises StoreUnavailable.

    ``earlier``: steps of earlier activities. A reused command ID keeps the status of its first command.
    """
    async with trace.step(step_name) as step:
        if result.rejection and result.rejection.code is RejectionCode.COMMAND_ID_REUSED:
            step.note = "the status stays that of the first command"
            return
        steps = [*earlier, *trace.steps]
        await statuses.complete_command(final_status(result, command_type=command_type, steps=steps))
        step.note = result.outcome


def final_status(result: CommandResult, *, command_type: str, steps: Sequence[StepReport]) -> CommandStatus:
    """Return the status of a command that came to its end just now. ``steps``: its steps so far, in order."""
    stage = Stage.COMPLETED if result.outcome is Outcome.APPLIED else Stage.REJECTED
    reached = [(_STAGES[step.name], step.at) for step in steps if step.name in _STAGES and result.sequence_number]
    return CommandStatus(
        command_id=result.command_id or "",
        command_hash=result.command_hash or "",
        command_type=command_type,
        aggregate_id=result.aggregate_id or "",
        stage=stage,
        history=(*reached, (stage, utc_now())),
        result=result,
    )
