"""Is the pipeline healthy, does it keep up, is it correct, is anything stuck."""

from monitoring.dashboards.panel import Dashboard, Panel, Row, Unit, quantiles, single
from monitoring.dashboards.shared import (
    BUSY,
    COMMANDS,
    LAG,
    PARKED,
    PENDING,
    STEPS_FAILED,
    STORES_FAILED,
    TASKS_WAIT,
    UNUSABLE,
)

#: Each worker keeps the result of the last check that it ended itself: the newest of all counts.
NEWEST_CHECK = (
    "max by (invariant, scope) (oncelog_check_violations and on (scope, instance) "
    "(oncelog_check_ended_at == on (scope) group_left () max by (scope) (oncelog_check_ended_at)))"
)
CHECKED = "a consistency check that has ended"

GLANCE = Dashboard(
    uid="oncelog-glance",
    title="Oncelog: at a glance",
    about="Four questions: is it healthy, does it keep up, is it correct, is anything stuck.",
    rows=(
        Row(
            title="Is it healthy?",
            panels=(
                Panel(
                    title="Workers that answer",
                    about="None: commands are accepted and wait. Runbook OncelogNoWorker.",
                    queries=single('count(up{job="oncelog-worker"} == 1) or vector(0)', "workers"),
                    unit=Unit.COUNT,
                    number=True,
                    red_below=1,
                ),
                Panel(
                    title="Workers and projectors that do not answer",
                    about="Ended, or stuck. Runbook OncelogTargetDown.",
                    queries=single('count(up{job=~"oncelog-.*"} == 0) or vector(0)', "programs"),
                    unit=Unit.COUNT,
                    number=True,
                    red_from=1,
                ),
                Panel(
                    title="Alerts that fire",
                    about="Prometheus' page Alerts names them, each with its runbook.",
                    queries=single('count(ALERTS{alertstate="firing", alertname=~"Oncelog.*"}) or vector(0)', "alerts"),
                    unit=Unit.COUNT,
                    number=True,
                    red_from=1,
                ),
                STEPS_FAILED,
                STORES_FAILED,
            ),
        ),
        Row(
            title="Does it keep up?",
            panels=(
                COMMANDS,
                Panel(
                    title="How long commands take",
                    about="From the first step to the completion. Runbook OncelogCommandsSlow.",
                    queries=quantiles("oncelog_command_seconds"),
                    unit=Unit.SECONDS,
                ),
                TASKS_WAIT,
                LAG,
            ),
        ),
        Row(
            title="Is it correct?",
            panels=(
                Panel(
                    title="Violations that the last check found",
                    about="oncelog check --last names them. Runbook OncelogInvariantViolated.",
                    queries=single(NEWEST_CHECK, "invariant {{invariant}}, {{scope}}"),
                    unit=Unit.COUNT,
                    number=True,
                    red_from=1,
                    only_in=CHECKED,
                ),
                Panel(
                    title="Age of the last check",
                    about="Red from two days on: a violation would not be noticed. Runbook OncelogCheckOverdue.",
                    queries=single("time() - max(oncelog_check_ended_at)", "age"),
                    unit=Unit.SECONDS,
                    number=True,
                    red_from=172800,
                    only_in=CHECKED,
                ),
            ),
        ),
        Row(title="Is anything stuck?", panels=(PENDING, PARKED, UNUSABLE, BUSY)),
    ),
)
