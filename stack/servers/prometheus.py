"""Prometheus: scrapes one worker and one projector of ours, and holds them to the alerts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from stack.errors import LaunchError, UnreachableError
from stack.ports import HOST
from stack.programs import PROMETHEUS
from stack.servers.definition import Command, Definition, Location, plain_environment
from stack.servers.http import get

ALERTS = Path(__file__).parents[2] / "monitoring" / "alerts.yml"
#: Shorter than in production, so that a rate is there some seconds after a worker is.
INTERVAL = "2s"
RETENTION = "7d"
JOBS = {"oncelog-worker": "worker_metrics", "oncelog-projector": "projector_metrics"}
"""Job, as the alerts name it, to the port that it scrapes."""


class Prometheus(Definition):
    """One Prometheus server, and the addresses at which it looks for a worker and a projector."""

    name = "prometheus"
    program = PROMETHEUS
    ports: ClassVar = {"prometheus": 9090, "worker_metrics": 9464, "projector_metrics": 9465}
    client_ports: ClassVar = frozenset({"worker_metrics", "projector_metrics"})
    address_variable = "ONCELOG_PROMETHEUS_URL"

    def prepare(self, location: Location) -> Command:
        """Write what it scrapes; the alerts are those of the repository, where they lie."""
        if not ALERTS.is_file():
            raise LaunchError(f"prometheus: there are no alerts at {ALERTS}; run from a whole checkout")
        location.data.mkdir(parents=True, exist_ok=True)
        settings = location.folder / "prometheus.yml"
        settings.write_text(json.dumps(scraping(location.ports), indent=2) + "\n")
        options = {
            "config.file": settings,
            "storage.tsdb.path": location.data,
            "storage.tsdb.retention.time": RETENTION,
            "web.listen-address": f"{HOST}:{location.ports['prometheus']}",
        }
        return Command(
            [str(location.program), *(f"--{name}={value}" for name, value in options.items())], plain_environment()
        )

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Where it is, and where a worker and a projector are to serve their metrics."""
        return {
            self.address_variable: f"http://{HOST}:{ports['prometheus']}",
            "ONCELOG_METRICS_ADDRESS": f"{HOST}:{ports['worker_metrics']}",
            "ONCELOG_PROJECTOR_METRICS_ADDRESS": f"{HOST}:{ports['projector_metrics']}",
        }

    def check(self, environment: Mapping[str, str]) -> None:
        """It is ready once it has read its data."""
        status, _ = get(environment[self.address_variable], "/-/ready")
        if status != 200:
            raise UnreachableError(f"Prometheus answers with HTTP status {status}, expected 200")


def scraping(ports: Mapping[str, int]) -> dict[str, Any]:
    """The configuration file's content; JSON is YAML, too."""
    return {
        "global": {"scrape_interval": INTERVAL, "evaluation_interval": INTERVAL},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [
            {"job_name": job, "static_configs": [{"targets": [f"{HOST}:{ports[port]}"]}]} for job, port in JOBS.items()
        ],
    }
