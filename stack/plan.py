"""Deciding, before anything is started, which servers others run and which ports ours take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from stack import ports
from stack.errors import PortTakenError, UsageError
from stack.security import security_of
from stack.servers import Definition
from stack.settings import PORTS, Settings
from stack.state import ServerState, State


def settle(
    definitions: Sequence[Definition],
    state: State,
    *,
    settings: Settings,
    running: Collection[str],
    reserve: Callable[[], int],
) -> None:
    """Write into `state` where each server is or will be.

    `running` names our servers that run already: they stay as they are. `reserve` gives a free port. Raises
    `PortTakenError` naming every port that is taken, `UsageError` when a running server is asked to be elsewhere.
    """
    taken = []
    for definition in definitions:
        address = external_address(definition, state, settings)
        if definition.name in running:
            demand_unchanged(definition, state, settings, address)
        elif address is not None:
            state.servers[definition.name] = ServerState(address=address)
        else:
            state.servers[definition.name] = ServerState()
            for name in definition.ports:
                try:
                    is_ours = name in definition.client_ports
                    state.ports[name] = settle_port(name, state, settings, reserve, may_be_taken=is_ours)
                except PortTakenError as error:
                    taken.append(str(error))
    if taken:
        raise PortTakenError("\n".join(taken))


def external_address(definition: Definition, state: State, settings: Settings) -> str | None:
    """The address of a server that others run; an address that is our own server's says nothing new."""
    address = settings.addresses.get(definition.address_variable)
    security = security_of(settings.data, secured=state.secured)
    expected = {**PORTS, **state.ports, **settings.ports}
    return None if address == definition.variables(expected, security)[definition.address_variable] else address


def settle_port(
    name: str, state: State, settings: Settings, reserve: Callable[[], int], *, may_be_taken: bool = False
) -> int:
    """The port asked for; else the one of last time; else a free one or the default.

    `may_be_taken`: a program of ours may listen there already, from before the server that looks for it is started.
    """
    asked = settings.ports.get(name)
    known = state.ports.get(name)
    if may_be_taken and known is not None and asked in {None, known}:
        return known
    if asked is None and settings.free_ports:
        return known if known is not None and ports.is_free(known) else reserve()
    port = asked or known or PORTS[name]
    ports.demand_free(name, port)
    return port


def demand_unchanged(definition: Definition, state: State, settings: Settings, address: str | None) -> None:
    """Raise `UsageError` when a running server is asked to be somewhere else."""
    asked = {name: settings.ports[name] for name in definition.ports if name in settings.ports}
    differing = [f"{name} port {port}" for name, port in asked.items() if port != state.ports[name]]
    if address is not None:
        differing.append(f"{definition.address_variable}={address}")
    if differing:
        security = security_of(settings.data, secured=state.secured)
        here = definition.variables(state.ports, security)[definition.address_variable]
        raise UsageError(
            f"{definition.name} of this stack runs at {here}, asked for is {', '.join(differing)}; "
            f"end the stack first with: {settings.command('down')}"
        )
