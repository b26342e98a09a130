"""How a stack is shown: a table for people, plain values for programs, logs as they grow."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack import process
from stack.server import Server
from stack.stack import Stack
from stack.state import State

FOLLOW_POLL_S = 0.3


def reports(stack: Stack) -> list[dict[str, Any]]:
    """Each server's state, in plain values."""
    servers = stack.servers
    state = State.read(stack.data) or State()
    return [report(server, state.servers[server.name].version) for server in servers]


def report(server: Server, version: str | None) -> dict[str, Any]:
    """One server's state: `problem` is None when it is healthy, `memory_bytes` counts all its processes."""
    problem = server.complaint()
    running = not server.is_external and server.is_running()
    return {
        "server": server.name,
        "address": server.address,
        "healthy": problem is None,
        "problem": problem,
        "run_by_others": server.is_external,
        "pid": server.pid if running else None,
        "version": version,
        "memory_bytes": process.memory_bytes(server.folder) if running else None,
        "log": None if server.is_external else str(server.log_path),
    }


def cells(row: Mapping[str, Any]) -> list[str]:
    """One line of the table."""
    memory = f"{row['memory_bytes'] / 1e6:.0f} MB" if row["memory_bytes"] is not None else "-"
    health = "healthy" if row["healthy"] else row["problem"]
    return [row["server"], health, row["address"], str(row["pid"] or "-"), row["version"] or "-", memory]


HEADINGS = ["server", "health", "address", "pid", "version", "memory"]


def print_table(rows: list[dict[str, Any]]) -> None:
    """A table on standard output, drawn with rich where it is installed."""
    lines = [cells(row) for row in rows]
    try:
        from stack.report_rich import print_table as print_rich_table
    except ImportError:
        widths = [max(map(len, column)) for column in zip(HEADINGS, *lines, strict=True)]
        for line in [HEADINGS, *lines]:
            print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    else:
        print_rich_table(HEADINGS, lines, [row["healthy"] for row in rows])
    for row in rows:
        if row["log"] is not None:
            print(f"{row['server']:14} log {row['log']}")


def follow(logs: Mapping[str, Path]) -> None:
    """Print what is added to the logs, each line with its server's name, until interrupted."""
    offsets = {name: path.stat().st_size if path.exists() else 0 for name, path in logs.items()}
    while True:
        for name, path in logs.items():
            if not path.exists():
                continue
            if path.stat().st_size < offsets[name]:  # a new log after a restart
                offsets[name] = 0
            with path.open("rb") as file:
                file.seek(offsets[name])
                complete, newline, _ = file.read().rpartition(b"\n")
            offsets[name] += len(complete) + len(newline)
            for line in complete.decode(errors="replace").splitlines():
                print(f"{name:14} | {line}")
        sys.stdout.flush()
        time.sleep(FOLLOW_POLL_S)
