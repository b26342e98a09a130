"""Replay runs, wired to the ports of one process."""

from oncelog.archive.log_reader import LogReader
from oncelog.composition.read_models import parking_of
from oncelog.composition.reindexing import assemble_reindexer
from oncelog.domain.signed_note import Signer
from oncelog.ports import Ports
from oncelog.read_models.document_schema import SchemaDocuments
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.read_models.index_rebuild import IndexRebuild
from oncelog.read_models.parking import Parking
from oncelog.read_models.rebuild import StateProjection
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StateCache, StreamReader
from oncelog.replay_runs.comparison import ReadModelReaders, VerifyWork
from oncelog.replay_runs.export import ExportWork
from oncelog.replay_runs.publish import RepublishWork, RestoreWork
from oncelog.replay_runs.rebuild import RebuildWork
from oncelog.replay_runs.request import ReplayMode
from oncelog.replay_runs.run import ReplayRunner
from oncelog.settings import Settings

#: States that a process keeps while it completes an index; a replay itself keeps none.
STATES_KEPT = 1_000


def assemble_replays(ports: Ports, *, signer: Signer | None = None) -> ReplayRunner:
    """Build the runner of replays; ``signer``: signs the roots of whole databases."""
    class_schemas, _ = _class_schemas(ports)
    documents, graph = assemble_models(ports)
    parked: dict[str, Parking] = {model.name: parking_of(model, ports) for model in (documents, graph)}
    projected_documents = StateProjection(documents, parked[documents.name])
    projected_graph = StateProjection(graph, parked[graph.name])
    readers = ReadModelReaders(ports.documents, ports.indices, ports.graph, class_schemas, parked)
    return ReplayRunner(
        ports.catalogue,
        LogReader(ports),
        ports.large_objects,
        works={
            ReplayMode.VERIFY: VerifyWork(readers, ports.kept_indices),
            ReplayMode.AS_OF: ExportWork(),
            ReplayMode.REBUILD: RebuildWork(assemble_index_rebuild(ports), projected_graph),
            ReplayMode.REPUBLISH: RepublishWork(ports.topics),
            ReplayMode.RESTORE: RestoreWork(
                publisher=ports.publisher,
                leases=ports.leases,
                documents=projected_documents,
                graph=projected_graph,
            ),
        },
        signer=signer,
    )


def assemble_models(ports: Ports) -> tuple[DocumentsModel, GraphModel]:
    """Build the read models of documents and of the graph, which need no Redis."""
    class_schemas, _ = _class_schemas(ports)
    documents = DocumentsModel(SchemaDocuments(ports.documents, ports.indices, class_schemas))
    return documents, GraphModel(ports.graph, class_schemas.newest)


def assemble_index_rebuild(ports: Ports) -> IndexRebuild:
    """Build the rebuild of documents, which needs no Redis."""
    class_schemas, reader = _class_schemas(ports)
    documents = DocumentsModel(SchemaDocuments(ports.documents, ports.indices, class_schemas))
    return IndexRebuild(
        ports,
        class_schemas=class_schemas,
        reindexer=assemble_reindexer(ports, class_schemas, reader),
        reader=reader,
        projection=StateProjection(documents, parking_of(documents, ports)),
    )


def _class_schemas(ports: Ports) -> tuple[ClassSchemas, StreamReader]:
    cache = StateCache(aggregates_max=STATES_KEPT)
    reader = StreamReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    return ClassSchemas(event_log=ports.event_log, reader=reader, leases=None), reader


def signer_of(settings: Settings) -> Signer | None:
    """Return the signer that the settings name, or None; raises InputInvalid for a key that is none."""
    if settings.signing_key is None:
        return None
    return Signer.parse(f"oncelog/{settings.installation}", settings.signing_key.get_secret_value())
