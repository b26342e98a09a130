"""The cost of one command besides time: CPU by server, requests to stores, events and tasks in Temporal."""

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from temporalio.api.enums.v1 import EventType

from benchmarks.contenders import Contender
from benchmarks.load import Measurement, measure
from stack import Server, Stack

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
COMMANDS = 20


@dataclass(frozen=True)
class Block:
    """One contender under load once. ``cpu_s``: CPU time by server, and that of client and worker."""

    contender: str
    turn: int
    load: Measurement
    cpu_s: Mapping[str, float]

    @property
    def cpu_ms_each(self) -> dict[str, float]:
        """Per command."""
        return {part: seconds * 1000 / len(self.load.latencies_ms) for part, seconds in self.cpu_s.items()}


@dataclass(frozen=True)
class Cost:
    """The cost of one command of a contender, counted one by one."""

    contender: str
    requests: Mapping[str, float]
    history_events: int | None
    workflow_tasks: int | None


async def block_of(
    stack: Stack, name: str, contender: Contender, *, turn: int, concurrency: int, seconds: float
) -> Block:
    """Put a contender under load once."""
    before = cpu_seconds(stack.servers)
    load = await measure(contender.ask, concurrency=concurrency, seconds=seconds)
    after = cpu_seconds(stack.servers)
    return Block(name, turn, load, {part: after[part] - before[part] for part in after})


async def cost_of(name: str, contender: Contender) -> Cost:
    """Count over some commands, the first of which makes what is there once per class or process."""
    await contender.ask()
    before = contender.requests()
    for _ in range(COMMANDS):
        await contender.ask()
    requests = {what: number / COMMANDS for what, number in (contender.requests() - before).items()}
    if contender.history is None:
        return Cost(name, requests, None, None)
    events = (await contender.history()).events
    tasks = [event for event in events if event.event_type == EventType.EVENT_TYPE_WORKFLOW_TASK_COMPLETED]
    return Cost(name, requests, len(events), len(tasks))


def cpu_seconds(servers: Iterable[Server]) -> dict[str, float]:
    """Return the CPU time that each server and its children have used since they started, and that of this process."""
    parents: dict[int, int] = {}
    used_s: dict[int, float] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()  # proc(5); the name before may hold anything
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has just ended
        process = int(path.parent.name)
        parents[process] = int(fields[1])
        used_s[process] = sum(map(int, fields[11:15])) / TICKS_PER_S  # its own, and of children that have ended
    names = {server.pid: server.name for server in servers}
    found = dict.fromkeys(names.values(), 0.0) | {"client and worker": time.process_time()}
    for process, seconds in used_s.items():
        ancestor: int | None = process
        while ancestor and ancestor not in names:
            ancestor = parents.get(ancestor)
        if ancestor:
            found[names[ancestor]] += seconds
    return found
