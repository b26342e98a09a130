"""The definition of a server."""

from __future__ import annotations

import os
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from stack.errors import LaunchError
from stack.process import User
from stack.programs import Program
from stack.security import Security


@dataclass(frozen=True)
class Location:
    """Where one server of one stack runs."""

    folder: Path
    """All its files: configuration, data, logs."""
    ports: Mapping[str, int]
    program: Path
    """The resolved entry of its program."""
    java_home: Path | None = None
    user: User | None = None
    """The account to start it under; None for the caller's own."""
    security: Security | None = None
    """TLS and credentials, in a secured stack."""
    advertised: str | None = None
    """The address (host:port) that it is to tell its clients, where a proxy stands before it; None for its own."""
    java_options: Sequence[str] = ()
    """More options of its JVM, where it has one."""

    @property
    def data(self) -> Path:
        """The server's data."""
        return self.folder / "data"

    def empty_temporary(self) -> Path:
        """A folder for temporary files, emptied: JVMs that are killed leave what they have unpacked."""
        folder = self.folder / "tmp"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    @property
    def java(self) -> str:
        """The Java to start it with."""
        assert self.java_home is not None, "programs that need Java are resolved together with it"
        return str(self.java_home / "bin" / "java")


@dataclass(frozen=True)
class Command:
    """The program to execute."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


class Definition(ABC):
    """One kind of server: everything about it that does not depend on the stack it runs in."""

    name: str
    program: Program
    ports: ClassVar[Mapping[str, int]]
    """Each port's name and its default. The first one is where clients connect."""
    client_ports: ClassVar[Set[str]] = frozenset()
    """The ports on which our programs listen, not the server: once chosen they stay, in use or not."""
    address_variable: str
    """The variable that holds its address; set in the environment, it names a server that is run outside of the
    stack.
    """
    refuses_root: bool = False
    start_timeout_s: float = 600
    """For a server whose process lives; its death is noticed at once. A busy machine takes minutes."""
    stop_timeout_s: float = 20

    @abstractmethod
    def prepare(self, location: Location) -> Command:
        """Write its configuration, make its folders, and say how it is executed."""

    @abstractmethod
    def environment(self, ports: Mapping[str, int]) -> dict[str, str]:
        """The variables that tell programs where it is, when it is open."""

    def credentials(self, _ports: Mapping[str, int], _security: Security) -> dict[str, str]:
        """Its variables in a secured stack beside those of an open one; none for a server that is open there, too."""
        return {}

    def variables(self, ports: Mapping[str, int], security: Security | None) -> dict[str, str]:
        """The variables that lead programs to it."""
        return self.environment(ports) | (self.credentials(ports, security) if security else {})

    @abstractmethod
    def check(self, environment: Mapping[str, str]) -> None:
        """Ask the server at the address in `environment` whether it is well.

        Raises `UnreachableError`, or an OSError, when it does not say yes.
        """


def plain_environment(**more: str) -> dict[str, str]:
    """The variables that servers inherit from the caller: next to nothing, so that no setting of a user's
    reaches them unseen.
    """
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TZ") if name in os.environ}
    return kept | more


def run_to_end(argv: Sequence[str], user: User | None = None) -> None:
    """Run a preparing program of a few seconds; raises `LaunchError` with its output when it fails."""
    account: dict[str, Any] = {"user": user.uid, "group": user.gid, "extra_groups": []} if user else {}
    result = subprocess.run(argv, capture_output=True, text=True, check=False, env=plain_environment(), **account)
    if result.returncode != 0:
        raise LaunchError(f"{' '.join(argv)} failed:\n{result.stdout}{result.stderr}")
