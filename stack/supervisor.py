"""The supervisor: a small process that owns one server, so that nothing outlives what it should not outlive.

One supervisor runs per server, detached from the command that asked for it. It

- starts the server in a session of its own, as another user where asked, with a parent-death signal, so that the
  server dies even if the supervisor is killed with SIGKILL;
- adopts whatever the server leaves behind (`PR_SET_CHILD_SUBREAPER`) and ends that too;
- ends the server when told to (SIGTERM), or when its owner, if it has one, is gone, however that one died;
- writes to `process.json` who runs, and at the end how it ended.

A bare interpreter executes it as a file (`python -I -S supervisor.py`, the launch spec as JSON on its input), so it
imports the standard library only and nothing of this package. Linux only: pidfd, prctl, /proc.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
RECORD_NAME = "process.json"


def prctl(option: int, value: int) -> None:
    """Call prctl(2); raises OSError when the kernel refuses."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {value})")


def stat_fields(pid: int) -> list[str] | None:
    """The fields of /proc/PID/stat from the third (state) on, or None when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    return text[text.rindex(")") + 2 :].split()


def started_ticks(pid: int) -> int | None:
    """When a living process started, in clock ticks since boot; None when it is gone or only a zombie.

    Together with the PID this names a process for ever: a recycled PID has another start.
    """
    fields = stat_fields(pid)
    if fields is None or fields[0] in "ZX":
        return None
    return int(fields[19])


def children(pid: int) -> list[int]:
    """The PIDs whose parent is `pid`, zombies included."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            fields = stat_fields(int(entry.name))
            if fields is not None and int(fields[1]) == pid:
                found.append(int(entry.name))
    return found


