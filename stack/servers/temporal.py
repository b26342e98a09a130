"""Temporal: the development server with its Web UI, its data on disk, set to be quick.

The pragmas and the first two settings halve a workflow's latency and double the throughput against the defaults, which
poll their queues some 20 times a second; one partition suits one node; eager execution saves a round trip. Fairness
takes aggregates in turn, so that a command does not wait behind a thousand of another aggregate.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import ClassVar

from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import TEMPORAL
from stack.servers.definition import Command, Definition, Location, plain_environment
from stack.servers.http import get

TIMEOUT = timedelta(seconds=5)
UI_VARIABLE = "ONCELOG_TEMPORAL_UI_URL"

SHOWN_MAX = 200
"""Characters of an answer in a message."""

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
    "CheckVerdict": "Keyword",
}


class Temporal(Definition):
    """One Temporal server with namespace `default`."""

    name = "temporal"
    program = TEMPORAL
    ports: ClassVar = {"temporal": 7233, "temporal_ui": 8233}
    address_variable = "TEMPORAL_ADDRESS"
    start_timeout_s = 120  # it is up within seconds, or its storage is stuck

    def prepare(self, location: Location) -> Command:
        """Everything is said on the command line."""
        location.data.mkdir(parents=True, exist_ok=True)
        argv = [str(location.program), "server", "start-dev", "--ip", HOST, "--port", str(location.ports["temporal"])]
        argv += ["--ui-port", str(location.ports["temporal_ui"]), "--db-filename", str(location.data / "temporal.db")]
        for option, values in (
            ("--sqlite-pragma", PRAGMAS),
            ("--dynamic-config-value", DYNAMIC_SETTINGS),
            ("--search-attribute", SEARCH_ATTRIBUTES),
        ):
            for key, value in values.items():
                argv += [option, f"{key}={value}"]
        return Command(argv, plain_environment(HOME=str(location.folder)))

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Temporal's standard variables, and where its Web UI is."""
        return {
            self.address_variable: f"{HOST}:{ports['temporal']}",
            "TEMPORAL_NAMESPACE": "default",
            UI_VARIABLE: f"http://{HOST}:{ports['temporal_ui']}",
        }

    def check(self, environment: Mapping[str, str]) -> None:
        """Ask the front end's own health service, and the Web UI where its address is known."""
        with ThreadPoolExecutor(1) as pool:  # a thread without an event loop: callers may have one
            pool.submit(asyncio.run, _check_front_end(environment[self.address_variable])).result()
        if url := environment.get(UI_VARIABLE):
            check_through_ui(url, environment.get("TEMPORAL_NAMESPACE", "default"))


async def _check_front_end(address: str) -> None:
    from temporalio.service import ConnectConfig, RPCError, ServiceClient  # takes long; most commands check no server

    key = os.environ.get("TEMPORAL_API_KEY")
    config = ConnectConfig(
        target_host=address, api_key=key, tls=bool(key or os.environ.get("TEMPORAL_TLS")), connect_timeout=TIMEOUT
    )
    try:
        serving = await (await ServiceClient.connect(config)).check_health(timeout=TIMEOUT)
    except (RPCError, RuntimeError) as error:
        raise UnreachableError(f"Temporal at {address} does not answer: {error}") from error
    if not serving:
        raise UnreachableError(f"Temporal at {address} is not serving")


def check_through_ui(url: str, namespace: str) -> None:
    """Raise UnreachableError unless the Web UI answers, and the server's storage does when it is asked through it.

    The health service answers from memory. The development server's one connection to SQLite stays interrupted for good
    after a request that was cancelled at a bad moment (temporalio/temporal#10427): only a restart helps.
    """
    status, _ = get(url)
    if status != 200:
        raise UnreachableError(f"Temporal's Web UI at {url} answers with HTTP status {status}, expected 200")
    status, body = get(url, f"/api/v1/namespaces/{namespace}")
    if status >= 500:
        reason = " ".join(body.decode(errors="replace").split())[:SHOWN_MAX]
        raise UnreachableError(
            f"Temporal cannot read its namespaces, HTTP status {status} from {url}: {reason}; restart it if it lasts"
        )
