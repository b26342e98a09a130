"""Panels that more than one page has."""

from monitoring.dashboards.panel import Panel, Unit, quantiles, rate, single

OUTAGE = "an outage"

COMMANDS = Panel(
    title="Commands that ended",
    about="APPLIED, or the code of the rejection.",
    queries=single(rate("oncelog_commands_total", "outcome"), "{{outcome}}"),
    unit=Unit.PER_SECOND,
)
STEPS_FAILED = Panel(
    title="Steps that failed",
    about="They are tried again, so commands are late and not lost. Runbook OncelogStepFailing.",
    queries=single(rate("oncelog_step_failures_total", "step"), "{{step}}"),
    unit=Unit.PER_SECOND,
    only_in=OUTAGE,
)
STORES_FAILED = Panel(
    title="Requests to stores without a usable answer",
    about="Runbook OncelogStoreFailing.",
    queries=single(rate("oncelog_store_request_failures_total", "store", "operation"), "{{store}} {{operation}}"),
    unit=Unit.PER_SECOND,
    only_in=OUTAGE,
)
LAG = Panel(
    title="How far read models are behind",
    about="The age of the oldest message that is not shown. Runbook OncelogProjectionLagging.",
    queries=single("max by (read_model) (projection_lag_ms)", "{{read_model}}"),
    unit=Unit.MILLISECONDS,
)
PARKED = Panel(
    title="Aggregates parked in the last hour",
    about="They wait for a person: oncelog dead-letters list. Runbook OncelogAggregatesParked.",
    queries=single("sum by (read_model, code) (increase(events_failed_total[1h]))", "{{read_model}} {{code}}"),
    unit=Unit.COUNT,
    only_in="an event that cannot be projected",
)
UNUSABLE = Panel(
    title="Attempts that met an unusable index, topic or bucket",
    about="Writes to it wait until it is mended. Runbook OncelogContainerUnusable.",
    queries=single(
        rate("oncelog_container_unusable_total", "store", "container", "reason"), "{{store}} {{container}} {{reason}}"
    ),
    unit=Unit.PER_SECOND,
    only_in="a container that cannot be used",
)
TASKS_WAIT = Panel(
    title="How long workflow tasks wait for a worker",
    about="Workers are too few, or lack CPU time. Runbook OncelogTemporalScheduleToStartSlow.",
    queries=quantiles("temporal_workflow_task_schedule_to_start_latency", (0.5, 0.95)),
    unit=Unit.MILLISECONDS,
)
BUSY = Panel(
    title="Commands sent back to Temporal",
    about="Enough commands of their aggregate are under way: one aggregate is hot.",
    queries=single(rate("oncelog_aggregates_busy_total"), "sent back"),
    unit=Unit.PER_SECOND,
)
