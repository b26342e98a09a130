"""Where a command's time goes, and the requests of each step."""

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
    OUTAGE,
    PENDING,
    REPLAY_SPEED,
    RESENT,
    STEPS_FAILED,
    STORES_FAILED,
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
