"""Whether read models follow the log, and what holds them up."""

from monitoring.dashboards.panel import Dashboard, Panel, Row, Unit, quantile, rate, single
from monitoring.dashboards.shared import LAG, PARKED, STORES_FAILED, UNUSABLE

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
                    title="Messages that wait, as workers see it",
                    about="Not committed by the projectors, whether one runs or not; read from Kafka every 30 s.",
                    queries=single("max by (read_model) (oncelog_projection_waiting_messages)", "{{read_model}}"),
                    unit=Unit.COUNT,
                ),
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
