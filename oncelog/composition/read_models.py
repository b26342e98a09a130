"""Every read model by its name, for programs that have no command path: projectors, rebuilds, repairs."""

from enum import StrEnum

from oncelog.ports import Ports, ReadModel
from oncelog.read_models.document_schema import SchemaDocuments
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StateCache, StreamReader


class ReadModelName(StrEnum):
    """The read models there are."""

    DOCUMENTS = DocumentsModel.name
    GRAPH = GraphModel.name


def read_model_of(name: str, ports: Ports) -> ReadModel:
    """Return a read model that needs no Redis; ``name`` is one of ``ReadModelName``."""
    cache = StateCache(aggregates_max=1)  # a class's log is read event by event
    reader = StreamReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    class_schemas = ClassSchemas(event_log=ports.event_log, reader=reader, leases=None)
    if ReadModelName(name) is ReadModelName.GRAPH:
        return GraphModel(ports.graph, class_schemas.newest)
    return DocumentsModel(SchemaDocuments(ports.documents, ports.indices, class_schemas))
