"""Processes that can be found again, told from strangers, and ended for certain.

A PID alone may be recycled, so a process is named by its PID together with its start time, and signalled through a
pidfd opened before that start time is compared. Starting goes through `stack.supervisor`.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from stack import supervisor
from stack.errors import LaunchError

MARK = "ONCELOG_STACK_PROCESS"
"""Environment variable that every process of a server carries: the server's folder."""

STOP_TIMEOUT_S = 20.0
"""How long a server may take to end after SIGTERM before it is killed."""

SUPERVISOR_GRACE_S = 5.0
"""How much longer than its server a supervisor may take."""


@dataclass(frozen=True)
class Identity:
    """One process, for ever: its PID and when it started (clock ticks since boot)."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> Identity | None:
        """The identity of a living process, or None."""
        ticks = supervisor.started_ticks(pid)
        return None if ticks is None else cls(pid, ticks)

    def is_alive(self) -> bool:
        """Whether this very process runs; a zombie or a later process with the same PID does not count."""
        return supervisor.started_ticks(self.pid) == self.started_ticks

    def signal(self, number: int) -> bool:
        """Send a signal to this very process; false when it is gone."""
        descriptor = self.open()
        if descriptor is None:
            return False
        try:
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def signal_group(self, number: int) -> bool:
        """Send a signal to the process group this process leads; false when the leader is gone."""
        if not self.is_alive():
            return False
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)
        return True

    def wait_end(self, timeout_s: float) -> bool:
        """Wait until this process has ended; false when it still runs after `timeout_s`."""
        descriptor = self.open()
        if descriptor is None:
            return True
        try:
            return bool(select.select([descriptor], [], [], timeout_s)[0])
        finally:
            os.close(descriptor)

    def open(self) -> int | None:
        """A pidfd of this process, or None when it is gone."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return None
        if self.is_alive():
            return descriptor
        os.close(descriptor)
        return None


def demand_linux() -> None:
    """Raise `LaunchError` where processes cannot be kept as promised."""
    if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
        raise LaunchError(
            f"servers can be started on Linux 5.3 or newer only, this is {platform.platform()}. "
            "Use docker-compose.temporal.yml, or servers that run elsewhere (docs/stack.md)"
        )


def myself() -> Identity:
    """The identity of the calling process."""
    demand_linux()
    identity = Identity.of(os.getpid())
    assert identity is not None, "the calling process is alive"
    return identity


@dataclass(frozen=True)
class User:
    """An account to run a server as."""

    name: str
    uid: int
    gid: int


@dataclass(frozen=True)
class LaunchSpec:
    """The instructions to a supervisor: the program, where to log, and when to end it."""

    folder: Path
    """Where the record `process.json` is kept."""
    log: Path
    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    working_directory: Path = Path("/")
    user: User | None = None
    owner: Identity | None = None
    """The process whose end ends the server; None lets the server run until it is stopped."""
    scratch: Path | None = None
    """Throw-away data: killed without waiting and removed once the owner is gone."""
    stop_timeout_s: float = STOP_TIMEOUT_S

    def to_json(self) -> str:
        """The form `stack.supervisor` reads."""
        value = asdict(self) | {"argv": list(self.argv), "environment": {**self.environment, MARK: str(self.folder)}}
        return json.dumps(value, default=str)


@dataclass(frozen=True)
class Record:
    """The report of a supervisor on its server."""

    supervisor: Identity
    server: Identity
    log: Path
    started_at_s: float
    exit_code: int | None
    """None while it runs; negative for the signal that ended it, as in `subprocess`."""
    exit_asked: bool
    """Whether the server ended because it was told to."""

    def is_alive(self) -> bool:
        """Whether the server or the supervisor that cleans up after it still runs."""
        return self.server.is_alive() or self.supervisor.is_alive()


def read_record(folder: Path) -> Record | None:
    """The record of the last start in `folder`, or None when there was none."""
    try:
        value: dict[str, Any] = json.loads((folder / supervisor.RECORD_NAME).read_text())
    except FileNotFoundError:
        return None
    ended = value["exit"] or {}
    return Record(
        supervisor=Identity(**value["keeper"]),
        server=Identity(**value["server"]),
        log=Path(value["log"]),
        started_at_s=value["started_at_s"],
        exit_code=ended.get("code"),
        exit_asked=ended.get("asked", False),
    )


def launch(spec: LaunchSpec) -> Record:
    """Start a process under a supervisor and return its record; raises `LaunchError` when it cannot be executed."""
    demand_linux()
    spec.folder.mkdir(parents=True, exist_ok=True)
    argv = [sys.executable, "-I", "-S", supervisor.__file__]  # it answers at once and detaches
    result = subprocess.run(argv, input=spec.to_json(), capture_output=True, text=True, check=False)
    if not result.stdout:
        raise LaunchError(f"could not start {spec.argv[0]}: the supervisor ended without an answer\n{result.stderr}")
    answer = json.loads(result.stdout)
    if "failure" in answer:
        raise LaunchError(f"could not execute {spec.argv[0]}: {answer['failure']}; its log is {spec.log}")
    record = read_record(spec.folder)
    assert record is not None, "a supervisor writes its record before it answers"
    return record


def stop(folder: Path, *, timeout_s: float = STOP_TIMEOUT_S) -> None:
    """End the server recorded in `folder` by SIGTERM, after `timeout_s` by SIGKILL, and all that belongs to it."""
    record = read_record(folder)
    if record is not None and record.supervisor.signal(signal.SIGTERM):
        record.supervisor.wait_end(timeout_s + SUPERVISOR_GRACE_S)
    kill(folder)


def kill(folder: Path) -> None:
    """End the server recorded in `folder` by SIGKILL, and all that belongs to it; nothing happens if it is gone."""
    record = read_record(folder)
    if record is not None:
        record.server.signal_group(signal.SIGKILL)
        if not record.supervisor.wait_end(SUPERVISOR_GRACE_S):
            record.supervisor.signal(signal.SIGKILL)
    end_leftovers(folder)


def end_leftovers(folder: Path) -> None:
    """Kill every process that carries the mark of `folder`; raises `LaunchError` if one cannot be ended."""
    deadline = time.monotonic() + SUPERVISOR_GRACE_S
    while remaining := marked(folder):
        for identity in remaining:
            identity.signal(signal.SIGKILL)
        if not remaining[0].wait_end(max(0.0, deadline - time.monotonic())):
            raise LaunchError(f"process {remaining[0].pid} of {folder.name} does not end even after SIGKILL")


def marked(folder: Path) -> list[Identity]:
    """The living processes that were started for the server in `folder`, whatever became of their parents."""
    mark = f"{MARK}={folder}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            identity = Identity.of(int(entry.name))
            with contextlib.suppress(OSError):
                if identity is not None and mark in (entry / "environ").read_bytes().split(b"\0"):
                    found.append(identity)
    return found


def memory_bytes(folder: Path) -> int:
    """Resident memory of all processes of the server in `folder`, in bytes."""
    pages = 0
    for identity in marked(folder):
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{identity.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def log_tail(log: Path, lines_max: int = 20) -> str:
    """The last lines of a log, or a word that there are none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 65536))
            lines = file.read().decode(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    return "\n".join(lines[-lines_max:]) or "(the log is empty)"


def describe_exit(code: int) -> str:
    """`exit code 1`, or `killed by SIGKILL`."""
    if code >= 0:
        return f"exit code {code}"
    return f"killed by {signal.Signals(-code).name}"