def write_json(path: Path, value: Any) -> None:
    """Replace `path` at once, so that a reader never sees half a record."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}")
    scratch.write_text(json.dumps(value))
    scratch.replace(path)


class Supervisor:
    """Keeps one server according to a launch spec (see `stack.process.LaunchSpec` for its fields)."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.record_path = Path(spec["folder"]) / RECORD_NAME
        self.record: dict[str, Any] = {}
        self.server_pid = 0
        self.server_status: int | None = None
        self.stop_asked = False
        self.hurry = False

    def run(self) -> None:
        """Start the server, tell the caller, keep it, clean up, and write down how it ended."""
        prctl(PR_SET_CHILD_SUBREAPER, 1)
        wake = self.listen_for_signals()
        owner = self.open_owner()
        self.server_pid, failure = self.start_server()
        if failure:
            os.waitpid(self.server_pid, 0)
            self.answer({"failure": failure})
            return
        self.write_start()
        self.answer({"pid": self.server_pid})
        self.keep(wake, owner)
        self.end_descendants()
        self.write_end()
        self.remove_scratch()

    def listen_for_signals(self) -> int:
        """Turn signals into bytes on a pipe that `keep` polls; returns its reading end."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self.ask_stop)
        return reading

    def ask_stop(self, *_: object) -> None:
        """Remember that the server is to end."""
        self.stop_asked = True

    def open_owner(self) -> int | None:
        """A descriptor that becomes readable when the owner is gone; None without an owner."""
        owner = self.spec["owner"]
        if owner is None:
            return None
        try:
            descriptor = os.pidfd_open(owner["pid"])
        except ProcessLookupError:
            sys.exit(0)
        if started_ticks(owner["pid"]) != owner["started_ticks"]:
            sys.exit(0)
        return descriptor

    def start_server(self) -> tuple[int, str]:
        """Fork and execute the server; returns its PID and, if it could not be executed, why."""
        supervisor_pid = os.getpid()
        reading, writing = os.pipe2(os.O_CLOEXEC)
        pid = os.fork()
        if pid == 0:
            self.become_server(supervisor_pid, writing)
        os.close(writing)
        with os.fdopen(reading, "rb") as failures:
            return pid, failures.read().decode()

    def become_server(self, supervisor_pid: int, failures: int) -> NoReturn:
        """Turn this forked child into the server; never returns."""
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.setsid()
            log = os.open(self.spec["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
            if self.spec["user"] is not None:
                os.setgroups([])
                os.setgid(self.spec["user"]["gid"])
                os.setuid(self.spec["user"]["uid"])
            # After setuid, which clears it.
            prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != supervisor_pid:
                os._exit(1)
            os.chdir(self.spec["working_directory"])
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(log, 1)
            os.dup2(log, 2)
            os.execve(self.spec["argv"][0], self.spec["argv"], self.spec["environment"])
        except OSError as error:
            os.write(failures, f"{error.strerror} ({error.filename or self.spec['argv'][0]})".encode())
        os._exit(127)

    def answer(self, value: dict[str, Any]) -> None:
        """Tell the caller how the start went, and let go of its pipes."""
        os.write(1, json.dumps(value).encode())
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)

    def keep(self, wake: int, owner: int | None) -> None:
        """Return once the server has ended; end it when asked, when its owner is gone, or by force at the deadline."""
        poll = select.poll()
        poll.register(wake, select.POLLIN)
        if owner is not None:
            poll.register(owner, select.POLLIN)
        deadline: float | None = None
        while not self.reap():
            if self.stop_asked and deadline is None:
                deadline = time.monotonic() + (0 if self.hurry else self.spec["stop_timeout_s"])
                self.signal_server(os.kill, signal.SIGTERM)
                self.signal_server(os.killpg, signal.SIGCONT)  # a frozen process would not see it
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                self.signal_server(os.killpg, signal.SIGKILL)
                left_s = 1.0
            for descriptor, _ in poll.poll(None if left_s is None else left_s * 1000):
                if descriptor == wake:
                    os.read(wake, 4096)
                else:
                    poll.unregister(descriptor)
                    self.stop_asked = True
                    self.hurry = self.spec["scratch"] is not None

    def signal_server(self, send: Callable[[int, int], None], number: int) -> None:
        """Signal the server (`os.kill`) or all its group (`os.killpg`)."""
        with contextlib.suppress(ProcessLookupError):
            send(self.server_pid, number)

    def reap(self) -> bool:
        """Collect ended children; true once the server itself is among them."""
        while self.server_status is None:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return False
            if pid == self.server_pid:
                self.server_status = status
        return True

    def end_descendants(self) -> None:
        """End what the server left behind; as the subreaper this process has inherited all of it."""
        while True:
            for pid in children(os.getpid()):
                os.kill(pid, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    def write_start(self) -> None:
        self.record = {
            "keeper": {"pid": os.getpid(), "started_ticks": started_ticks(os.getpid())},
            "server": {"pid": self.server_pid, "started_ticks": started_ticks(self.server_pid)},
            "argv": self.spec["argv"],
            "log": self.spec["log"],
            "owner": self.spec["owner"],
            "started_at_s": time.time(),
            "exit": None,
        }
        write_json(self.record_path, self.record)

    def write_end(self) -> None:
        assert self.server_status is not None
        code = os.waitstatus_to_exitcode(self.server_status)
        self.record["exit"] = {"code": code, "asked": self.stop_asked, "ended_at_s": time.time()}
        with contextlib.suppress(FileNotFoundError):  # the folder was wiped meanwhile
            write_json(self.record_path, self.record)

    def remove_scratch(self) -> None:
        """Remove throw-away data when the owner can no longer do it; the last supervisor removes the whole folder."""
        if not self.hurry:
            return
        shutil.rmtree(self.spec["folder"], ignore_errors=True)
        scratch = Path(self.spec["scratch"])
        with contextlib.suppress(OSError):
            if not any(entry.is_dir() for entry in scratch.iterdir()):
                shutil.rmtree(scratch, ignore_errors=True)


def main() -> None:
    """Read the spec, detach from the caller, and keep."""
    spec = json.load(sys.stdin)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.chdir("/")
    Supervisor(spec).run()


if __name__ == "__main__":
    main()
