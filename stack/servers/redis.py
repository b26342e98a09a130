"""Redis: appends every write to disk, and refuses writes rather than forget keys when memory is full."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import unquote, urlsplit

from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import REDIS
from stack.servers.definition import Command, Definition, Place, plain_environment

TIMEOUT_S = 2.0


class Redis(Definition):
    """One Redis server."""

    name = "redis"
    program = REDIS
    ports: ClassVar = {"redis": 6379}
    address_variable = "ONCELOG_REDIS_URL"

    def prepare(self, place: Place) -> Command:
        """Everything is said on the command line."""
        place.data.mkdir(parents=True, exist_ok=True)
        settings = {
            "port": str(place.ports["redis"]),
            "bind": HOST,
            "dir": str(place.data),
            "appendonly": "yes",
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "set-proc-title": "no",  # it would overwrite the environment that marks the process as ours
        }
        argv = [str(place.program)]
        for key, value in settings.items():
            argv += [f"--{key}", value]
        return Command(argv, plain_environment())

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Database 0."""
        return {self.address_variable: f"redis://{HOST}:{ports['redis']}/0"}

    def check(self, environment: Mapping[str, str]) -> None:
        """AUTH where the URL has a password, then PING; a server still loading its data is not well yet."""
        url = urlsplit(environment[self.address_variable])
        with socket.create_connection((url.hostname or HOST, url.port or 6379), TIMEOUT_S) as plain:
            connection = plain
            if url.scheme == "rediss":
                connection = ssl.create_default_context().wrap_socket(plain, server_hostname=url.hostname)
            if url.password:
                words = ["AUTH", *([unquote(url.username)] if url.username else []), unquote(url.password)]
                demand(connection, words, b"+OK")
            demand(connection, ["PING"], b"+PONG")


def demand(connection: socket.socket, words: list[str], expected: bytes) -> None:
    """Send one command in Redis' protocol (RESP) and raise `UnreachableError` unless the answer is `expected`."""
    parts = [f"${len(word.encode())}\r\n{word}\r\n" for word in words]
    connection.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
    answer = b""
    while not answer.endswith(b"\r\n"):
        if not (received := connection.recv(1024)):
            break
        answer += received
    if answer.strip() != expected:
        raise UnreachableError(f"expected {expected.decode()} to {words[0]}, found {answer.decode(errors='replace')!r}")
