"""How ``oncelog check`` tells how far it is."""

from oncelog.activities.check_models import CheckOutcome, CheckPhase, CheckReport
from oncelog.cli.check import CheckView
from oncelog.cli.progress import LINE_EVERY_S, ProgressLines
from oncelog.reconcile.summary import ReconcileSummary


def _report(phase: CheckPhase, tally: ReconcileSummary, total: int | None = None) -> CheckReport:
    return CheckReport(
        outcome=CheckOutcome.REPAIRED,
        phase=phase,
        repair=True,
        db_name=None,
        class_id=None,
        started_at=None,
        tally=tally,
        aggregates_total=total,
    )


def test_progress_says_how_many_of_how_many_and_how_fast():
    now_s = 100.0
    view = CheckView(clock_s=lambda: now_s)
    assert view.line(_report(CheckPhase.COMMANDS, ReconcileSummary(commands=7))).startswith(
        "commands: 7 commands and 0 aggregates looked at"
    )
    now_s += 2
    assert "1,007 commands (500/s) and 0" in view.line(_report(CheckPhase.COMMANDS, ReconcileSummary(commands=1007)))
    view.line(_report(CheckPhase.AGGREGATES, ReconcileSummary(commands=1007), 59_109))
    now_s += 10
    line = view.line(_report(CheckPhase.AGGREGATES, ReconcileSummary(commands=1007, aggregates=1500, found=3), 59_109))
    assert line == (
        "aggregates: 1,007 commands and 1,500 of 59,109 aggregates (150/s) looked at, 3 half done, 0 unfinished, "
        "0 damaged"
    )


def test_progress_is_printed_now_and_then():
    now_s = 0.0
    lines = ProgressLines(clock_s=lambda: now_s, at_once=True)
    assert lines.is_due()
    assert not lines.is_due()
    now_s += LINE_EVERY_S
    assert lines.is_due()
