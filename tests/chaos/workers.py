"""Workers and projectors, which are killed, frozen and lied to, and the supervisor that starts them again."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from oncelog.read_models.names import ReadModelName
from stack import process
from stack.process import LaunchSpec

ROOT = Path(__file__).parents[2]
POLL_S = 0.1
READY_TIMEOUT_S = 600.0  # on a machine with other work, a start takes minutes
STOP_TIMEOUT_S = 30.0  # longer than a worker's drain


@dataclass(frozen=True)
class Program:
    """The programs to run: a module with its arguments, and what it says once it takes work."""

    module: str
    ready: str
    arguments: tuple[str, ...] = ()


WORKER = Program("tests.chaos.worker", "worker_ready")
PROJECTOR = Program("oncelog.projector", "projector_starts")
READ_MODELS = tuple(map(str, ReadModelName))


class Kept:
    """One process, kept like a server of the stack: however this one ends, it ends too."""

    def __init__(self, name: str, program: Program, *, folder: Path, log: Path, variables: Mapping[str, str]) -> None:
        self.name = name
        self._program = program
        self._folder = folder
        self._log = log
        self._variables = dict(variables)
        self._log_offset = 0

    async def start(self) -> None:
        """Start it, without waiting until it is ready."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._log_offset = self._log.stat().st_size if self._log.exists() else 0
        order = LaunchSpec(
            folder=self._folder,
            log=self._log,
            argv=[sys.executable, "-m", self._program.module, *self._program.arguments],
            environment=self._variables,
            working_directory=ROOT,
            owner=process.myself(),
            scratch=self._folder,
            stop_timeout_s=STOP_TIMEOUT_S,
        )
        await asyncio.to_thread(process.launch, order)

    def is_alive(self) -> bool:
        record = process.read_record(self._folder)
        return record is not None and record.server.is_alive()

    def is_ready(self) -> bool:
        """Whether it has said, since it was started, that it takes work."""
        with self._log.open("rb") as log:
            log.seek(self._log_offset)
            return self._program.ready.encode() in log.read()

    async def ready(self) -> None:
        """Wait until it takes work; if it ends before that, for want of a server, it is started again."""
        async with asyncio.timeout(READY_TIMEOUT_S):
            while not self.is_ready():
                if not self.is_alive():
                    await self.start()
                await asyncio.sleep(POLL_S)

    async def ended(self, timeout_s: float) -> bool:
        """Wait until it has ended by itself; False if it still runs after ``timeout_s``."""
        until_s = time.monotonic() + timeout_s
        while self.is_alive():
            if time.monotonic() > until_s:
                return False
            await asyncio.sleep(POLL_S)
        return True

    async def kill(self) -> None:
        await asyncio.to_thread(process.kill, self._folder)

    async def stop(self) -> None:
        """End it in order: it drains first."""
        await asyncio.to_thread(process.stop, self._folder, timeout_s=STOP_TIMEOUT_S)

    def pause(self) -> bool:
        return self._signal(signal.SIGSTOP)

    def resume(self) -> bool:
        return self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> bool:
        record = process.read_record(self._folder)
        return record is not None and record.server.signal_group(number)


class Supervisor:
    """Keeps so many of each program running, as whatever runs them in production would.

    ``projectors``: so many of each read model. ``own``: one of each program of one's own, by name.
    """

    def __init__(
        self,
        *,
        workers: int,
        projectors: int,
        own: Mapping[str, Program],
        folder: Path,
        logs: Path,
        variables: Mapping[str, str],
    ) -> None:
        self._folder = folder
        self._logs = logs
        self.variables = dict(variables)
        self.workers = [self._new(f"worker-{number}", WORKER) for number in range(workers)]
        self.projectors = [
            self._new(f"projector-{name}-{number}", PROJECTOR, ONCELOG_PROJECTOR_READ_MODEL=name)
            for number in range(projectors)
            for name in READ_MODELS
        ]
        self.own = [self._new(name, program) for name, program in own.items()]
        self._guests = 0

    @property
    def all(self) -> list[Kept]:
        return [*self.workers, *self.projectors, *self.own]

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Supervisor"]:
        """Run them all for the length of a block, and leave none."""
        await asyncio.gather(*(kept.start() for kept in self.all))
        tending = asyncio.create_task(self._tend())
        try:
            await self.all_ready()
            yield self
        finally:
            tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await tending
            await asyncio.gather(*(kept.kill() for kept in self.all))

    @asynccontextmanager
    async def guest(self, program: Program = WORKER, **variables: str) -> AsyncIterator[Kept]:
        """Run one more for the length of a block, with variables of its own; no supervisor starts it again."""
        self._guests += 1
        guest = self._new(f"guest-{self._guests}", program, **variables)
        try:
            await guest.start()
            yield guest
        finally:
            await guest.kill()

    async def all_ready(self) -> None:
        """Wait until every one takes work, however often it had to be started."""
        async with asyncio.timeout(2 * READY_TIMEOUT_S):
            while not all(kept.is_alive() and kept.is_ready() for kept in self.all):
                await asyncio.sleep(POLL_S)

    def _new(self, name: str, program: Program, **variables: str) -> Kept:
        return Kept(
            name,
            program,
            folder=self._folder / name,
            log=self._logs / f"{name}.log",
            variables=self.variables | variables,
        )

    async def _tend(self) -> None:
        while True:
            for kept in self.all:
                if not kept.is_alive():
                    await kept.start()
            await asyncio.sleep(POLL_S)
