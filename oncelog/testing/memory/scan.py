"""The documents in memory as a verification reads them."""

from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import replace

from oncelog.domain.stored_names import INSTANCES_ALIAS
from oncelog.errors import UnusableReason
from oncelog.ports import Document, IndexFacts
from oncelog.testing.memory.elasticsearch import MemoryDocuments


class MemoryScan:
    """The documents of a ``MemoryDocuments``, as a verification reads them."""

    def __init__(self, documents: MemoryDocuments) -> None:
        self._documents = documents

    async def documents(self, *, db_name: str | None = None, but: Collection[str] = ()) -> AsyncIterator[Document]:
        """Yield every document, of one database or of all, those behind the aliases ``but`` left out."""
        for name, index in list(self._documents.indices.items()):
            if f"{INSTANCES_ALIAS}.{name}" not in but and (db_name is None or name.startswith(f"{db_name.lower()}.")):
                for document in list(index.values()):
                    yield document

    async def indices(self, *, db_name: str | None = None) -> Sequence[IndexFacts]:
        """Return the indices, of one database or of all."""
        documents = self._documents
        facts = [
            replace(
                self._facts(name, generation.index.name, documents.unusable.get(name)),
                definition=reference.sequence_number if (reference := generation.index.definition) else None,
            )
            for name, generation in documents.generations.items()
        ]
        for name, reason in documents.unusable.items():
            if reason is UnusableReason.ALIAS_AMBIGUOUS:
                facts.append(self._facts(name, f"{name}.other", None))
        facts += [replace(self._facts(_alias_in(name), name, None), is_behind=False) for name in documents.others]
        of_database = f"{INSTANCES_ALIAS}.{db_name.lower() if db_name else ''}"
        return [index for index in facts if index.alias.startswith(of_database)]

    def _facts(self, name: str, index: str, reason: UnusableReason | None) -> IndexFacts:
        return IndexFacts(
            name=f"{INSTANCES_ALIAS}.{index}",
            alias=f"{INSTANCES_ALIAS}.{name}",
            is_behind=True,
            is_open=reason is not UnusableReason.CLOSED,
            takes_writes=reason is not UnusableReason.WRITE_BLOCKED,
            is_assigned=reason is not UnusableReason.SHARDS_UNASSIGNED,
        )


def _alias_in(index: str) -> str:
    return ".".join(index.split(".")[:2])
