"""The documents as a read model: the first one, and the example for others."""

from collections.abc import Sequence

from oncelog.domain.identifiers import AggregateId
from oncelog.domain.instance import Instance
from oncelog.ports import Documents, ProjectionStatus
from oncelog.read_models.document import document_of
from oncelog.read_models.names import ReadModelName


class DocumentsModel:
    """The ``ReadModel`` of documents."""

    name = ReadModelName.DOCUMENTS

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def project_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Write each state's document unless a newer one is there."""
        return await self._documents.write_documents([document_of(state) for state in states])

    async def replace_states(self, states: Sequence[Instance]) -> Sequence[Exception | None]:
        """Do the same, and also write over documents of the same version."""
        return await self._documents.write_documents([document_of(state) for state in states], replaces=True)

    async def projected_versions(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number of each one's document, 0 where there is none; raises StoreUnavailable."""
        found = await self._documents.read_documents(aggregate_ids)
        return [document.sequence_number if document else 0 for document in found]

    async def projection_statuses(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[ProjectionStatus]:
        """Return the same. Whether documents fit an earlier definition is a question of the whole index."""
        return [ProjectionStatus(sequence_number) for sequence_number in await self.projected_versions(aggregate_ids)]
