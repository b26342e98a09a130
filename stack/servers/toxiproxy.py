"""Toxiproxy: stands between two parts of the system and makes the network bad on request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from stack.errors import UnreachableError
from stack.ports import HOST
from stack.programs import TOXIPROXY
from stack.servers.definition import Command, Definition, Location, plain_environment
from stack.servers.http import get


class Toxiproxy(Definition):
    """One Toxiproxy; its proxies are made through its HTTP interface."""

    name = "toxiproxy"
    program = TOXIPROXY
    ports: ClassVar = {"toxiproxy": 8474}
    address_variable = "ONCELOG_TOXIPROXY_URL"

    def prepare(self, location: Location) -> Command:
        """It keeps nothing."""
        return Command(
            [str(location.program), "-host", HOST, "-port", str(location.ports["toxiproxy"])], plain_environment()
        )

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """Where its HTTP interface is."""
        return {self.address_variable: f"http://{HOST}:{ports['toxiproxy']}"}

    def check(self, environment: Mapping[str, str]) -> None:
        """Its version, as it tells anyone."""
        status, _ = get(environment[self.address_variable], "/version")
        if status != 200:
            raise UnreachableError(f"Toxiproxy answers with HTTP status {status}, expected 200")
