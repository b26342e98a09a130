"""PostgreSQL, as its makers set it up: the store of the benchmark contender's workflows."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import urlsplit

from stack.account import demand_reach, give
from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import POSTGRESQL
from stack.servers.definition import Command, Definition, Location, plain_environment, run_to_end
from stack.tools import POSTGRESQL_FOLDER, find_program

USER = "oncelog"
TIMEOUT_S = 5


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
        """Ask with `pg_isready`, which comes with every PostgreSQL: well is a server that accepts connections."""
        url = urlsplit(environment[self.address_variable])
        program = find_program("pg_isready", also_in=POSTGRESQL_FOLDER)
        if program is None:
            raise UnreachableError("PostgreSQL cannot be checked without pg_isready; install postgresql-client")
        place = ["-h", url.hostname or HOST, "-p", str(url.port or 5432)]
        argv = [str(program), *place, "-t", str(TIMEOUT_S)]
        result = subprocess.run(argv, capture_output=True, text=True, check=False, env=plain_environment())
        if result.returncode != 0:
            raise UnreachableError(f"PostgreSQL is not ready: {(result.stdout + result.stderr).strip()}")
