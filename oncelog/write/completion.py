"""The last word on a command: its final status, with the stages it went through."""

from collections.abc import Sequence

from oncelog.domain.results import CommandResult, Outcome
from oncelog.ports import CommandStatus, Stage
from oncelog.replay.trace import StepReport, utc_now

_STAGES = {"persist": Stage.PERSISTED, "publish": Stage.PUBLISHED, "project": Stage.PROJECTED}


def final_status(result: CommandResult, *, command_type: str, steps: Sequence[StepReport]) -> CommandStatus:
    """Return the status of a command that came to its end just now. ``steps``: what was done for it, in order."""
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
