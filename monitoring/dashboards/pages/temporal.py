"""Temporal's workers, by the metrics of its SDK."""

from monitoring.dashboards.panel import OUR_WORKERS, Dashboard, Panel, Row, Unit, quantile, quantiles, rate, single
from monitoring.dashboards.shared import OUTAGE, TASKS_WAIT

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
