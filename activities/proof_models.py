"""Inputs and outputs of the activities of a consistency check's second half, which proves the invariants."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict

from oncelog.checks.report import InvariantsReport
from oncelog.checks.scope import CheckTotals, ProofScope
from oncelog.checks.step_report import StepReport

#: So many findings of one step travel to the workflow; all of them lie in S3.
FINDINGS_TOLD_MAX = 5


class ProofPlanned(BaseModel):
    """A check of the invariants, planned. ``earlier``: the check that has to have the same digests."""

    model_config = ConfigDict(frozen=True)

    scope: ProofScope
    totals: CheckTotals
    earlier: str | None = None


class ProofProgress(BaseModel):
    """How far a check of the invariants has come, for a run of its workflow that goes on where another has ended.

    ``probes``: how many probe commands went through the whole path.
    """

    model_config = ConfigDict(frozen=True)

    planned: ProofPlanned
    started_at: datetime
    next_task: int = 0
    next_part: int = 0
    tasks: int = 0
    parts: int = 0
    so_far: StepReport = StepReport()
    probe: StepReport = StepReport()
    probes: int = 0


class ProofStep(BaseModel):
    """One step. ``number``: of the task or part; ``progress``: of all steps, for the last.

    ``repair``: make the repairs that are safe.
    """

    model_config = ConfigDict(frozen=True)

    check_id: str
    scope: ProofScope
    number: int = 0
    progress: ProofProgress | None = None
    repair: bool = False


class ProbeStep(BaseModel):
    """A probe command. ``problem``: why it did not end as it should; empty while it runs."""

    model_config = ConfigDict(frozen=True)

    command_id: str
    aggregate_id: str
    consistency_token: str | None = None
    sequence_number: int | None = None
    problem: str = ""


__all__ = ["InvariantsReport", "ProbeStep", "ProofPlanned", "ProofProgress", "ProofStep"]
