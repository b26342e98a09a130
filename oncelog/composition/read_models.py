"""Every read model by its name, for programs that have no command path: projectors, rebuilds, repairs."""

from enum import StrEnum

from oncelog.ports import Ports, ReadModel
from oncelog.read_models.document_schema import FormedDocuments
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.read_models.graph_model import GraphModel
from oncelog.replay.class_schemas import Definitions
from oncelog.replay.stream_reader import LogReader, StateCache


class ReadModelName(StrEnum):
    """The read models there are."""

    DOCUMENTS = DocumentsModel.name
    GRAPH = GraphModel.name


def read_model_of(name: str, ports: Ports) -> ReadModel:
    """Return a read model that needs no Redis; ``name`` is one of ``ReadModelName``."""
    cache = StateCache(aggregates_max=1)  # a class's log is read event by event
    reader = LogReader(log=ports.event_log, snapshots=ports.snapshots, cache=cache)
    definitions = Definitions(event_log=ports.event_log, reader=reader, turns=None)
    if ReadModelName(name) is ReadModelName.GRAPH:
        return GraphModel(ports.graph, definitions.newest)
    return DocumentsModel(FormedDocuments(ports.documents, ports.indices, definitions))
