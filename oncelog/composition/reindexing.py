"""Wires the reindexer, which client, worker and rebuilds share."""

from oncelog.ports import Ports
from oncelog.read_models.reindex import Reindexer
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StreamReader


def assemble_reindexer(ports: Ports, class_schemas: ClassSchemas, reader: StreamReader) -> Reindexer:
    """Build the reindexer of documents."""
    return Reindexer(
        documents=ports.documents,
        indices=ports.indices,
        index_contents=ports.index_contents,
        kept_indices=ports.kept_indices,
        class_schemas=class_schemas,
        reader=reader,
    )
