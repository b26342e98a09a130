"""Panels that more than one page has."""

from monitoring.dashboards.panel import OUR_WORKERS, Panel, Unit, quantiles, rate, single

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
    about="The age of the oldest message that is not shown, whether a projector runs or not. "
    "Runbook OncelogProjectionLagging.",
    queries=single(
        "max by (read_model) (projection_lag_ms / 1000 or oncelog_projection_oldest_age_seconds)", "{{read_model}}"
    ),
    unit=Unit.SECONDS,
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
    queries=quantiles("temporal_workflow_task_schedule_to_start_latency", (0.5, 0.95), of=OUR_WORKERS),
    unit=Unit.MILLISECONDS,
)
BUSY = Panel(
    title="Commands sent back to Temporal",
    about="Enough commands of their aggregate are under way: one aggregate is hot.",
    queries=single(rate("oncelog_aggregates_busy_total"), "sent back"),
    unit=Unit.PER_SECOND,
)
PENDING = Panel(
    title="Commands under way, by age",
    about="Not ended so long after their start. Runbook OncelogCommandsStuck.",
    queries=single(
        "sum by (older_than_s) (max by (workflow_type, older_than_s) (oncelog_pending_commands))",
        "{{older_than_s}} s and more",
    ),
    unit=Unit.COUNT,
)
ARCHIVE_LAG = Panel(
    title="Age of the archive",
    about="What was written since then is in its slots only. Runbook OncelogArchiveLagging.",
    queries=single("time() - max(oncelog_archived_through_timestamp_seconds)", "age"),
    unit=Unit.SECONDS,
    only_in="an archive run that has ended",
)
RESENT = Panel(
    title="Events sent again",
    about="Whether an earlier attempt had sent them was not known. Rises after a loss of Kafka or Redis.",
    queries=single(rate("oncelog_events_resent_total"), "sent again"),
    unit=Unit.PER_SECOND,
)
REPLAY_SPEED = Panel(
    title="Events that replays fold",
    about="By mode; nothing between replays.",
    queries=single(rate("oncelog_replay_events_total", "mode"), "{{mode}}"),
    unit=Unit.PER_SECOND,
    only_in="a replay",
)
