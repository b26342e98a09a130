"""One installation of a run's own: real servers, a proxy before each, workers, and clients on the same proxies."""

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from oncelog.settings import Settings
from oncelog.stores.kafka.messages import Message
from stack import Server, Stack, ports
from stack.errors import StackError, UnreachableError
from tests.chaos import clocks, disks
from tests.chaos.forgeries import VARIABLE as FORGERY_VARIABLE
from tests.chaos.proxies import Proxies
from tests.chaos.workers import Program, Supervisor
from tests.settings import settings_from

SERVERS = ("temporal", "redis", "kafka", "elasticsearch", "s3")
"""Those with a proxy before them."""

START_TIMEOUT_S = 900.0
WORKERS, PROJECTORS = 2, 2
DISKS_MIB = {"temporal": 3072, "redis": 512, "kafka": 1024, "elasticsearch": 1024, "s3": 1024}
"""More than a run needs; memory is taken only as far as they are full."""


class Sender(Protocol):
    """A client of the run, for a fault that is a load."""

    async def flood(self, number: int, *, commands: int) -> int:
        """Send so many commands of one aggregate at once, and return how many of them were answered."""


@dataclass(frozen=True)
class Installation:
    """The installation that faults are done to. ``settings`` and ``variables`` lead through the proxies,
    ``direct`` past them.
    """

    stack: Stack
    proxies: Proxies
    supervisor: Supervisor
    variables: Mapping[str, str]
    settings: Settings
    direct: Settings
    forgery: Path
    has_disks: bool
    dropped: list[list[Message]] = field(default_factory=list)
    """The messages of dropped topics, for the checker."""
    senders: list[Sender] = field(default_factory=list)
    """The clients of the run."""
    restarted: list[str] = field(default_factory=list)
    """Servers that ran and stayed unwell by themselves, with their complaints."""

    def server(self, name: str) -> Server:
        return self.stack.server(name)

    def data(self, name: str) -> Path:
        """Return the folder of a server's data."""
        return self.stack.data / name / "data"

    def lacks(self, need: str) -> str:
        """Return in words why this machine cannot show what needs this; nothing if it can."""
        if need == "tmpfs" and not self.has_disks:
            return "only root may mount a small disk, in a mount namespace of its own"
        if need == "shop" and not self.supervisor.own:
            return "the run has no orders of the shop"
        if need == "libfaketime" and clocks.library() is None:
            return "libfaketime is not installed (Debian's package faketime)"
        return ""

    async def tend(self) -> None:
        """Start again each server that is not well in the time that it has for its start.

        Its supervisor does so in production. No fault may be in force.
        """
        await asyncio.gather(*(self._tend(self.server(name)) for name in SERVERS))

    async def _tend(self, server: Server) -> None:
        try:
            await asyncio.to_thread(server.start)
        except StackError as error:
            complaint = str(error).partition("\n")[0]
            say(f"{server.name} is started again: {complaint}")
            self.restarted.append(complaint)
            await asyncio.to_thread(server.kill)
            await self.start(server.name)

    async def start(self, name: str) -> None:
        """Start a server and wait until it is well; raises StackError.

        A machine with other work gets more time for it than the stack gives.
        """
        until_s = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                await asyncio.to_thread(self.server(name).start)
            except UnreachableError:
                if time.monotonic() > until_s:
                    raise
            else:
                return

    async def heal(self) -> None:
        """Undo whatever a fault may have left: links, forgeries, frozen, stuck and dead servers, full disks."""
        self.forgery.unlink(missing_ok=True)
        self.proxies.mend()
        for name in SERVERS:
            if self.has_disks:
                disks.free(self.data(name))
            server = self.server(name)
            if server.is_running():
                server.resume()
        for kept in self.supervisor.all:
            kept.resume()
        await self.tend()


@asynccontextmanager
async def opened(
    folder: Path, *, projection: str, own: Mapping[str, Program], own_variables: Mapping[str, str]
) -> AsyncIterator[Installation]:
    """Bring everything up for the length of a block; ``folder`` gets the logs of workers and servers.

    ``projection``: ``ONCELOG_PROJECTION``, ``inline`` or ``stream``; the projectors run anyhow. ``own``: the
    programs of a domain of one's own, by name, and ``own_variables``: all programs' variables for it.
    """
    with ExitStack() as cleanup:
        reserved = {name: cleanup.enter_context(ports.reserve_free()) for name in SERVERS}
        listen = {name: f"{ports.HOST}:{held.getsockname()[1]}" for name, held in reserved.items()}
        stack = cleanup.enter_context(Stack.scratch(advertised={"kafka": listen["kafka"]}))
        has_disks = disks.offered()
        if has_disks:
            for name in SERVERS:
                disks.mount(stack.data / name / "data", size_mib=DISKS_MIB[name])
                cleanup.callback(disks.unmount, stack.data / name / "data")
        await asyncio.to_thread(stack.up, [*SERVERS, "toxiproxy"])
        cleanup.callback(_keep_logs, stack, folder)
        proxies = Proxies(stack.server("toxiproxy").address)
        for name in SERVERS:
            proxies.put_before(name, listen=listen[name], upstream=_host_and_port(stack.server(name)))
        direct = stack.environment()
        chosen = {"ONCELOG_PROJECTION": projection, "ONCELOG_BULK_CHUNK_ITEMS_MAX": "10", **own_variables}
        variables = direct | _through(listen) | chosen
        forgery = folder / "forgery.json"
        supervisor = Supervisor(
            workers=WORKERS,
            projectors=PROJECTORS,
            own=own,
            folder=stack.data / "beside",
            logs=folder,
            variables={**_inherited(), **variables, FORGERY_VARIABLE: str(forgery)},
        )
        with _environment(variables):
            async with supervisor.running():
                settings, past = (_settings(given) for given in (variables, direct))
                yield Installation(stack, proxies, supervisor, variables, settings, past, forgery, has_disks)


def _host_and_port(server: Server) -> str:
    return server.address.rpartition("//")[2].partition("/")[0]


def _through(listen: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that lead to the proxies."""
    return {
        "TEMPORAL_ADDRESS": listen["temporal"],
        "ONCELOG_REDIS_URL": f"redis://{listen['redis']}/0",
        "ONCELOG_KAFKA_BOOTSTRAP_SERVERS": listen["kafka"],
        "ONCELOG_ELASTICSEARCH_URL": f"http://{listen['elasticsearch']}",
        "ONCELOG_S3_ENDPOINT_URL": f"http://{listen['s3']}",
    }


def _inherited() -> dict[str, str]:
    """Return what a worker needs of this process's environment; nothing that leads to servers of others."""
    foreign = ("ONCELOG_", "TEMPORAL_", "AWS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(foreign)}


def _settings(variables: Mapping[str, str]) -> Settings:
    return settings_from(variables)


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]):
    """Let Temporal's and AWS' own chains find the installation from within this process."""
    before = dict(os.environ)
    for name in list(os.environ):
        if name.startswith(("ONCELOG_", "TEMPORAL_", "AWS_")) and name not in ("ONCELOG_CACHE_DIR", disks.VARIABLE):
            del os.environ[name]
    os.environ.update(variables)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _keep_logs(stack: Stack, folder: Path) -> None:
    for server in stack.servers:
        for name in ("log", "log.previous"):
            path = server.folder / name
            if path.exists():
                (folder / f"{server.name}.{name}").write_bytes(path.read_bytes())


def say(text: str) -> None:
    """Tell the observer."""
    print(text, file=sys.stderr, flush=True)
