"""Attempts that wait for a container or a decision are counted among the metrics of Temporal's SDK."""

from types import SimpleNamespace
from typing import Any

import pytest
from temporalio.common import MetricMeter
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput

from oncelog.activities.failures import FailureInterceptor
from oncelog.errors import ContainerUnusable, DecisionOverdue, StoreUnavailable, UnusableReason

UNUSABLE = ContainerUnusable("Kafka at x", "topic t", UnusableReason.FORBIDDEN, cause="no", remedy="grant the rights")


@pytest.mark.parametrize(
    ("error", "metric", "labels"),
    [
        (
            UNUSABLE,
            "oncelog_container_unusable",
            {"store": "Kafka at x", "container": "topic t", "reason": "forbidden"},
        ),
        (DecisionOverdue("shop/Product/p1", cpu_s=60), "oncelog_decision_overdue", {}),
    ],
    ids=["container", "decision"],
)
async def test_attempts_that_wait_are_counted(error: StoreUnavailable, metric: str, labels: dict[str, str]):
    counted: list[tuple[str, Any]] = []

    class Meter(type(MetricMeter.noop)):  # type: ignore[misc]
        def create_counter(self, name: str, *_: Any) -> Any:
            return SimpleNamespace(add=lambda _, labels=None: counted.append((name, labels or {})))

    class Refused(ActivityInboundInterceptor):
        async def execute_activity(self, _: Any) -> Any:
            raise error

    given = ExecuteActivityInput(fn=counted.append, args=[], executor=None, headers={})
    environment = ActivityEnvironment()
    environment.metric_meter = Meter()
    interceptor = FailureInterceptor().intercept_activity(Refused(None))  # type: ignore[arg-type]
    with pytest.raises(ApplicationError) as failed:
        await environment.run(interceptor.execute_activity, given)
    assert failed.value.type == error.code
    assert not failed.value.non_retryable
    assert counted == [(metric, labels)]
