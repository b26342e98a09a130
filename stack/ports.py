"""Ports: which are free, who has one that is not, and how to keep one until its server takes it."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
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


def demand_free(name: str, port: int, variable: str) -> None:
    """Raise `PortTakenError` naming who has `port`, if it is taken."""
    if is_free(port):
        return
    option = f"--{name.replace('_', '-')}-port"
    raise PortTakenError(
        f"port {port}, wanted for {name}, is taken by {listener(port) or 'another process'}. End that process, choose "
        f"another port with {option} or {variable}, or let free ports be picked with --free-ports"
    )


def listener(port: int) -> str | None:
    """The process that listens on `port`, as `name (pid N)`; None where /proc does not tell."""
    inodes = listening_inodes(port)
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                if str(descriptor.readlink()) in inodes:
                    return f"{(process / 'comm').read_text().strip()} (pid {process.name})"
    return None


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
