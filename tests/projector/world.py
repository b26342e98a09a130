"""Projectors on servers in memory: any number of them, each a process of its own as far as it can tell."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from oncelog.composition.read_models import ReadModelServices, assemble_projector, services_of
from oncelog.domain.events import Event
from oncelog.ports import Document, ReadModel, Watermark
from oncelog.read_models.dead_letter_service import DeadLetterService
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.parking import Parking
from oncelog.read_models.projector.loop import Projector
from oncelog.read_models.projector.metrics import ProjectorMetrics
from oncelog.replay.trace import AfterStep, nothing_after
from oncelog.testing.memory.kafka import MemoryGroup, MemoryPublisher, MemorySubscription
from oncelog.testing.memory.s3 import MemoryEventLog
from tests import promises
from tests.write.world import World

UNTIL_S = 10.0


@dataclass
class Running:
    """One projector process."""

    projector: Projector
    subscription: MemorySubscription
    parking: Parking
    metrics: ProjectorMetrics
    stopping: asyncio.Event
    task: asyncio.Task[None]

    def count(self, name: str, **labels: str) -> float:
        found = self.metrics.registry.get_sample_value(name, {"read_model": "documents", **labels})
        return found or 0.0

    async def stop(self) -> None:
        self.stopping.set()
        await self.task

    async def crash(self) -> None:
        """End it as a kill would: nothing of it runs on; its group hears of it when its session has run out."""
        self.task.cancel()
        await asyncio.wait([self.task])


@dataclass
class Stream(World):
    """A world whose stream is read by projectors, with four partitions."""

    publisher: MemoryPublisher = field(default_factory=lambda: MemoryPublisher(partitions=4))

    def __post_init__(self) -> None:
        self.group = MemoryGroup(self.publisher)
        self.log = MemoryEventLog(self.bucket)

    async def write(self, events: Sequence[Event]) -> None:
        """Put events into the log only."""
        for event in events:
            await self.log.append_event(event, published_through=Watermark(1, event.sequence_number - 1))

    async def send(self, events: Sequence[Event]) -> None:
        """Put events into the stream only, in the order given."""
        await self.publisher.publish_events(events)

    async def told(self, events: Sequence[Event]) -> None:
        """Put events into the log and the stream."""
        await self.write(events)
        await self.send(events)

    def start(
        self,
        *,
        read_model: ReadModel | None = None,
        services: ReadModelServices | None = None,
        after_step: AfterStep = nothing_after,
        batch_messages_max: int = 500,
    ) -> Running:
        model = read_model or DocumentsModel(self.documents)
        ports = self.ports()
        services = services or services_of(
            model, ports, aggregates_max=self.settings.cached_aggregates_max, by="projector"
        )
        name = services.read_model.name
        subscription, metrics, stopping = MemorySubscription(self.group), ProjectorMetrics(name), asyncio.Event()
        projector = assemble_projector(
            ports,
            services,
            subscription=subscription,
            metrics=metrics,
            after_step=after_step,
            batch_messages_max=batch_messages_max,
        )
        task = asyncio.create_task(projector.run(stopping))
        return Running(projector, subscription, services.parking, metrics, stopping, task)

    @asynccontextmanager
    async def projector(self, **options: object) -> AsyncIterator[Running]:
        running = self.start(**options)  # type: ignore[arg-type]
        try:
            yield running
        finally:
            await running.stop()

    def dead_letter_service(self) -> DeadLetterService:
        """The dead-letter service of the command line, on its own."""
        return services_of(DocumentsModel(self.documents), self.ports(), by="cli").dead_letter_service

    async def caught_up(self) -> None:
        """Wait until every message of the stream is committed."""
        async with asyncio.timeout(UNTIL_S):
            while any(
                self.group.start_of(partition) < len(self.publisher.of(partition))
                for partition in range(self.publisher.partitions)
            ):
                await asyncio.sleep(0.002)

    def document(self, instance_id: str = "p1") -> Document | None:
        return self.documents.indices.get("shop.product", {}).get(instance_id)

    def check_all_shown(self) -> None:
        """Hold every document to be the fold of its log."""
        promises.hold(self.audit().documents.judge())
