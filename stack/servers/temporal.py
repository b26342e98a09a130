"""Temporal: the development server with its Web UI, its data on disk, set to be quick.

The pragmas and the first two settings halve a workflow's latency and double the throughput against the defaults, which
poll their queues some 20 times a second; one partition suits one node; eager execution saves a round trip. Fairness
takes aggregates in turn, so that a command does not wait behind a thousand of another aggregate.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import TEMPORAL
from stack.servers.definition import Command, Definition, Place, plain_environment
from stack.servers.grpc_health import check_health
from stack.servers.http import get

UI_VARIABLE = "ONCELOG_TEMPORAL_UI_URL"

PRAGMAS = {"journal_mode": "WAL", "synchronous": "NORMAL"}

DYNAMIC_SETTINGS = {
    "history.transferProcessorMaxPollRPS": "2000",
    "history.timerProcessorMaxPollRPS": "2000",
    "matching.numTaskqueueReadPartitions": "1",
    "matching.numTaskqueueWritePartitions": "1",
    "matching.useNewMatcher": "true",
    "matching.enableFairness": "true",
    "system.enableActivityEagerExecution": "true",
}

SEARCH_ATTRIBUTES = {
    "DbName": "Keyword",
    "ClassId": "Keyword",
    "AggregateId": "Keyword",
    "CommandType": "Keyword",
    "CommandOutcome": "Keyword",
    "SequenceNumber": "Int",
}


class Temporal(Definition):
    """One Temporal server with namespace `default`."""

    name = "temporal"
    program = TEMPORAL
    ports: ClassVar = {"temporal": 7233, "temporal_ui": 8233}
    address_variable = "TEMPORAL_ADDRESS"

    def prepare(self, place: Place) -> Command:
        """Everything is said on the command line."""
        place.data.mkdir(parents=True, exist_ok=True)
        argv = [str(place.program), "server", "start-dev", "--ip", HOST, "--port", str(place.ports["temporal"])]
        argv += ["--ui-port", str(place.ports["temporal_ui"]), "--db-filename", str(place.data / "temporal.db")]
        for option, values in (
            ("--sqlite-pragma", PRAGMAS),
            ("--dynamic-config-value", DYNAMIC_SETTINGS),
            ("--search-attribute", SEARCH_ATTRIBUTES),
        ):
            for key, value in values.items():
                argv += [option, f"{key}={value}"]
        return Command(argv, plain_environment(HOME=str(place.folder)))

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Temporal's standard variables, and where its Web UI is."""
        return {
            self.address_variable: f"{HOST}:{ports['temporal']}",
            "TEMPORAL_NAMESPACE": "default",
            UI_VARIABLE: f"http://{HOST}:{ports['temporal_ui']}",
        }

    def check(self, environment: Mapping[str, str]) -> None:
        """The front end's own health service, and the Web UI where its address is known."""
        encrypted = bool(os.environ.get("TEMPORAL_API_KEY") or os.environ.get("TEMPORAL_TLS"))
        check_health(environment[self.address_variable], "temporal.api.workflowservice.v1.WorkflowService", encrypted)
        if url := environment.get(UI_VARIABLE):
            status, _ = get(url)
            if status != 200:
                raise UnreachableError(f"Temporal's Web UI at {url} answers with HTTP status {status}, expected 200")
