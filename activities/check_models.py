"""Models of a consistency check: its request, its report, and its activities' messages. May import the pipeline."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from oncelog.activities.proof_models import ProofProgress
from oncelog.checks.report import InvariantsReport
from oncelog.checks.scope import PARALLEL_MAX, CheckMode, ProofScope
from oncelog.domain.commands import ClassId, DbName
from oncelog.reconcile.scope import Scope
from oncelog.reconcile.summary import ReconcileSummary

GRACE_S = 600.0


class CheckPhase(StrEnum):
    """The phase of a check, in order."""

    COMMANDS = "COMMANDS"
    CLASSES = "CLASSES"
    AGGREGATES = "AGGREGATES"
    INVARIANTS = "INVARIANTS"
    DONE = "DONE"


class CheckOutcome(StrEnum):
    """The outcome of a check, the worst first."""

    DAMAGED = "DAMAGED"  # something needs a person; see the findings
    UNFINISHED = "UNFINISHED"  # a server gave no answer about something; the next check tries again
    FOUND = "FOUND"  # something is incomplete, and nothing was changed
    REPAIRED = "REPAIRED"  # incomplete work is finished, wrong documents and nodes are right
    CLEAN = "CLEAN"


class CheckProgress(BaseModel):
    """How far a check has come. ``position``: where it goes on, as the catalogue has it.

    ``aggregates_total``: how many it will look at, as far as they were counted.
    """

    model_config = ConfigDict(frozen=True)

    terms: Scope
    started_at: datetime
    phase: CheckPhase = CheckPhase.COMMANDS
    position: str = ""
    tally: ReconcileSummary = ReconcileSummary()
    aggregates_total: int | None = None
    proof: ProofProgress | None = None


class CheckRequest(BaseModel):
    """A check of everything, or of one database or class.

    ``repair``: finish incomplete work, else only report it. ``grace_s``: objects younger than so many seconds are left
    alone. ``count``: count the aggregates meanwhile, so that progress has a total; the log is listed once more.

    ``invariants``: prove them after reconciliation, for as much of the log as ``mode`` says; ``share`` and ``seed``
    draw a sample; ``slots_only``: read every slot, archived or not. ``parallel``: parts at a time. ``probe``: send a
    command of our own the whole way.

    ``so_far``: for the check itself, which goes on in a run of its own when its history grows long.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    db_name: DbName | None = None
    class_id: ClassId | None = None
    repair: bool = False
    grace_s: Annotated[float, Field(ge=0, le=10 * 365 * 86_400)] = GRACE_S
    count: bool = False
    invariants: bool = True
    mode: CheckMode = CheckMode.FULL
    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    seed: int = 0
    slots_only: bool = False
    parallel: Annotated[int, Field(ge=1, le=PARALLEL_MAX)] = 4
    probe: bool = False
    so_far: CheckProgress | None = None

    @model_validator(mode="after")
    def _names_the_database_too(self) -> Self:
        if self.class_id is not None and self.db_name is None:
            raise ValueError("class_id: expected db_name with it, found none")
        return self

    @property
    def scope(self) -> str:
        """The scope of the check, in words."""
        return "/".join(name for name in (self.db_name, self.class_id) if name) or "everything"

    @property
    def proof_scope(self) -> ProofScope:
        """The scope in which the invariants are proven."""
        return ProofScope(
            db_name=self.db_name,
            class_id=self.class_id,
            mode=self.mode,
            share=self.share,
            seed=self.seed,
            slots_only=self.slots_only,
        )


class CheckReport(BaseModel):
    """The findings and repairs of a check; final once ``phase`` is ``DONE``. Times are of S3's clock.

    ``aggregates_total``: how many there are to look at, None where they are not counted (yet). ``invariants``: the
    report of their proof; ``proof``: how far it has come until then.
    """

    model_config = ConfigDict(frozen=True)

    outcome: CheckOutcome
    phase: CheckPhase
    repair: bool
    db_name: str | None
    class_id: str | None
    started_at: datetime | None
    tally: ReconcileSummary
    aggregates_total: int | None = None
    invariants: InvariantsReport | None = None
    proof: ProofProgress | None = None
    paused: bool = False


class ReconcileRequest(BaseModel):
    """Go on after ``position``, on these terms."""

    model_config = ConfigDict(frozen=True)

    terms: Scope
    position: str


class ReconcileReport(BaseModel):
    """The result of some pages. ``position``: where to go on, None at the end."""

    model_config = ConfigDict(frozen=True)

    tally: ReconcileSummary
    position: str | None


def outcome_of(tally: ReconcileSummary, *, repair: bool, repaired: int = 0) -> CheckOutcome:
    """Return the outcome of these counts. ``repaired``: how much the proof of the invariants has put right."""
    if tally.damaged:
        return CheckOutcome.DAMAGED
    if tally.unfinished:
        return CheckOutcome.UNFINISHED
    if tally.found:
        return CheckOutcome.REPAIRED if repair else CheckOutcome.FOUND
    return CheckOutcome.REPAIRED if repaired else CheckOutcome.CLEAN
