"""The four pages."""

from monitoring.dashboards.panel import (
    OUR_WORKERS,
    Dashboard,
    Panel,
    Query,
    Row,
    Unit,
    quantile,
    quantiles,
    rate,
    single,
)
from monitoring.dashboards.shared import (
    ARCHIVE_LAG,
    BUSY,
    COMMANDS,
    LAG,
    OUTAGE,
    PARKED,
    PENDING,
    REPLAY_SPEED,
    RESENT,
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

PIPELINE = Dashboard(
    uid="oncelog-pipeline",
    title="Oncelog: the pipeline, step by step",
    about="Where a command's time goes, and what each step asks of the stores.",
    rows=(
        Row(
            title="Commands",
            panels=(
                Panel(
                    title="Commands by type and outcome",
                    about="Attempts that brought a command to its end.",
                    queries=single(
                        rate("oncelog_commands_total", "command_type", "outcome"), "{{command_type}} {{outcome}}"
                    ),
                    unit=Unit.PER_SECOND,
                ),
                Panel(
                    title="How long commands take, by type",
                    about="Of twenty commands of a type, nineteen take less.",
                    queries=single(quantile(0.95, "oncelog_command_seconds", "command_type"), "{{command_type}}"),
                    unit=Unit.SECONDS,
                ),
                Panel(
                    title="Items of bulk commands",
                    about="Items that came to their end.",
                    queries=single(rate("oncelog_bulk_items_total", "outcome"), "{{outcome}}"),
                    unit=Unit.PER_SECOND,
                ),
                Panel(
                    title="Duplicates",
                    about="Commands that had come to their end before, answered with the first result.",
                    queries=single(rate("oncelog_command_duplicates_total", "command_type"), "{{command_type}}"),
                    unit=Unit.PER_SECOND,
                    only_in="a command that is submitted after its workflow is forgotten, or repeated by a retry",
                ),
            ),
        ),
        Row(
            title="Steps",
            panels=(
                Panel(
                    title="Seconds per step",
                    about="Of twenty runs of a step, nineteen take less. The slowest step names the store to look at.",
                    queries=single(quantile(0.95, "oncelog_step_seconds", "step"), "{{step}}"),
                    unit=Unit.SECONDS,
                ),
                Panel(
                    title="Steps that succeeded",
                    about="All steps of a command have the same rate, except in an outage.",
                    queries=single(rate("oncelog_step_seconds_count", "step"), "{{step}}"),
                    unit=Unit.PER_SECOND,
                ),
                STEPS_FAILED,
            ),
        ),
        Row(
            title="Aggregates",
            panels=(
                Panel(
                    title="How long commands wait for the lease on their aggregate",
                    about="Grows where many commands meet on one aggregate.",
                    queries=quantiles("oncelog_lease_wait_seconds"),
                    unit=Unit.SECONDS,
                ),
                Panel(
                    title="Slots and places taken by others, heads read anew",
                    about="All stay low; they rise after Redis has lost data, or where commands compete for a value.",
                    queries=(
                        Query(expression=rate("oncelog_slot_conflicts_total"), legend="slot conflicts"),
                        Query(expression=rate("oncelog_unique_conflicts_total"), legend="places of unique values"),
                        Query(
                            expression=rate("oncelog_stream_heads_reloaded_total"),
                            legend="heads reloaded",
                        ),
                    ),
                    unit=Unit.PER_SECOND,
                ),
                BUSY,
            ),
        ),
        Row(
            title="Stores",
            panels=(
                Panel(
                    title="Requests",
                    about="Requests that were answered.",
                    queries=single(rate("oncelog_store_request_seconds_count", "store"), "{{store}}"),
                    unit=Unit.PER_SECOND,
                ),
                Panel(
                    title="Seconds per request",
                    about="Of twenty requests, nineteen take less.",
                    queries=single(
                        quantile(0.95, "oncelog_store_request_seconds", "store", "operation"),
                        "{{store}} {{operation}}",
                    ),
                    unit=Unit.SECONDS,
                ),
                Panel(
                    title="Requests of workers per command",
                    about="Constant, whatever the length of a stream; it is what a command costs.",
                    queries=single(
                        rate(f"oncelog_store_request_seconds_count{OUR_WORKERS}", "store")
                        + f" / on () group_left () {rate('oncelog_commands_total')}",
                        "{{store}}",
                    ),
                    unit=Unit.COUNT,
                ),
                STORES_FAILED,
                Panel(
                    title="Requests sent again at once",
                    about="Retries within one attempt of a step.",
                    queries=single(
                        rate("stamina_retries_total", "callable", "error_type"), "{{callable}} {{error_type}}"
                    ),
                    unit=Unit.PER_SECOND,
                    only_in=OUTAGE,
                ),
            ),
        ),
        Row(title="The log", panels=(PENDING, RESENT, REPLAY_SPEED, ARCHIVE_LAG)),
    ),
)

PROJECTOR = Dashboard(
    uid="oncelog-projector",
    title="Oncelog: projectors",
    about="Whether read models follow the log, and what holds them up.",
    rows=(
        Row(
            title="Keeping up",
            panels=(
                LAG,
                Panel(
                    title="Messages not shown yet",
                    about="One partition alone: one aggregate, or one consumer, is slow.",
                    queries=single("projection_lag_events", "{{read_model}}, partition {{partition}}"),
                    unit=Unit.COUNT,
                ),
                Panel(
                    title="Messages shown",
                    about="Their effect is shown and acknowledged.",
                    queries=single(rate("events_processed_total", "read_model"), "{{read_model}}"),
                    unit=Unit.PER_SECOND,
                ),
                Panel(
                    title="Seconds per batch",
                    about="From a batch's arrival to its acknowledgement.",
                    queries=single(quantile(0.95, "projection_batch_seconds", "read_model"), "{{read_model}}"),
                    unit=Unit.SECONDS,
                ),
            ),
        ),
        Row(
            title="Messages without effect",
            panels=(
                Panel(
                    title="Messages that told nothing new",
                    about="Late, repeated, or projected by the worker before.",
                    queries=single(rate("events_skipped_total", "read_model"), "{{read_model}}"),
                    unit=Unit.PER_SECOND,
                ),
                Panel(
                    title="Messages left alone",
                    about="Their aggregate waits for a dead letter or a container.",
                    queries=single(rate("events_waiting_total", "read_model"), "{{read_model}}"),
                    unit=Unit.PER_SECOND,
                ),
                PARKED,
                UNUSABLE,
            ),
        ),
        Row(
            title="Stores",
            panels=(
                Panel(
                    title="Aggregates read from S3",
                    about="A gap, or an aggregate that the process does not know yet; high after a start.",
                    queries=single(rate("log_lookups_total", "read_model"), "{{read_model}}"),
                    unit=Unit.PER_SECOND,
                ),
                Panel(
                    title="Seconds per request of projectors",
                    about="Of twenty requests, nineteen take less.",
                    queries=single(
                        quantile(
                            0.95,
                            "oncelog_store_request_seconds",
                            "store",
                            "operation",
                            of='{job="oncelog-projector"}',
                        ),
                        "{{store}} {{operation}}",
                    ),
                    unit=Unit.SECONDS,
                ),
                STORES_FAILED,
            ),
        ),
    ),
)

TEMPORAL = Dashboard(
    uid="oncelog-temporal",
    title="Oncelog: Temporal's workers",
    about="Figures of Temporal's SDK within the workers; durations in milliseconds.",
    rows=(
        Row(
            title="Tasks",
            panels=(
                TASKS_WAIT,
                Panel(
                    title="Workflow tasks",
                    about="From a task's arrival to its answer; local activities run within.",
                    queries=quantiles("temporal_workflow_task_execution_latency", of=OUR_WORKERS),
                    unit=Unit.MILLISECONDS,
                ),
                Panel(
                    title="Local activities",
                    about="Steps within a workflow task, by type.",
                    queries=single(
                        quantile(0.95, "temporal_local_activity_execution_latency", "activity_type", of=OUR_WORKERS),
                        "{{activity_type}}",
                    ),
                    unit=Unit.MILLISECONDS,
                ),
                Panel(
                    title="Workflows that completed",
                    about="By type.",
                    queries=single(
                        rate(f"temporal_workflow_completed_total{OUR_WORKERS}", "workflow_type"), "{{workflow_type}}"
                    ),
                    unit=Unit.PER_SECOND,
                ),
            ),
        ),
        Row(
            title="Room",
            panels=(
                Panel(
                    title="Task slots left",
                    about="None left: the worker is full.",
                    queries=single(
                        f"sum by (worker_type) (temporal_worker_task_slots_available{OUR_WORKERS})", "{{worker_type}}"
                    ),
                    unit=Unit.COUNT,
                ),
                Panel(
                    title="Task slots used",
                    about="Steps that were handed over show as ActivityWorker.",
                    queries=single(
                        f"sum by (worker_type) (temporal_worker_task_slots_used{OUR_WORKERS})", "{{worker_type}}"
                    ),
                    unit=Unit.COUNT,
                ),
                Panel(
                    title="Workflows in the cache",
                    about="A worker that has none of a workflow replays its history first.",
                    queries=single(f"sum(temporal_sticky_cache_size{OUR_WORKERS})", "workflows"),
                    unit=Unit.COUNT,
                ),
                Panel(
                    title="Pollers",
                    about="Open requests for tasks.",
                    queries=single(f"sum by (poller_type) (temporal_num_pollers{OUR_WORKERS})", "{{poller_type}}"),
                    unit=Unit.COUNT,
                ),
            ),
        ),
        Row(
            title="Requests to Temporal",
            panels=(
                Panel(
                    title="Requests",
                    about="By operation; long polls are counted apart.",
                    queries=single(rate(f"temporal_request_total{OUR_WORKERS}", "operation"), "{{operation}}"),
                    unit=Unit.PER_SECOND,
                ),
                Panel(
                    title="Milliseconds per request",
                    about="Of twenty requests, nineteen take less.",
                    queries=single(
                        quantile(0.95, "temporal_request_latency", "operation", of=OUR_WORKERS), "{{operation}}"
                    ),
                    unit=Unit.MILLISECONDS,
                ),
                Panel(
                    title="Requests that failed",
                    about="Runbook OncelogTemporalRequestsFailing.",
                    queries=single(
                        rate(f"temporal_request_failure_total{OUR_WORKERS}", "operation", "status_code"),
                        "{{operation}} {{status_code}}",
                    ),
                    unit=Unit.PER_SECOND,
                    only_in=OUTAGE,
                ),
            ),
        ),
    ),
)

PAGES = (GLANCE, PIPELINE, PROJECTOR, TEMPORAL)
