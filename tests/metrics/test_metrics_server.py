"""The endpoint of worker and projector: metrics and probes."""

import asyncio
import re
import socket
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.parser import text_string_to_metric_families

from oncelog import metrics
from oncelog.client.backlog import Backlog
from oncelog.client.backlog_metrics import BacklogMetrics, LagMetrics
from oncelog.errors import SettingsInvalid
from oncelog.metrics_server import free_loopback_address, metrics_served
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.worker import sdk_runtime

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


async def get(address: str, path: str) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(f"http://{address}{path}") as answer:
        return answer.status, await answer.text()


async def test_metrics_of_all_registries_are_served():
    address, own = free_loopback_address(), CollectorRegistry()
    Counter("own", "Own.", registry=own).inc(3)
    async with metrics_served(address, [metrics.REGISTRY, own], setting="X", ready=lambda: True):
        status, text = await get(address, "/metrics")
    families = {family.name for family in text_string_to_metric_families(text)}
    assert status == 200
    assert {"own", "oncelog_commands", "oncelog_store_request_seconds"} <= families
    assert "own_total 3.0" in text


async def test_readiness_follows_the_program():
    address, ready = free_loopback_address(), False
    async with metrics_served(address, [], setting="X", ready=lambda: ready):
        assert (await get(address, "/readyz"))[0] == 503
        ready = True
        assert (await get(address, "/readyz"))[0] == 200
        assert await get(address, "/healthz") == (200, "ok\n")


async def test_metrics_of_the_sdk_are_passed_on():
    address, sdk, registry = free_loopback_address(), free_loopback_address(), CollectorRegistry()
    Counter("temporal_request", "Requests.", registry=registry).inc()
    async with metrics_served(address, [], setting="X", ready=lambda: True, sdk_address=sdk):
        assert "no metrics of the Temporal SDK" in (await get(address, "/metrics"))[1]
        async with metrics_served(sdk, [registry], setting="X", ready=lambda: True):
            assert "temporal_request_total 1.0" in (await get(address, "/metrics"))[1]


async def test_counters_through_the_sdk_end_in_total():
    address = free_loopback_address()
    sdk = sdk_runtime(address)
    sdk.metric_meter.create_counter("oncelog_container_unusable").add(1, {"store": "kafka"})
    assert re.search(r"^oncelog_container_unusable_total{.*} 1$", (await get(address, "/metrics"))[1], re.MULTILINE)


async def test_address_that_is_taken_is_refused():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(SettingsInvalid, match="ONCELOG_METRICS_ADDRESS: expected host:port that is free"):
            async with metrics_served(address, [], setting="ONCELOG_METRICS_ADDRESS", ready=lambda: True):
                pass


async def test_nothing_listens_without_an_address():
    async with metrics_served(None, [], setting="X", ready=lambda: True):
        assert asyncio.current_task()


def test_every_metric_is_on_the_page():
    backlog, lag = BacklogMetrics(archive_interval_s=0), LagMetrics()
    backlog.newest, lag.newest = Backlog({}, archived_through=NOON, archive_scheduled=NOON), []
    registries = (metrics.REGISTRY, ProjectorMetrics("documents").registry, backlog.registry, lag.registry)
    names = {family.name for registry in registries for family in registry.collect()}
    page = PAGE.read_text()
    assert len(names) > 15
    assert len({name for name in names if name.startswith(("oncelog_pending", "oncelog_archive"))}) == 4
    assert {name for name in names if not re.search(rf"`{name}(_total)?[`{{]", page)} == set()


def test_no_label_names_data():
    made = [each for each in vars(metrics).values() if isinstance(each, Counter | Histogram)]
    labels = {label for each in made for label in each._labelnames}  # noqa: SLF001 - told by samples only, once there are
    assert labels == {"command_type", "outcome", "step", "store", "operation", "mode"}
