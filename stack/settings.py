"""The settings of one stack: its name, its folders, its ports, and which servers others run for it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from stack.cache import cache_folder
from stack.errors import UsageError
from stack.ports import port_variable
from stack.process import Identity
from stack.servers import BY_NAME

DEFAULT_NAME = "default"
JAVA_OPTIONS_VARIABLE = "ONCELOG_STACK_JAVA_OPTIONS"
PORTS: dict[str, int] = {name: port for definition in BY_NAME.values() for name, port in definition.ports.items()}
"""Every port's name and its default."""


@dataclass(frozen=True)
class Settings:
    """One stack, as asked for. Read once, where a command or a test session begins."""

    name: str
    data: Path
    cache: Path
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports asked for by option or variable; they are taken, or refused, but never replaced."""
    free_ports: bool = False
    """Take free ports where none was asked for, instead of the defaults."""
    addresses: Mapping[str, str] = field(default_factory=dict)
    """Servers that others run: address variable to address."""
    advertised: Mapping[str, str] = field(default_factory=dict)
    """Server name to the address that it tells its clients, where a proxy stands before it (Kafka only needs it)."""
    test_server: Path | None = None
    """A time-skipping test server that is already there."""
    owner: Identity | None = None
    """The process with which all servers end; None lets them run until `down`."""
    secured: bool = False
    """Whether servers want TLS and credentials; decided when a stack is brought up for the first time."""
    scratch: bool = False
    """Whether the data is thrown away at the end."""
    java_options: Sequence[str] = ()
    """More options for the JVMs of Kafka and Elasticsearch."""

    def command(self, verb: str) -> str:
        """The commands to type for this very stack."""
        words = ["python -m stack", verb]
        if self.name != DEFAULT_NAME:
            words.append(f"--name {self.name}")
        if self.data != state_folder(os.environ) / self.name:
            words.append(f"--data {shlex.quote(str(self.data))}")
        return " ".join(words)


def read_settings(
    environ: Mapping[str, str],
    *,
    name: str | None = None,
    data: Path | None = None,
    ports: Mapping[str, int] | None = None,
    free_ports: bool = False,
    own: bool = False,
    secured: bool = False,
) -> Settings:
    """Settings from arguments first, then from `ONCELOG_STACK_…` variables, then the defaults.

    Only the stack called `default` has fixed ports by default: others would meet it there. With `own`, addresses in the
    environment are passed over. Raises `UsageError` for a name or a port that cannot be.
    """
    name = name or environ.get("ONCELOG_STACK_NAME") or DEFAULT_NAME
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}", name):
        raise UsageError(f"stack name {name!r}: expected up to 63 of A-Z a-z 0-9 _ . -, a letter or digit first")
    folder = data or (Path(text) if (text := environ.get("ONCELOG_STACK_DATA_DIR")) else state_folder(environ) / name)
    test_server = environ.get("ONCELOG_TEMPORAL_TEST_SERVER")
    variables = [definition.address_variable for definition in BY_NAME.values()]
    return Settings(
        name=name,
        data=folder.expanduser().absolute(),
        cache=cache_folder(environ),
        ports=read_ports(environ) | dict(ports or {}),
        free_ports=free_ports or name != DEFAULT_NAME,
        addresses={} if own else {key: environ[key] for key in variables if environ.get(key)},
        test_server=Path(test_server) if test_server else None,
        secured=secured,
        java_options=read_java_options(environ),
    )


def read_java_options(environ: Mapping[str, str]) -> tuple[str, ...]:
    """The options of `ONCELOG_STACK_JAVA_OPTIONS`, separated by blanks."""
    return tuple(environ.get(JAVA_OPTIONS_VARIABLE, "").split())


def state_folder(environ: Mapping[str, str]) -> Path:
    """Where data lives that is to stay; for root outside its home, which no other account may enter."""
    if os.geteuid() == 0:
        return Path("/var/lib/oncelog")
    return Path(environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "oncelog"


def read_ports(environ: Mapping[str, str]) -> dict[str, int]:
    """Ports set by variables."""
    found = {}
    for name in PORTS:
        if text := environ.get(port_variable(name)):
            found[name] = parse_port(text, port_variable(name))
    return found


def parse_port(text: str, source: str) -> int:
    """A port number, or `UsageError` saying where it was found."""
    if not text.isdigit() or not 0 < int(text) < 65536:
        raise UsageError(f"{source}: expected a port from 1 to 65535, found {text!r}")
    return int(text)
