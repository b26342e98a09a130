"""The command path put together from ports, in one place for worker, tests and benchmarks."""

from dataclasses import dataclass

from factline.pipeline.bulk.assembly import BulkPipeline, assemble_bulk
from factline.pipeline.committing import Committer
from factline.pipeline.definitions import Definitions
from factline.pipeline.delivering import Deliverer
from factline.pipeline.forming import FormedDocuments
from factline.pipeline.log_reader import LogReader, StateCache
from factline.pipeline.positions import Positions
from factline.pipeline.publication import Publication
from factline.pipeline.reindexing import Reindexer
from factline.pipeline.turn_queue import TurnQueue
from factline.ports import Ports
from factline.projections.documents_model import DocumentsModel
from factline.projections.gathering import GatheredDocuments
from factline.projections.parking import Parking
from factline.settings import Settings


@dataclass(frozen=True)
class Pipeline:
    """One process's command path; its parts share what this process has read and written."""

    committer: Committer
    deliverer: Deliverer
    reader: LogReader
    definitions: Definitions
    documents: GatheredDocuments
    formed: FormedDocuments
    reindexer: Reindexer
    parking: Parking
    bulk: BulkPipeline


def assemble(ports: Ports, settings: Settings) -> Pipeline:
    """Build the command path on these ports."""
    cache = StateCache(aggregates_max=settings.cached_aggregates_max)
    reader = LogReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    positions = Positions(log=ports.event_log, reader=reader, turns=ports.turns, cache=cache)
    definitions = Definitions(event_log=ports.event_log, reader=reader, turns=ports.turns)
    queue = TurnQueue(ports.turns)
    publication = Publication(reader=reader, publisher=ports.publisher, turns=ports.turns)
    formed = FormedDocuments(ports.documents, ports.indices, definitions)
    documents = GatheredDocuments(formed)
    committer = Committer(
        ports=ports,
        publication=publication,
        positions=positions,
        definitions=definitions,
        queue=queue,
        reader=reader,
        cache=cache,
        snapshot_interval_events=settings.snapshot_interval_events,
    )
    parking = Parking(read_model=DocumentsModel.name, letters=ports.dead_letters, failures=ports.failures)
    deliverer = Deliverer(
        publication=publication,
        documents=documents,
        reader=reader,
        cache=cache,
        parking=parking,
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
        cache=cache,
    )
    return Pipeline(
        committer=committer,
        deliverer=deliverer,
        reader=reader,
        definitions=definitions,
        documents=documents,
        formed=formed,
        reindexer=Reindexer(indices=ports.indices, definitions=definitions, reader=reader),
        parking=parking,
        bulk=bulk,
    )
