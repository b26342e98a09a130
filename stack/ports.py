"""Ports: which are free, who has one that is not, and how to keep one until its server takes it."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
from collections.abc import Collection, Set
from pathlib import Path

from stack.errors import PortTakenError

HOST = "127.0.0.1"
FREE_PORTS = range(15000, 30000)
"""Below the ports that Linux hands to outgoing connections, which would otherwise now and then take ours."""


def is_free(port: int) -> bool:
    """Whether a server could listen on `port` now; connections lingering in TIME_WAIT do not hinder it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return try_bind(probe, port)


def try_bind(probe: socket.socket, port: int) -> bool:
    """Bind, or say that the port is in use; other errors are raised."""
    try:
        probe.bind((HOST, port))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return False
        raise
    return True


def reserve_free() -> socket.socket:
    """A socket bound to a free port, which keeps other stacks from choosing it until it is closed.

    It is bound alone, then made to share, and never listens: so it refuses a port bound as this function binds it, and
    lets the server through, since servers set SO_REUSEADDR.
    """
    for port in random.sample(FREE_PORTS, 200):
        held = socket.socket()
        if try_bind(held, port):
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            return held
        held.close()
    raise PortTakenError(f"found no free port between {FREE_PORTS.start} and {FREE_PORTS.stop} on {HOST}")


def port_variable(port_name: str) -> str:
    """The variable that sets a port, such as `ONCELOG_STACK_REDIS_PORT`."""
    return f"ONCELOG_STACK_{port_name.upper()}_PORT"


def demand_free(name: str, port: int) -> None:
    """Raise `PortTakenError` naming who has `port`, if it is taken."""
    if not is_free(port):
        raise taken(name, port)


def demand_held(name: str, port: int, pids: Collection[int]) -> None:
    """Raise `PortTakenError` with the process that listens on `port`, if there is one and it is none of `pids`."""
    inodes = listening_inodes(port)
    if inodes and not any(has_open(pid, inodes) for pid in pids):
        raise taken(name, port)


def taken(name: str, port: int) -> PortTakenError:
    """The error that names who has `port`, and what to do."""
    option = f"--{name.replace('_', '-')}-port"
    return PortTakenError(
        f"port {port}, wanted for {name}, is taken by {listener(port) or 'another process'}. End that process, choose "
        f"another port with {option} or {port_variable(name)}, or let free ports be picked with --free-ports"
    )


def listener(port: int) -> str | None:
    """The process that listens on `port`, as `name (pid N)`; None where /proc does not tell."""
    inodes = listening_inodes(port)
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and has_open(int(process.name), inodes):
            with contextlib.suppress(OSError):
                return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


def has_open(pid: int, inodes: Set[str]) -> bool:
    """Whether a process has one of the sockets of `listening_inodes`; false where /proc does not tell."""
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                if str(descriptor.readlink()) in inodes:
                    return True
    return False


def listening_inodes(port: int) -> set[str]:
    """The listening sockets on `port`, as the links in /proc/PID/fd show them."""
    found = set()
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        with contextlib.suppress(OSError):
            for line in table.read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == "0A" and int(fields[1].rpartition(":")[2], 16) == port:
                    found.add(f"socket:[{fields[9]}]")
    return found
