"""The projector's metrics, for Prometheus. Each is labelled with the read model."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from oncelog.errors import ContainerUnusable

BATCH_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class ProjectorMetrics:
    """One projector's figures, in a registry of their own."""

    def __init__(self, read_model: str) -> None:
        self.registry = CollectorRegistry()
        self._read_model = read_model
        self.processed = self._counter("events_processed", "Messages whose effect is shown and acknowledged.")
        self.skipped = self._counter("events_skipped", "Messages that told nothing new: late or repeated.")
        self.waiting = self._counter("events_waiting", "Messages left alone, because their aggregate waits.")
        self.lookups = self._counter("log_lookups", "Aggregates read from the log: a gap, or not known here yet.")
        self._failed = Counter(
            "events_failed",
            "Aggregates parked, and messages of no aggregate, by the error's code.",
            ("read_model", "code"),
            registry=self.registry,
        )
        self._containers = Counter(
            "oncelog_container_unusable",
            "Attempts that failed, and documents and nodes set aside, because a container cannot be used.",
            ("store", "container", "reason"),
            registry=self.registry,
        )
        self._lag_ms = Gauge(
            "projection_lag_ms",
            "How long ago the oldest message not shown yet was sent; 0 if all are shown, none if it is not taken yet.",
            ("read_model", "partition"),
            registry=self.registry,
        )
        self._lag_events = Gauge(
            "projection_lag_events", "Messages not shown yet.", ("read_model", "partition"), registry=self.registry
        )
        self.batch_s = Histogram(
            "projection_batch_seconds",
            "From a batch's arrival to its acknowledgement.",
            ("read_model",),
            buckets=BATCH_SECONDS,
            registry=self.registry,
        ).labels(read_model)

    def container_refused(self, error: ContainerUnusable) -> None:
        """Count a failure from an unusable container; there are as many indices as classes."""
        self._containers.labels(error.store, error.container, error.reason).inc()

    def failed(self, code: str) -> None:
        """Count an aggregate that was parked, or a message of none."""
        self._failed.labels(self._read_model, code).inc()

    def lag(self, events: Mapping[int, int], ages_ms: Mapping[int, float]) -> None:
        """Set the lag of the partitions that are ours now; other partitions are projected by others.

        A message that waits and was not taken yet has an age that is not known here, and is not reported as 0.
        """
        self._lag_events.clear()
        self._lag_ms.clear()
        for partition, number in events.items():
            self._lag_events.labels(self._read_model, partition).set(number)
            if partition in ages_ms or not number:
                self._lag_ms.labels(self._read_model, partition).set(ages_ms.get(partition, 0.0))

    def _counter(self, name: str, what: str) -> Counter:
        return Counter(name, what, ("read_model",), registry=self.registry).labels(self._read_model)
