"""Capacity: the cost of a command to a worker and to S3, and its wait while workers are restarted.

``python -m benchmarks.capacity --commands 2000``, on servers of its own. Workers are processes, as in production. Half
of the commands run undisturbed; during the other half every worker is replaced by a new one, one after the other.
"""

import argparse
import asyncio
import os
import signal
import socket
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from oncelog.client.client import Oncelog, new_command_id
from oncelog.domain.commands import Command, CommandType
from oncelog.process import run_on_uvloop
from oncelog.settings import Settings
from oncelog.stores.opening import Stores
from stack import Stack
from stack.servers import DEFAULT
from stack.terminal import terminal_reporter

UPDATES_PER_AGGREGATE = 9
READY_TIMEOUT_S = 300
TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAYLOAD = {"name": "Lamp", "description": "A lamp for the desk, with an arm that turns.", "price": 12.5}


@dataclass(frozen=True)
class Load:
    """Commands that were answered. ``latencies_s``: from the call to the answer."""

    latencies_s: list[float]
    outcomes: Counter[str]
    duration_s: float


class Workers:
    """``oncelog-worker`` processes; the figures of those that have ended count on."""

    def __init__(self) -> None:
        self._running: list[tuple[asyncio.subprocess.Process, str]] = []
        self.requests: Counter[tuple[str, str]] = Counter()
        self.cpu_s = 0.0
        self.drains_s: list[float] = []

    async def start(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{probe.getsockname()[1]}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "oncelog.worker"),
            env={**os.environ, "ONCELOG_METRICS_ADDRESS": address},
            stderr=asyncio.subprocess.DEVNULL,
        )
        self._running.append((process, address))
        async with asyncio.timeout(READY_TIMEOUT_S), httpx.AsyncClient() as http:
            while True:
                try:
                    if (await http.get(f"http://{address}/readyz")).is_success:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.1)

    async def end_oldest(self) -> None:
        """Send SIGTERM, and keep what it had counted until then."""
        process, address = self._running.pop(0)
        await self._count(process.pid, address)
        began = time.perf_counter()
        process.send_signal(signal.SIGTERM)
        code = await process.wait()
        self.drains_s.append(time.perf_counter() - began)
        assert code == 0, f"a worker ended with {code}"

    async def end(self) -> None:
        while self._running:
            await self.end_oldest()

    async def rolled(self) -> None:
        """Replace every worker: a new one is ready before an old one is told to end."""
        for _ in list(self._running):
            await self.start()
            await self.end_oldest()

    async def _count(self, pid: int, address: str) -> None:
        async with httpx.AsyncClient() as http:
            text = (await http.get(f"http://{address}/metrics")).text
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == "oncelog_store_request_seconds_count":
                    self.requests[sample.labels["store"], sample.labels["operation"]] += int(sample.value)
        with open(f"/proc/{pid}/stat") as stat:  # noqa: ASYNC230, PTH123 - of the kernel, which answers at once
            fields = stat.read().rpartition(")")[2].split()
        self.cpu_s += sum(map(int, fields[11:15])) / TICKS_PER_S


async def load(client: Oncelog, commands: int, clients: int) -> Load:
    """Run creates and updates of many aggregates, so many clients at once, each waiting for its answer."""
    latencies_s: list[float] = []
    outcomes: Counter[str] = Counter()
    left = commands
    began = time.perf_counter()

    async def caller() -> None:
        nonlocal left
        while left > 0:
            instance_id = new_command_id()
            for version in range(UPDATES_PER_AGGREGATE + 1):
                if left <= 0:
                    return
                left -= 1
                kind = CommandType.UPDATE_INSTANCE if version else CommandType.CREATE_INSTANCE
                fields: dict[str, Any] = {"command_id": new_command_id(), "command_type": kind, "db_name": "bench"}
                payload = {"version": version} if version else PAYLOAD
                asked = time.perf_counter()
                result = await client.submit(
                    Command.model_validate(
                        {**fields, "class_id": "Lamp", "instance_id": instance_id, "payload": payload}
                    )
                )
                latencies_s.append(time.perf_counter() - asked)
                outcomes[result.outcome] += 1

    await asyncio.gather(*(caller() for _ in range(clients)))
    return Load(latencies_s, outcomes, time.perf_counter() - began)


def stored(stores: Stores) -> Mapping[str, tuple[int, int]]:
    """Return objects and bytes of each folder of the bucket."""
    found: dict[str, tuple[int, int]] = {}
    pages = stores.bucket.client.get_paginator("list_objects_v2").paginate(Bucket=stores.bucket.name)
    for item in (item for page in pages for item in page.get("Contents", [])):
        folder = item["Key"].split("/")[0]
        objects, size = found.get(folder, (0, 0))
        found[folder] = (objects + 1, size + item["Size"])
    return found


async def measure(commands: int, workers_at_once: int, clients: int) -> None:
    """Run both halves and print their figures."""
    settings = Settings.from_environment()
    workers = Workers()
    for _ in range(workers_at_once):
        await workers.start()
    async with await Stores.connect(settings) as stores, Oncelog.connect(settings) as client:
        _print_load("undisturbed", await load(client, commands // 2, clients))
        half = asyncio.create_task(load(client, commands - commands // 2, clients))
        await workers.rolled()
        _print_load("restarted", await half)
        await workers.end()
        print("drains_s", *(f"{each:.1f}" for each in workers.drains_s))
        print(f"worker_cpu_ms_per_command {workers.cpu_s * 1000 / commands:.1f}")
        for (store, operation), number in sorted(workers.requests.items()):
            print(f"requests_per_command {store} {operation} {number / commands:.3f}")
        for folder, (objects, size) in sorted((await asyncio.to_thread(stored, stores)).items()):
            print(f"s3_per_command {folder} objects={objects / commands:.3f} bytes={size / commands:.0f}")


def _print_load(name: str, done: Load) -> None:
    cuts = statistics.quantiles(done.latencies_s, n=100, method="inclusive")
    figures = f"p50={cuts[49]:.2f} p99={cuts[98]:.2f} max={max(done.latencies_s):.2f}"
    rate = len(done.latencies_s) / done.duration_s
    print(f"{name} commands={len(done.latencies_s)} {dict(done.outcomes)} per_s={rate:.1f} seconds: {figures}")


def main() -> int:
    """Measure on servers of its own."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.capacity", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--commands", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clients", type=int, default=32, help="each waits for its answer before it asks again")
    options = parser.parse_args()
    with Stack.temporary([definition.name for definition in DEFAULT], reporter=terminal_reporter()) as stack:
        os.environ.update(stack.environment())
        run_on_uvloop(measure(options.commands, options.workers, options.clients))
    return 0


if __name__ == "__main__":
    sys.exit(main())
