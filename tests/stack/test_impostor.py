"""A server that finds its port taken when it gets there: another program answers."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from stack import ports
from stack.errors import PortTakenError
from stack.programs import Program
from stack.server import Server
from stack.servers.definition import Command, Definition, Location

ADDRESS = "IDLE_ADDRESS"


class Idle(Definition):
    """A server that runs and never listens; any program that listens on its port passes for it."""

    name = "idle"
    program: Program
    ports: ClassVar = {"idle": 1}
    address_variable = ADDRESS

    def prepare(self, location: Location) -> Command:
        return Command([str(location.program), "infinity"])

    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        return {ADDRESS: f"{ports['idle']}"}

    def check(self, environment: Mapping[str, str]) -> None:
        socket.create_connection((ports.HOST, int(environment[ADDRESS])), timeout=5).close()


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def idle(taken_port: int, tmp_path: Path) -> Iterator[Server]:
    location = Location(folder=tmp_path / "idle", ports={"idle": taken_port}, program=Path("/bin/sleep"))
    server = Server(Idle(), location.folder, {ADDRESS: str(taken_port)}, location=location)
    yield server
    server.kill()


def test_another_program_on_its_port_is_an_error(idle: Server, taken_port: int) -> None:
    with pytest.raises(PortTakenError, match=rf"port {taken_port}, wanted for idle.*\(pid {os.getpid()}\)"):
        idle.start()
    assert idle.is_running()


def test_a_server_whose_port_is_taken_complains(idle: Server, taken_port: int) -> None:
    idle.launch()
    assert f"port {taken_port}, wanted for idle, is taken by" in (idle.complaint() or "")
