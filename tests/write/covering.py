"""A class whose instances were there before its unique constraints, and runs that cover it, on servers in memory."""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from oncelog.client.bulk_items import check_items, command_on
from oncelog.client.cover import ClassCover, CoverProgress
from oncelog.domain.bulk.command import Bulk
from oncelog.domain.bulk.results import BulkResult
from oncelog.domain.commands import Command
from oncelog.domain.events import Event
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.results import Outcome
from oncelog.query.cover_report import CoverReport
from oncelog.query.coverage import ConstraintCoverage, Coverage
from oncelog.replay.class_schemas import RECHECK_S
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.settings import Settings
from tests.classes import define
from tests.write.bulks import Attempt, lines
from tests.write.world import World

NAME = AggregateId.of_class("shop", "Product")


@dataclass
class Commands:
    """Bulk commands on servers in memory, each run by a process of its own. ``sent``: their IDs, in order."""

    world: World
    sent: list[str] = field(default_factory=list)
    running: set[str] = field(default_factory=set)

    async def prepared(self, path: Path, fields: Mapping[str, Any]) -> Bulk:
        return command_on(check_items(path, fields["command_type"]), fields)

    async def follow(self, bulk: Bulk) -> AsyncIterator[BulkResult]:
        self.sent.append(bulk.command_id)
        result = await Attempt(self.world.process()).run(bulk)
        assert isinstance(result, BulkResult)
        yield result

    async def results(self, result: BulkResult) -> AsyncIterator[dict[str, Any]]:
        for line in lines(self.world, result):
            yield line

    async def under_way(self, command_ids: Collection[str]) -> set[str]:
        return self.running & set(command_ids)


@dataclass
class Scene:
    """A class whose instances were there before its constraint, half a minute later."""

    world: World = field(default_factory=lambda: World(settings=Settings(bulk_chunk_items_max=3, projection="stream")))
    shown: list[CoverProgress] = field(default_factory=list)
    slept_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.commands = Commands(self.world)
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        self.world.bucket.clock = lambda: self.now

    async def define(self, definition: dict[str, Any], *, seconds: float = 2 * RECHECK_S) -> None:
        """Define the class, and let some seconds pass."""
        assert (await self.world.process().run(define(definition))).outcome is Outcome.APPLIED
        self.now += timedelta(seconds=seconds)

    async def run(self, *commands: Command) -> None:
        for command in commands:
            assert (await self.world.process().run(command)).outcome is Outcome.APPLIED

    @property
    def coverage(self) -> Coverage:
        ports = self.world.ports()
        reader = StreamReader(log=ports.event_log, snapshots=ports.snapshots, cache=StateCache(aggregates_max=10))
        return Coverage(ports, reader)

    async def cover(
        self, *, items_max: int = 4, commands: Commands | None = None, actor: str | None = None
    ) -> CoverReport:
        commands = commands or self.commands

        async def sleep(seconds: float) -> None:
            self.slept_s.append(seconds)
            self.now += timedelta(seconds=seconds)

        cover = ClassCover(
            self.world.ports(), self.coverage, commands, commands.under_way, items_max=items_max, sleep=sleep
        )
        return await cover.run("shop", "Product", actor=actor, progressed=self.shown.append)

    async def states(self) -> Mapping[str, ConstraintCoverage]:
        spans = await self.coverage.spans(NAME)
        assert spans is not None
        return await self.coverage.states("shop", "Product", spans)

    def events(self, name: str) -> list[Event]:
        return self.world.logs()[f"shop/Product/{name}"]
