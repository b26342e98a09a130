"""A stack: real servers that belong together, with one data folder."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stack import account, plan, ports, process, security, supervisor, tools
from stack.cache import cache_folder, locked
from stack.errors import UnreachableError, UsageError
from stack.programs import TEMPORAL_TEST_SERVER
from stack.report import QuietReporter, Reporter
from stack.resolve import resolve
from stack.security import security_of
from stack.server import Server
from stack.servers import BY_NAME, Definition, Location, choose
from stack.servers.s3 import BUCKET
from stack.settings import PORTS, Settings, read_java_options, read_settings
from stack.state import STATE_NAME, ServerState, State

LOCK_NAME = "stack.lock"
SIDECARS = "beside"
"""The folder of the programs that run beside the servers, see `stack.sidecar`."""

SIDECAR_STOP_TIMEOUT_S = 40.0
"""A worker drains first."""
TEST_SERVER_VARIABLE = "ONCELOG_TEMPORAL_TEST_SERVER"


@dataclass(frozen=True)
class Start:
    """The result of `up` for one server."""

    server: Server
    what: str
    """`started`, `already running` or `run by others`."""
    took_s: float

    def __str__(self) -> str:
        return f"{self.server.name:14} {self.what:16} {self.server.address}  {self.took_s:.1f} s"


class Stack:
    """The servers of one stack; `up` and `down` may be called from several processes."""

    def __init__(self, settings: Settings | None = None, reporter: Reporter | None = None) -> None:
        self.settings = settings or read_settings(os.environ)
        self.reporter = reporter or QuietReporter()
        self._reserved = ExitStack()  # kept as long as servers that end with this process may want to start again

    @classmethod
    @contextmanager
    def temporary(
        cls, only: Sequence[str] | None = None, *, secured: bool = False, reporter: Reporter | None = None
    ) -> Iterator[Stack]:
        """A stack on free ports with throw-away data, gone when the block ends or this process dies, however it dies.

        It runs servers of its own whatever addresses the environment holds: tests kill them.
        """
        with cls.scratch(secured=secured, reporter=reporter) as stack:
            stack.up(only)
            yield stack

    @classmethod
    @contextmanager
    def scratch(
        cls,
        *,
        advertised: Mapping[str, str] | None = None,
        secured: bool = False,
        reporter: Reporter | None = None,
    ) -> Iterator[Stack]:
        """As `temporary`, but not up yet, for callers that put something below or before its servers first.

        `advertised`: server name to the address (host:port) that it tells its clients, for a proxy before it.
        """
        folder = Path(tempfile.mkdtemp(prefix="oncelog-stack-"))
        folder.chmod(0o755)  # servers that refuse root must get in
        test_server = os.environ.get(TEST_SERVER_VARIABLE)
        settings = Settings(
            name=folder.name,
            data=folder,
            cache=cache_folder(os.environ),
            free_ports=True,
            advertised=advertised or {},
            secured=secured,
            test_server=Path(test_server) if test_server else None,
            owner=process.myself(),
            scratch=True,
            java_options=read_java_options(os.environ),
        )
        stack = cls(settings, reporter)
        try:
            yield stack
        finally:
            stack.discard()

    @property
    def data(self) -> Path:
        """The stack's data folder, with one folder per server."""
        return self.settings.data

    @property
    def servers(self) -> list[Server]:
        """The servers that have been brought up here, whether they run or not."""
        state = self._demand_state()
        return [self._server(BY_NAME[name], state) for name in BY_NAME if name in state.servers]

    def server(self, name: str) -> Server:
        """One server; raises `UsageError` when it has not been brought up."""
        state = self._demand_state()
        if name not in state.servers:
            raise UsageError(f"stack {self.settings.name} has no server {name!r}; it has {', '.join(state.servers)}")
        return self._server(BY_NAME[name], state)

    @property
    def test_server_path(self) -> Path:
        """The time-skipping Temporal test server, for `test_server_existing_path`."""
        path = self._demand_state().test_server
        if path is None:
            raise UsageError(f"stack {self.settings.name} was brought up without temporal, so without its test server")
        return Path(path)

    def environment(self) -> dict[str, str]:
        """The variables that lead programs to this stack's servers."""
        state = self._demand_state()
        variables: dict[str, str] = {}
        for server in self.servers:
            variables |= server.environment
        if "s3" in state.servers:
            variables["ONCELOG_S3_BUCKET"] = BUCKET
        if state.test_server is not None:
            variables[TEST_SERVER_VARIABLE] = state.test_server
        return variables

    def up(self, only: Sequence[str] | None = None) -> list[Start]:
        """Bring the servers up and wait until all are healthy; running servers are left alone.

        If one fails, those that this call started are stopped again, and its error is raised.
        """
        definitions = choose(only)
        account.make_reachable(self.data)
        with self._locked():
            state = State.read(self.data) or State(secured=self.settings.secured)
            self._demand_as_before(state)
            running = [name for name in state.servers if self._server(BY_NAME[name], state).is_running()]
            plan.settle(definitions, state, settings=self.settings, running=running, reserve=self._reserve_port)
            self._resolve([definition for definition in definitions if definition.name not in running], state)
            state.write(self.data)
            try:
                return self._start_all([self._server(definition, state) for definition in definitions])
            finally:
                if self.settings.owner is None:
                    self._reserved.close()

    def down(self, *, wipe: bool = False) -> list[str]:
        """End all servers of this stack, running or half dead, and optionally delete its data; returns their names."""
        if not self.data.exists():
            return []
        with self._locked():
            servers = self.servers if State.read(self.data) else []
            running = [server.name for server in servers if server.is_running()]
            running += self._end_sidecars()  # first, while what they work with is still there
            in_parallel([server.end_all for server in servers])
            if wipe:
                self._wipe()
        self._reserved.close()
        return running

    def _end_sidecars(self) -> list[str]:
        folders = [record.parent for record in sorted(self.data.glob(f"{SIDECARS}/*/{supervisor.RECORD_NAME}"))]
        alive = [folder for folder in folders if (record := process.read_record(folder)) and record.server.is_alive()]
        in_parallel([partial(process.stop, folder, timeout_s=SIDECAR_STOP_TIMEOUT_S) for folder in folders])
        return [folder.name for folder in alive]

    def discard(self) -> None:
        """Kill everything and delete the data, without asking anybody to finish anything."""
        self._end_sidecars()
        if State.read(self.data) is not None:
            in_parallel([server.kill for server in self.servers if not server.is_external])
        shutil.rmtree(self.data, ignore_errors=True)
        self._reserved.close()

    def _locked(self) -> AbstractContextManager[None]:
        waiting = f"waiting for another command on stack {self.settings.name}"
        return locked(self.data / LOCK_NAME, on_wait=lambda: self.reporter.note(waiting))

    def _reserve_port(self) -> int:
        port: int = self._reserved.enter_context(ports.reserve_free()).getsockname()[1]
        return port

    def _wipe(self) -> None:
        """Delete what a stack has put into its data folder, and the folder itself if nothing else is in it."""
        for name in (*BY_NAME, SIDECARS, security.FOLDER):
            shutil.rmtree(self.data / name, ignore_errors=True)
        for name in (STATE_NAME, LOCK_NAME):
            (self.data / name).unlink(missing_ok=True)
        if not any(self.data.iterdir()):
            self.data.rmdir()

    def _demand_as_before(self, state: State) -> None:
        if self.settings.secured and not state.secured:
            raise UsageError(
                f"stack {self.settings.name} was brought up without --secured, and its data is of open servers; delete "
                f"it first with: {self.settings.command('down --wipe')}, or take another --name"
            )

    def _demand_state(self) -> State:
        state = State.read(self.data)
        if state is None:
            raise UnreachableError(
                f"stack {self.settings.name} has not been brought up: there is no {self.data / STATE_NAME}. "
                f"Bring it up with: {self.settings.command('up')}"
            )
        return state

    def _resolve(self, definitions: Sequence[Definition], state: State) -> None:
        """Find or build the programs of the servers that we are about to start, and the time-skipping test server."""
        starting = [definition for definition in definitions if state.servers[definition.name].address is None]
        programs = [definition.program for definition in starting]
        with_test_server = any(definition.name == "temporal" for definition in definitions)
        if self.settings.test_server is not None:
            state.test_server = str(self.settings.test_server)
        elif with_test_server:
            programs.append(TEMPORAL_TEST_SERVER)
        found = resolve(programs, self.settings.cache, self.reporter)
        for definition in starting:
            program = found[definition.program.name]
            state.servers[definition.name] = ServerState(None, str(program.path), program.version, program.origin)
        if TEMPORAL_TEST_SERVER.name in found:
            state.test_server = str(found[TEMPORAL_TEST_SERVER.name].path)
        if (home := tools.java_home()) is not None:
            state.java_home = str(home)

    def _server(self, definition: Definition, state: State) -> Server:
        """The handle of one server."""
        known = state.servers[definition.name]
        folder = self.data / definition.name
        if known.address is not None:
            return Server(definition, folder, {definition.address_variable: known.address})
        location = Location(
            folder=folder,
            ports={name: state.ports[name] for name in definition.ports if name in state.ports},
            program=Path(known.program or ""),
            java_home=Path(state.java_home) if state.java_home else None,
            user=account.unprivileged() if definition.refuses_root else None,
            security=security_of(self.data, secured=state.secured),
            advertised=self.settings.advertised.get(definition.name),
            java_options=self.settings.java_options,
        )
        environment = definition.variables({**PORTS, **location.ports}, location.security)
        scratch = self.data if self.settings.scratch else None
        return Server(definition, folder, environment, location=location, owner=self.settings.owner, scratch=scratch)

    def _start_all(self, servers: Sequence[Server]) -> list[Start]:
        """Start all at once and wait for each; the first failure calls off the rest."""
        cancelled = threading.Event()
        running = {server.name for server in servers if not server.is_external and server.is_running()}
        pool = ThreadPoolExecutor(max_workers=len(servers))
        starts: list[Start] = []
        try:
            for future in as_completed([pool.submit(start_one, server, cancelled) for server in servers]):
                starts.append(start := future.result())
                self.reporter.note(str(start))
        except BaseException:
            cancelled.set()
            pool.shutdown(cancel_futures=True)
            in_parallel([server.stop for server in servers if not server.is_external and server.name not in running])
            raise
        pool.shutdown()
        return starts


def start_one(server: Server, cancelled: threading.Event) -> Start:
    """Start one server, or find it running, and wait until it is healthy."""
    started_s = time.monotonic()
    started = not server.is_external and server.launch()
    server.await_healthy(cancelled)
    what = "run by others" if server.is_external else "started" if started else "already running"
    return Start(server, what, time.monotonic() - started_s)


def in_parallel(actions: Sequence[Callable[[], None]]) -> None:
    """Do all of them at once; the first error is raised after all have ended."""
    if not actions:
        return
    with ThreadPoolExecutor(max_workers=len(actions)) as pool:
        errors = [error for future in [pool.submit(action) for action in actions] if (error := future.exception())]
    if errors:
        raise errors[0]
