"""The documents against the log: each equals the fold at its own sequence number, none missing, stale or foreign."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from factline.ports import Document
from factline.verification.findings import Code, Finding
from factline.verification.history import document_digest
from factline.verification.log import LogFacts
from factline.verification.stream import waiting_for


@dataclass(frozen=True)
class _Seen:
    sequence_number: int
    digest: str


@dataclass
class DocumentAudit:
    """Takes the documents in any order, after the logs were read; one that is added again replaces the first."""

    logs: Mapping[str, LogFacts]
    findings: list[Finding] = field(default_factory=list)
    _seen: dict[str, _Seen] = field(default_factory=dict)

    @property
    def documents(self) -> int:
        return len(self._seen)

    def add(self, document: Document) -> None:
        """Keep what is needed of a document; ``sequence_number`` is the version that its server compares."""
        aggregate_id = str(document.aggregate_id)
        claimed = document.body.get("aggregate_id"), document.body.get("sequence_number")
        if claimed != (aggregate_id, document.sequence_number):
            found = f"expected {aggregate_id} at version {document.sequence_number}, found {claimed[0]} at {claimed[1]}"
            self.findings.append(Finding(Code.DOCUMENT_WRONG, f"document {aggregate_id}", f"{found}; rebuild it"))
        self._seen[aggregate_id] = _Seen(document.sequence_number, document_digest(document))

    @property
    def aggregates_ahead(self) -> set[str]:
        """Those of whose documents the log must be asked again."""
        return {
            name
            for name, seen in self._seen.items()
            if name not in self.logs or seen.sequence_number > self.logs[name].head
        }

    def judge(self) -> Iterator[Finding]:
        """Yield everything found; ask after all documents were added."""
        yield from self.findings
        for aggregate_id, seen in self._seen.items():
            finding = self._wrong(aggregate_id, seen)
            if finding:
                yield finding
        for aggregate_id, log in self.logs.items():
            yield from self._behind(aggregate_id, log)

    def _wrong(self, aggregate_id: str, seen: _Seen) -> Finding | None:
        where, number = f"document {aggregate_id}", seen.sequence_number
        log = self.logs.get(aggregate_id)
        if log is None or number not in log.taken:
            found = f"expected what the log makes of it, found version {number}, which the log does not have; delete it"
            return Finding(Code.DOCUMENT_FOREIGN, where, found)
        event = log.events.get(number)
        if event is None or event.document_digests is None or seen.digest in event.document_digests:
            return None  # right, or damage in the log leaves open what would be
        return Finding(
            Code.DOCUMENT_WRONG, where, f"expected the fold of events 1 to {number}, found other; rebuild it"
        )

    def _behind(self, aggregate_id: str, log: LogFacts) -> Iterator[Finding]:
        seen = self._seen.get(aggregate_id)
        if log.head not in log.events or (seen and seen.sequence_number >= log.head):
            return  # of a damaged head nobody makes a document
        numbers = range((seen.sequence_number if seen else 0) + 1, log.head + 1)
        yield Finding(
            Code.DOCUMENT_STALE if seen else Code.DOCUMENT_MISSING,
            f"document {aggregate_id}",
            f"expected version {log.head}, found {f'version {seen.sequence_number}' if seen else 'none'}; "
            "a consistency check writes it",
            waits_for=waiting_for(log, numbers),
            aggregate_ids=(aggregate_id,),
        )
