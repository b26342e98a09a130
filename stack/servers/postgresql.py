"""PostgreSQL, as its makers set it up: what the benchmark's contender keeps its workflows in."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from stack.account import demand_reach, give
from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import POSTGRESQL
from stack.servers.definition import Command, Definition, Location, plain_environment, run_to_end

USER = "oncelog"
TIMEOUT_S = 2.0
PROTOCOL_3_0 = 196_608


class PostgreSQL(Definition):
    """One PostgreSQL server that trusts every connection, which can come from this machine only."""

    name = "postgresql"
    program = POSTGRESQL
    ports: ClassVar = {"postgresql": 5432}
    address_variable = "ONCELOG_POSTGRESQL_URL"
    refuses_root = True

    def prepare(self, location: Location) -> Command:
        """A cluster of its own, made the first time."""
        give(location.user, location.data)
        demand_reach(location.user, location.folder, "postgresql: data folder")
        if not (location.data / "PG_VERSION").exists():
            initdb = str(location.program.with_name("initdb"))
            run_to_end([initdb, "-D", str(location.data), "-U", USER, "-A", "trust", "-E", "UTF8"], location.user)
        argv = [str(location.program), "-D", str(location.data), "-h", HOST, "-p", str(location.ports["postgresql"])]
        return Command([*argv, "-k", ""], plain_environment())  # no socket in a folder that all stacks share

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """The database that every cluster has."""
        return {self.address_variable: f"postgresql://{USER}@{HOST}:{ports['postgresql']}/postgres"}

    def check(self, environment: Mapping[str, str]) -> None:
        """A start-up message; it answers with a request to authenticate, or with that it is starting up itself."""
        url = urlsplit(environment[self.address_variable])
        wanted = f"user\0{url.username or USER}\0database\0{url.path.strip('/') or 'postgres'}\0\0".encode()
        message = struct.pack("!ii", len(wanted) + 8, PROTOCOL_3_0) + wanted
        with socket.create_connection((url.hostname or HOST, url.port or 5432), TIMEOUT_S) as connection:
            connection.sendall(message)
            answer = connection.recv(1024)
        if not answer.startswith(b"R"):
            raise UnreachableError(f"expected PostgreSQL to ask who we are, found {answer[:200]!r}")
