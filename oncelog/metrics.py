"""The figures of the command path, for Prometheus: one registry for each process.

Labels have few values: command types, outcomes, steps, stores and their operations; never an ID, a database or a class.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Histogram

REGISTRY = CollectorRegistry()

#: From a Redis call to a rebuild; a command is mostly done within the first half.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

COMMANDS = Counter(
    "oncelog_commands",
    "Attempts that brought a command to its end, by type and outcome; a rejection by its code.",
    ("command_type", "outcome"),
    registry=REGISTRY,
)
DUPLICATES = Counter(
    "oncelog_command_duplicates",
    "Commands whose ID had come to its end before, answered with the first result.",
    ("command_type",),
    registry=REGISTRY,
)
COMMAND_SECONDS = Histogram(
    "oncelog_command_seconds",
    "From a command's first step to its completion, published and projected; workers' clocks.",
    ("command_type",),
    buckets=SECONDS,
    registry=REGISTRY,
)
STEP_SECONDS = Histogram(
    "oncelog_step_seconds", "Steps that succeeded, by name.", ("step",), buckets=SECONDS, registry=REGISTRY
)
STEP_FAILURES = Counter(
    "oncelog_step_failures", "Steps that ended with an error, by name.", ("step",), registry=REGISTRY
)
UNIQUE_CONFLICTS = Counter(
    "oncelog_unique_conflicts",
    "Places in chains of unique values that another command had taken; the command was decided again.",
    registry=REGISTRY,
)
SLOT_CONFLICTS = Counter(
    "oncelog_slot_conflicts",
    "Slots that another command's event had taken; the command was bound to a later one.",
    registry=REGISTRY,
)
HEADS_RELOADED = Counter(
    "oncelog_stream_heads_reloaded",
    "Stream heads read anew from S3, because Redis knew none or a wrong one.",
    registry=REGISTRY,
)
LEASE_WAIT_SECONDS = Histogram(
    "oncelog_lease_wait_seconds",
    "How long a command waited for the lease on its aggregate.",
    buckets=SECONDS,
    registry=REGISTRY,
)
AGGREGATES_BUSY = Counter(
    "oncelog_aggregates_busy",
    "Commands sent back to Temporal, because enough of their aggregate were under way here.",
    registry=REGISTRY,
)
EVENTS_RESENT = Counter(
    "oncelog_events_resent",
    "Events read from S3 and sent to Kafka, because it is not known whether an earlier attempt has sent them.",
    registry=REGISTRY,
)
REPLAY_EVENTS = Counter(
    "oncelog_replay_events", "Events that replays have folded, by the mode of the replay.", ("mode",), registry=REGISTRY
)
BULK_ITEMS = Counter(
    "oncelog_bulk_items", "Items of bulk commands that came to their end.", ("outcome",), registry=REGISTRY
)
STORE_REQUEST_SECONDS = Histogram(
    "oncelog_store_request_seconds",
    "Requests to a store that were answered, by operation.",
    ("store", "operation"),
    buckets=SECONDS,
    registry=REGISTRY,
)
STORE_REQUEST_FAILURES = Counter(
    "oncelog_store_request_failures",
    "Requests to a store that got no usable answer, by operation.",
    ("store", "operation"),
    registry=REGISTRY,
)


@contextmanager
def store_request(store: str, operation: str) -> Iterator[None]:
    """Measure one request. ``store``: s3, redis, kafka, elasticsearch or terminusdb."""
    began_s = time.perf_counter()
    try:
        yield
    except Exception:
        STORE_REQUEST_FAILURES.labels(store, operation).inc()
        raise
    STORE_REQUEST_SECONDS.labels(store, operation).observe(time.perf_counter() - began_s)
