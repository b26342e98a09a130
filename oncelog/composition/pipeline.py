"""The command path put together from ports, in one place for worker, tests and benchmarks."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from oncelog.composition.bulk import BulkPipeline, assemble_bulk
from oncelog.ports import Ports, ReadModel
from oncelog.read_models.batching import Gathered
from oncelog.read_models.document_schema import FormedDocuments
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.parking import Parking
from oncelog.read_models.rebuild_graph import Regrapher
from oncelog.read_models.reindex import Reindexer
from oncelog.replay.class_schemas import Definitions
from oncelog.replay.stream_reader import LogReader, StateCache
from oncelog.settings import Settings
from oncelog.write.commit import Committer
from oncelog.write.delivery import Deliverer, InlineModel
from oncelog.write.lease_queue import TurnQueue
from oncelog.write.publication import Publication
from oncelog.write.stream_head import Positions
from oncelog.write.strictness import Strictness


@dataclass(frozen=True)
class Pipeline:
    """One process's command path; its parts share what this process has read and written."""

    committer: Committer
    deliverer: Deliverer
    reader: LogReader
    definitions: Definitions
    models: Sequence[InlineModel]
    formed: FormedDocuments
    reindexer: Reindexer
    regrapher: Regrapher
    bulk: BulkPipeline

    async def close(self) -> None:
        """Let what is being shown end."""
        await asyncio.gather(*(model.gathered.close() for model in self.models))


def assemble(ports: Ports, settings: Settings) -> Pipeline:
    """Build the command path on these ports."""
    cache = StateCache(aggregates_max=settings.cached_aggregates_max)
    reader = LogReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    publication = Publication(reader=reader, publisher=ports.publisher, turns=ports.turns)
    positions = Positions(log=ports.event_log, reader=reader, turns=ports.turns, cache=cache, publication=publication)
    definitions = Definitions(event_log=ports.event_log, reader=reader, turns=ports.turns)
    strictness = Strictness(definitions, settings.is_strict)
    queue = TurnQueue(ports.turns)
    formed = FormedDocuments(ports.documents, ports.indices, definitions)
    graph = GraphModel(ports.graph, definitions.newest)
    models = [_inline(DocumentsModel(formed), ports), _inline(graph, ports, instances_only=True)]
    committer = Committer(
        ports=ports,
        publication=publication,
        positions=positions,
        definitions=definitions,
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
        definitions=definitions,
        strictness=strictness,
        cache=cache,
    )
    return Pipeline(
        committer=committer,
        deliverer=deliverer,
        reader=reader,
        definitions=definitions,
        models=models,
        formed=formed,
        reindexer=Reindexer(documents=ports.documents, indices=ports.indices, definitions=definitions, reader=reader),
        regrapher=Regrapher(ports, graph, models[1].parking),
        bulk=bulk,
    )


def _inline(read_model: ReadModel, ports: Ports, *, instances_only: bool = False) -> InlineModel:
    parking = Parking(read_model=read_model.name, letters=ports.dead_letters, failures=ports.failures)
    return InlineModel(Gathered(read_model), parking, instances_only=instances_only)
