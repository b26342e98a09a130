"""The state of a stack between commands: which ports it took, which programs it runs, which servers are not its own.

One JSON file, `stack.json`, in the stack's data folder.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

from stack.supervisor import write_json

STATE_NAME = "stack.json"


@dataclass(frozen=True)
class ServerState:
    """One server of the stack."""

    address: str | None = None
    """Its address, if it is run outside of the stack."""
    program: str | None = None
    version: str | None = None
    origin: str | None = None
    """Where the program was found: `PATH` or `cache`."""


@dataclass
class State:
    """A stack that has been brought up at least once."""

    ports: dict[str, int] = field(default_factory=dict)
    servers: dict[str, ServerState] = field(default_factory=dict)
    test_server: str | None = None
    java_home: str | None = None
    secured: bool = False
    """Whether its servers want TLS and credentials."""

    @classmethod
    def read(cls, data: Path) -> State | None:
        """The state in a data folder, or None if no stack has lived there."""
        try:
            value = json.loads((data / STATE_NAME).read_text())
        except FileNotFoundError:
            return None
        value["servers"] = {name: ServerState(**server) for name, server in value["servers"].items()}
        return cls(**value)

    def write(self, data: Path) -> None:
        """Replace the state at once."""
        write_json(data / STATE_NAME, asdict(self))
