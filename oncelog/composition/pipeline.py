"""The command path put together from ports, in one place for worker, tests and benchmarks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from oncelog.archive.log_reader import LogReader
from oncelog.bulk.items import BulkItems
from oncelog.composition.bulk import BulkPipeline, assemble_bulk
from oncelog.composition.read_models import parking_of
from oncelog.composition.reindexing import assemble_reindexer
from oncelog.domain.aggregates import load_aggregates
from oncelog.ports import Ports, ReadModel
from oncelog.read_models.batching import BatchedReadModel
from oncelog.read_models.document_schema import SchemaDocuments
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.rebuild import GraphRebuilder
from oncelog.read_models.reindex import Reindexer
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.settings import Settings
from oncelog.write.command_outcomes import CommandOutcomes
from oncelog.write.commit import Committer
from oncelog.write.delivery import Deliverer, InlineModel
from oncelog.write.event_writer import EventWriter
from oncelog.write.judge import Judge
from oncelog.write.lease_queue import LeaseQueue
from oncelog.write.publication import Publication
from oncelog.write.references import References
from oncelog.write.stream_head import StreamHeads
from oncelog.write.strictness import Strictness
from oncelog.write.unique.chains import ValueChains
from oncelog.write.unique.claims import UniqueClaims
from oncelog.write.unique.helper import Helper
from oncelog.write.write_path import WritePath


@dataclass(frozen=True)
class Pipeline:
    """One process's command path; its parts share one cache of the states read and written."""

    committer: Committer
    deliverer: Deliverer
    reader: StreamReader
    class_schemas: ClassSchemas
    models: Sequence[InlineModel]
    reindexer: Reindexer
    graph_rebuilder: GraphRebuilder
    bulk: BulkPipeline

    async def close(self) -> None:
        """Let the projections under way end."""
        await asyncio.gather(*(model.batched.close() for model in self.models))


def assemble(ports: Ports, settings: Settings) -> Pipeline:
    """Build the command path on these ports, and load the aggregates of one's own before any command comes."""
    load_aggregates()
    path = _write_path(ports, settings)
    documents = DocumentsModel(SchemaDocuments(ports.documents, ports.indices, path.class_schemas))
    graph = GraphModel(ports.graph, path.class_schemas.newest)
    models = [_inline(documents, ports), _inline(graph, ports, instances_only=True)]
    deliverer = Deliverer(
        publication=path.publication,
        models=models,
        reader=path.reader,
        cache=path.cache,
        inline=settings.projection == "inline",
    )
    return Pipeline(
        committer=Committer(path),
        deliverer=deliverer,
        reader=path.reader,
        class_schemas=path.class_schemas,
        models=models,
        reindexer=assemble_reindexer(ports, path.class_schemas, path.reader),
        graph_rebuilder=GraphRebuilder(graph, parking_of(graph, ports), LogReader(ports)),
        bulk=assemble_bulk(path, deliverer, settings),
    )


def _write_path(ports: Ports, settings: Settings) -> WritePath:
    cache = StateCache(aggregates_max=settings.cached_aggregates_max)
    reader = StreamReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    publication = Publication(reader=reader, publisher=ports.publisher, leases=ports.leases)
    class_schemas = ClassSchemas(event_log=ports.event_log, reader=reader, leases=ports.leases)
    judge = Judge()
    event_writer = EventWriter(log=ports.event_log, reader=reader, class_schemas=class_schemas, judge=judge)
    items = BulkItems(ports.large_objects, chunk_items_max=settings.bulk_chunk_items_max)
    chains = ValueChains(
        entries=ports.unique_entries,
        reader=reader,
        class_schemas=class_schemas,
        helper=Helper(ports, event_writer, items),
    )
    return WritePath(
        ports=ports,
        cache=cache,
        reader=reader,
        class_schemas=class_schemas,
        publication=publication,
        stream_heads=StreamHeads(
            log=ports.event_log, reader=reader, leases=ports.leases, cache=cache, publication=publication
        ),
        lease_queue=LeaseQueue(ports.leases),
        strictness=Strictness(class_schemas, settings.is_strict),
        judge=judge,
        event_writer=event_writer,
        claims=UniqueClaims(chains=chains, entries=ports.unique_entries, hints=ports.chain_hints),
        references=References(reader),
        command_outcomes=CommandOutcomes(ports),
        snapshot_interval_events=settings.snapshot_interval_events,
    )


def _inline(read_model: ReadModel, ports: Ports, *, instances_only: bool = False) -> InlineModel:
    return InlineModel(BatchedReadModel(read_model), parking_of(read_model, ports), instances_only=instances_only)
