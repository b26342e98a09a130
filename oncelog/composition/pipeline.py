"""The command path put together from ports, in one place for worker, tests and benchmarks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from oncelog.composition.bulk import BulkPipeline, assemble_bulk
from oncelog.ports import Ports, ReadModel
from oncelog.read_models.batching import Gathered
from oncelog.read_models.document_schema import SchemaDocuments
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.parking import Parking
from oncelog.read_models.rebuild_graph import GraphRebuilder
from oncelog.read_models.reindex import Reindexer
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.settings import Settings
from oncelog.write.commit import Committer
from oncelog.write.delivery import Deliverer, InlineModel
from oncelog.write.lease_queue import LeaseQueue
from oncelog.write.publication import Publication
from oncelog.write.stream_head import StreamHeads
from oncelog.write.strictness import Strictness


@dataclass(frozen=True)
class Pipeline:
    """One process's command path; its parts share what this process has read and written."""

    committer: Committer
    deliverer: Deliverer
    reader: StreamReader
    class_schemas: ClassSchemas
    models: Sequence[InlineModel]
    formed: SchemaDocuments
    reindexer: Reindexer
    graph_rebuilder: GraphRebuilder
    bulk: BulkPipeline

    async def close(self) -> None:
        """Let what is being shown end."""
        await asyncio.gather(*(model.gathered.close() for model in self.models))


def assemble(ports: Ports, settings: Settings) -> Pipeline:
    """Build the command path on these ports."""
    cache = StateCache(aggregates_max=settings.cached_aggregates_max)
    reader = StreamReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    publication = Publication(reader=reader, publisher=ports.publisher, leases=ports.leases)
    positions = StreamHeads(
        log=ports.event_log, reader=reader, leases=ports.leases, cache=cache, publication=publication
    )
    class_schemas = ClassSchemas(event_log=ports.event_log, reader=reader, leases=ports.leases)
    strictness = Strictness(class_schemas, settings.is_strict)
    queue = LeaseQueue(ports.leases)
    formed = SchemaDocuments(ports.documents, ports.indices, class_schemas)
    graph = GraphModel(ports.graph, class_schemas.newest)
    models = [_inline(DocumentsModel(formed), ports), _inline(graph, ports, instances_only=True)]
    committer = Committer(
        ports=ports,
        publication=publication,
        positions=positions,
        class_schemas=class_schemas,
        strictness=strictness,
        queue=queue,
        reader=reader,
        cache=cache,
        snapshot_interval_events=settings.snapshot_interval_events,
    )
    deliverer = Deliverer(
        publication=publication,
        models=models,
        reader=reader,
        cache=cache,
        inline=settings.projection == "inline",
    )
    bulk = assemble_bulk(
        ports,
        settings,
        positions=positions,
        queue=queue,
        publication=publication,
        deliverer=deliverer,
        reader=reader,
        class_schemas=class_schemas,
        strictness=strictness,
        cache=cache,
    )
    return Pipeline(
        committer=committer,
        deliverer=deliverer,
        reader=reader,
        class_schemas=class_schemas,
        models=models,
        formed=formed,
        reindexer=Reindexer(
            documents=ports.documents, indices=ports.indices, class_schemas=class_schemas, reader=reader
        ),
        graph_rebuilder=GraphRebuilder(ports, graph, models[1].parking),
        bulk=bulk,
    )


def _inline(read_model: ReadModel, ports: Ports, *, instances_only: bool = False) -> InlineModel:
    parking = Parking(read_model=read_model.name, letters=ports.dead_letters, failures=ports.failures)
    return InlineModel(Gathered(read_model), parking, instances_only=instances_only)
