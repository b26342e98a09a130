"""An installation at a glance, from its servers: is it healthy, does it keep up, is it correct, is anything stuck."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TypeVar

from temporalio.service import RPCError

from oncelog.checks.kept import CheckReports
from oncelog.checks.report import InvariantsReport
from oncelog.checks.scope import ProofScope
from oncelog.client import connection
from oncelog.client.backlog import Backlog, BacklogReader, StuckCommand
from oncelog.composition.read_models import last_dead_letters_of
from oncelog.domain.dead_letters import DeadLetter
from oncelog.errors import ContainerUnusable, OncelogError
from oncelog.ports import Ports
from oncelog.read_models.names import ReadModelName
from oncelog.settings import Settings
from oncelog.stores.elasticsearch.health import cluster_health
from oncelog.stores.kafka.lag import KafkaLag, ProjectorLag
from oncelog.stores.opening import Stores

T = TypeVar("T")


@dataclass(frozen=True)
class Silent:
    """A source that gave no answer, and the cause."""

    cause: str


@dataclass(frozen=True)
class ServerState:
    """The answer of a server, in words, and whether it is well."""

    text: str
    well: bool = True


@dataclass(frozen=True, kw_only=True)
class GlanceSources:
    """How each part of a picture is read; servers that have no part of their own by their names."""

    workers: Callable[[], Awaitable[bool]]
    backlog: Callable[[], Awaitable[Backlog]]
    stuck: Callable[[], Awaitable[Sequence[StuckCommand]]]
    lags: Callable[[], Awaitable[Sequence[ProjectorLag]]]
    dead_letters: Callable[[], Awaitable[Sequence[DeadLetter]]]
    check: Callable[[], Awaitable[InvariantsReport | None]]
    servers: Mapping[str, Callable[[], Awaitable[ServerState]]]


@dataclass(frozen=True, kw_only=True)
class Glance:
    """One picture. Each part is its source's answer, or ``Silent``.

    ``workers``: whether one has asked for commands in the last minutes. ``dead_letters``: of aggregates that wait or
    have an unfinished catch-up. ``check``: the newest of everything, None where there is none.
    """

    at: datetime
    workers: bool | Silent
    backlog: Backlog | Silent
    stuck: Sequence[StuckCommand] | Silent
    lags: Sequence[ProjectorLag] | Silent
    dead_letters: Sequence[DeadLetter] | Silent
    check: InvariantsReport | Silent | None
    servers: Mapping[str, ServerState | Silent]

    @property
    def silent(self) -> dict[str, str]:
        """The sources without an answer, by the name of their part or server, each with its cause."""
        parts: dict[str, object] = {
            "workers": self.workers,
            "backlog": self.backlog,
            "stuck": self.stuck,
            "lags": self.lags,
            "dead_letters": self.dead_letters,
            "check": self.check,
            **self.servers,
        }
        return {name: part.cause for name, part in parts.items() if isinstance(part, Silent)}


async def read_glance(sources: GlanceSources, *, timeout_s: float) -> Glance:
    """Ask all sources at once and return the picture. ``timeout_s``: a source that takes longer is ``Silent``."""
    async with asyncio.TaskGroup() as group:
        workers = group.create_task(_asked(sources.workers, timeout_s))
        backlog = group.create_task(_asked(sources.backlog, timeout_s))
        stuck = group.create_task(_asked(sources.stuck, timeout_s))
        lags = group.create_task(_asked(sources.lags, timeout_s))
        dead_letters = group.create_task(_asked(sources.dead_letters, timeout_s))
        check = group.create_task(_asked(sources.check, timeout_s))
        servers = {name: group.create_task(_asked(look, timeout_s)) for name, look in sources.servers.items()}
    return Glance(
        at=datetime.now(UTC),
        workers=workers.result(),
        backlog=backlog.result(),
        stuck=stuck.result(),
        lags=lags.result(),
        dead_letters=dead_letters.result(),
        check=check.result(),
        servers={name: look.result() for name, look in servers.items()},
    )


def glance_sources(stores: Stores, settings: Settings) -> GlanceSources:
    """Return the sources of one installation; Temporal is connected to once it is asked."""
    temporal = _Temporal(settings)
    servers: dict[str, Callable[[], Awaitable[ServerState]]] = {
        "Redis": partial(_redis, stores),
        "Elasticsearch": partial(_elasticsearch, stores),
    }
    if stores.terminusdb:
        servers["TerminusDB"] = partial(_terminusdb, stores)
    return GlanceSources(
        workers=temporal.workers,
        backlog=temporal.backlog,
        stuck=temporal.stuck,
        lags=KafkaLag(settings, built_in=list(ReadModelName)).read,
        dead_letters=partial(_dead_letters, stores.ports),
        check=partial(CheckReports(stores.ports.large_objects).newest, ProofScope().name),
        servers=servers,
    )


async def _asked(source: Callable[[], Awaitable[T]], timeout_s: float) -> T | Silent:
    try:
        async with asyncio.timeout(timeout_s):
            return await source()
    except TimeoutError:
        return Silent(f"none within {timeout_s:g} s")
    except ContainerUnusable as error:
        return Silent(f"{error.container} ({error.reason}): {error.details['remedy']}")
    except OncelogError as error:
        return Silent(str(error.details.get("cause", error.message)))
    except (RPCError, RuntimeError, ValueError) as error:  # or an answer that this release cannot read
        return Silent(str(error))


class _Temporal:
    """Asks Temporal over one connection, made by the first question that reaches it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connecting = asyncio.Lock()
        self._reader: BacklogReader | None = None

    async def workers(self) -> bool:
        return await connection.has_workers((await self._connected()).client, self._settings.task_queue)

    async def backlog(self) -> Backlog:
        return await (await self._connected()).read()

    async def stuck(self) -> Sequence[StuckCommand]:
        return await (await self._connected()).stuck()

    async def _connected(self) -> BacklogReader:
        async with self._connecting:
            if self._reader is None:
                self._reader = BacklogReader(await connection.connect(), self._settings)
            return self._reader


async def _dead_letters(ports: Ports) -> Sequence[DeadLetter]:
    names = await ports.catalogue.parking_read_models()
    found = await asyncio.gather(*(last_dead_letters_of(name, ports.dead_letters) for name in names))
    return [letter for letters in found for letter in letters if letter.waits or letter.unfinished]


async def _redis(stores: Stores) -> ServerState:
    await stores.redis.ping()
    return ServerState("answers")


async def _elasticsearch(stores: Stores) -> ServerState:
    health = await cluster_health(stores.elasticsearch)
    red = f"; red: {', '.join(health.red)}" if health.red else ""
    return ServerState(f"answers, {health.status}{red}", well=not health.red)


async def _terminusdb(stores: Stores) -> ServerState:
    if stores.terminusdb:
        await stores.terminusdb.ping()
    return ServerState("answers")
