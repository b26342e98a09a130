"""The stack's Prometheus: it reads what programs of its own stack serve, and holds that to the alerts."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from prometheus_client import CollectorRegistry, Counter, start_http_server

from stack import Stack
from stack.servers.prometheus import ALERTS, JOBS

pytestmark = pytest.mark.integration


def api(variables: dict[str, str], path: str) -> Any:
    with urllib.request.urlopen(f"{variables['ONCELOG_PROMETHEUS_URL']}/api/v1/{path}") as answer:
        return json.load(answer)["data"]


@contextmanager
def counted(address: str, count: int) -> Iterator[None]:
    """Serve a counter, as a worker serves its own."""
    registry = CollectorRegistry()
    Counter("oncelog_slot_conflicts", "Conflicts.", registry=registry).inc(count)
    host, _, port = address.rpartition(":")
    server, thread = start_http_server(int(port), addr=host, registry=registry)
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_two_prometheus_read_their_own_programs(wait_until: Callable[..., None]) -> None:
    with ExitStack() as running:
        stacks = [running.enter_context(Stack.temporary(["prometheus"])) for _ in range(2)]
        for count, stack in enumerate(stacks, 1):
            variables = stack.environment()
            variables.pop("ONCELOG_TEMPORAL_TEST_SERVER", None)  # where the shell names one
            assert set(variables) == {
                "ONCELOG_PROMETHEUS_URL",
                "ONCELOG_METRICS_ADDRESS",
                "ONCELOG_PROJECTOR_METRICS_ADDRESS",
            }
            running.enter_context(counted(variables["ONCELOG_METRICS_ADDRESS"], count))
            running.enter_context(counted(variables["ONCELOG_PROJECTOR_METRICS_ADDRESS"], 10 * count))
        for count, stack in enumerate(stacks, 1):
            expected = dict(zip(JOBS, (count, 10 * count), strict=True))
            wait_until(lambda stack=stack, expected=expected: conflicts(stack) == expected)


def conflicts(stack: Stack) -> dict[str, int]:
    result = api(stack.environment(), f"query?query={quote('oncelog_slot_conflicts_total')}")["result"]
    return {series["metric"]["job"]: int(series["value"][1]) for series in result}


def test_prometheus_loads_the_alerts(wait_until: Callable[..., None]) -> None:
    with Stack.temporary(["prometheus"]) as stack:
        variables = stack.environment()

        def rules() -> list[dict[str, Any]]:
            return [rule for group in api(variables, "rules")["groups"] for rule in group["rules"]]

        wait_until(lambda: rules() and all(rule["health"] != "unknown" for rule in rules()))
        assert {rule["name"]: rule.get("lastError", "") for rule in rules()} == {
            rule["alert"]: "" for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]
        }
