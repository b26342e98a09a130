"""The documents against the log: each equals the fold at its own sequence number, none missing, stale or foreign."""

from dataclasses import dataclass

from oncelog.ports import Document
from oncelog.read_models.documents_model import DocumentsModel
from oncelog.verification.findings import Code, Finding
from oncelog.verification.history import document_digest
from oncelog.verification.log import EventFacts
from oncelog.verification.shown import Codes, Seen, ShownAudit


@dataclass(frozen=True)
class _Seen(Seen):
    digest: str


class DocumentAudit(ShownAudit[_Seen]):
    """The audit of documents."""

    read_model = DocumentsModel.name
    each = "document"
    codes = Codes(
        missing=Code.DOCUMENT_MISSING,
        stale=Code.DOCUMENT_STALE,
        parked=Code.DOCUMENT_PARKED,
        wrong=Code.DOCUMENT_WRONG,
        foreign=Code.DOCUMENT_FOREIGN,
    )

    def add(self, document: Document) -> None:
        """Keep what is needed of a document; ``sequence_number`` is the version that its server compares."""
        aggregate_id = str(document.aggregate_id)
        claimed = document.body.get("aggregate_id"), document.body.get("sequence_number")
        if claimed != (aggregate_id, document.sequence_number):
            found = f"expected {aggregate_id} at version {document.sequence_number}, found {claimed[0]} at {claimed[1]}"
            self.findings.append(Finding(Code.DOCUMENT_WRONG, f"document {aggregate_id}", f"{found}; rebuild it"))
        self._seen[aggregate_id] = _Seen(document.sequence_number, document_digest(document))

    def _is_right(self, _aggregate_id: str, event: EventFacts, seen: _Seen) -> bool:
        return event.document_digests is None or seen.digest in event.document_digests
