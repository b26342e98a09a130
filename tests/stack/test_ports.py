"""Ports: their holders, and how one is kept."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack import ports
from stack.errors import PortTakenError


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server((ports.HOST, 0)) as server:
        yield server


def test_taken_port_is_reported_with_its_holder(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    with pytest.raises(PortTakenError) as caught:
        ports.demand_free("kafka_controller", port)
    message = str(caught.value)
    assert f"port {port}, wanted for kafka_controller" in message
    assert f"(pid {os.getpid()})" in message
    assert "--kafka-controller-port or ONCELOG_STACK_KAFKA_CONTROLLER_PORT" in message
    assert "--free-ports" in message


def test_a_port_taken_on_all_addresses_is_taken_here() -> None:
    with socket.create_server(("0.0.0.0", 0)) as everywhere:
        assert not ports.is_free(everywhere.getsockname()[1])


def test_a_closed_port_is_free_although_a_connection_lingers(listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    client = socket.create_connection((ports.HOST, port))
    accepted, _ = listener.accept()
    accepted.close()  # the side that closes first lingers in TIME_WAIT
    client.close()
    listener.close()
    assert ports.is_free(port)


def test_reserved_port_is_open_to_its_own_server_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with ports.reserve_free() as held:
        port = held.getsockname()[1]
        monkeypatch.setattr("random.sample", lambda *_: [port])
        with pytest.raises(PortTakenError):
            ports.reserve_free()
        assert ports.is_free(port)
        with socket.create_server((ports.HOST, port)):  # sets SO_REUSEADDR, as servers do
            assert not ports.is_free(port)
        with socket.create_server((ports.HOST, port)):
            pass


def test_free_ports_lie_below_those_of_outgoing_connections() -> None:
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert ports.FREE_PORTS.stop <= lowest
