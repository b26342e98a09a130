"""One server of one stack, as tests and the command line handle it."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from stack import ports, process
from stack.errors import PortTakenError, ServerDiedError, StackError, UnreachableError, UsageError
from stack.process import Identity, LaunchSpec, Record
from stack.servers import Definition, Location

POLL_S = 0.05
"""How often a server that is starting is asked."""

EXTERNAL_TIMEOUT_S = 5.0
"""How long a server that the stack does not run may take to answer."""

UNWELL = (OSError, UnreachableError, ValueError, KeyError)
"""The errors of a health check while a server is down, starting, or not the server it should be."""


class Cancelled(Exception):
    """Waiting was given up, because something else has failed already."""


class Server:
    """A server, running or not. Every method looks at the world anew, so that several processes may use one stack."""

    def __init__(
        self,
        definition: Definition,
        folder: Path,
        environment: Mapping[str, str],
        *,
        location: Location | None = None,
        owner: Identity | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.definition = definition
        self.folder = folder
        self.environment = dict(environment)
        """The variables that tell clients where it is."""
        self._location = location
        self._owner = owner
        self._scratch = scratch

    @property
    def name(self) -> str:
        """Its name in the stack, such as `redis`."""
        return self.definition.name

    @property
    def address(self) -> str:
        """Where clients connect."""
        return self.environment[self.definition.address_variable]

    @property
    def is_external(self) -> bool:
        """Whether the server is run outside of the stack; then it can only be asked how it is."""
        return self._location is None

    @property
    def log_path(self) -> Path:
        """Its log; the one before the last start lies beside it, as `log.previous`."""
        return self.folder / "log"

    @property
    def record(self) -> Record | None:
        """The supervisor's report at the last start."""
        return process.read_record(self.folder)

    @property
    def pid(self) -> int | None:
        """The PID of its first process, or None when it does not run."""
        record = self.record
        return record.server.pid if record is not None and record.server.is_alive() else None

    def is_running(self) -> bool:
        """Whether its process is there, well or not."""
        return self.pid is not None

    def is_healthy(self) -> bool:
        """Whether it answers as a healthy server does."""
        return self.complaint() is None

    def complaint(self) -> str | None:
        """The problem with it; None when it is well."""
        problem = self._problem()
        return None if problem is None else describe(problem)

    def _problem(self) -> Exception | None:
        if not self.is_external and not self.is_running():
            return ServerDiedError(self.how_it_ended())
        try:
            self.definition.check(self.environment)
            if self._location is not None:
                self._demand_own_ports(self._location)
        except (*UNWELL, PortTakenError) as error:
            return error
        return None

    def _demand_own_ports(self, location: Location) -> None:
        """Raise `PortTakenError` when it is another program that answered.

        A port can be free when it is chosen and taken when the server gets there, by another stack that starts at the
        same time: that one's server answers, and well.
        """
        pids = {identity.pid for identity in process.marked(self.folder)}
        if (pid := self.pid) is not None:
            pids.add(pid)  # some servers write over their environment, which holds the mark
        for name, port in location.ports.items():
            if name not in self.definition.client_ports:
                ports.demand_held(name, port, pids)

    def how_it_ended(self) -> str:
        """In words, for a server that does not run."""
        record = self.record
        if record is None:
            return "never started"
        # The supervisor may be about to write the exit code.
        if record.exit_code is None and record.supervisor.wait_end(process.SUPERVISOR_GRACE_S):
            record = self.record or record
        if record.exit_code is None:
            return "gone without a trace (the machine restarted, or its supervisor was killed)"
        return "stopped" if record.exit_asked else f"died ({process.describe_exit(record.exit_code)})"

    def start(self) -> None:
        """Start it and wait until it is healthy; nothing happens if it runs. Raises `ServerDiedError` and others."""
        self.launch()
        self.await_healthy()

    def launch(self) -> bool:
        """Start it without waiting; false if it ran already."""
        location = self._demand_location()
        if self.is_running():
            return False
        process.kill(self.folder)  # leftovers of a killed supervisor, if any
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.log_path.exists():
            self.log_path.replace(self.log_path.with_name("log.previous"))
        command = self.definition.prepare(location)
        spec = LaunchSpec(
            folder=self.folder,
            log=self.log_path,
            argv=command.argv,
            environment=command.environment,
            working_directory=self.folder,
            user=location.user,
            owner=self._owner,
            scratch=self._scratch,
            stop_timeout_s=self.definition.stop_timeout_s,
        )
        process.launch(spec)
        return True

    def await_healthy(self, cancelled: threading.Event | None = None) -> None:
        """Wait until it is well; raises `ServerDiedError`, `UnreachableError`, or `Cancelled` once the event is set."""
        limit_s = EXTERNAL_TIMEOUT_S if self.is_external else self.definition.start_timeout_s
        deadline = time.monotonic() + limit_s
        cancelled = cancelled or threading.Event()
        while (problem := self._problem()) is not None:
            if isinstance(problem, PortTakenError):
                raise problem
            if not self.is_external and not self.is_running():
                raise ServerDiedError(self._with_log(f"{self.name} {self.how_it_ended()} before it was healthy"))
            if time.monotonic() > deadline:
                unwell = f"{self.name} is not healthy after {limit_s:.0f} s: {describe(problem)}"
                raise UnreachableError(self._with_log(unwell))
            if cancelled.wait(POLL_S):
                raise Cancelled

    def _with_log(self, text: str) -> str:
        if self.is_external:
            return (
                f"{text}. It is not ours: {self.definition.address_variable} is set to {self.address}. "
                "Start it there, unset the variable, or pass it over with --own"
            )
        return f"{text}; its log is {self.log_path}\n{process.log_tail(self.log_path)}"

    def stop(self) -> None:
        """End it in order: SIGTERM, and SIGKILL if that takes too long. Nothing of it is left when this returns."""
        self._demand_location()
        process.stop(self.folder, timeout_s=self.definition.stop_timeout_s)

    def kill(self) -> None:
        """End it at once with SIGKILL, as a crash would. Nothing of it is left when this returns."""
        self._demand_location()
        process.kill(self.folder)

    def restart(self) -> None:
        """Stop, start, and wait until it is healthy."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Freeze it: it keeps its connections and answers nothing, until `resume`."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        self._demand_location()
        record = self.record
        if record is None or not record.server.signal_group(number):
            raise UsageError(f"{self.name} does not run ({self.how_it_ended()}); start it first")

    def end_all(self) -> None:
        """Stop whatever runs from its folder, even if the stack has since taken to a server run by others."""
        process.stop(self.folder, timeout_s=self.definition.stop_timeout_s)

    def _demand_location(self) -> Location:
        if self._location is None:
            raise UsageError(
                f"{self.name} at {self.address} is run by somebody else "
                f"({self.definition.address_variable} was set); it can only be asked how it is"
            )
        return self._location


def describe(problem: Exception) -> str:
    """A problem in words; an error of a library with its type."""
    return str(problem) if isinstance(problem, StackError) else f"{type(problem).__name__}: {problem}"
