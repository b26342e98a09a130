"""Instances as documents: written, read, searched, and the indices in which they lie."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from oncelog.domain.canonical import canonical_bytes, sha256_hex
from oncelog.domain.events import DefinitionReference
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.queries import Search
from oncelog.errors import StoreUnavailable


@dataclass(frozen=True, slots=True)
class Document:
    """An instance as the read side holds it, at one sequence number; tombstones have ``deleted`` and no data.

    ``definition``: of the class, at validation. ``document_schema``: the definition that the data fits now,
    None where it is as the log has it. Neither is part of the document.
    """

    aggregate_id: AggregateId
    sequence_number: int
    body: Mapping[str, Any]
    definition: DefinitionReference | None = field(default=None, compare=False)
    document_schema: DefinitionReference | None = field(default=None, compare=False)


class Documents(Protocol):
    """The documents: the newest by sequence number wins, in any order of writes (docs/protocol.md, R4)."""

    async def write_documents(
        self, documents: Sequence[Document], *, replaces: bool = False
    ) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written.

        ``replaces``: also over one of the same sequence number, which else stays as it is.

        ``StoreUnavailable`` per item is worth repeating; ``InputInvalid`` means that this document can never be held.
        """
        ...

    async def read_documents(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Document | None]:
        """Return each one's document as it is now (not subject to refresh), tombstones included, or None."""
        ...


#: How long the pages of a search are kept after one of them was read.
CURSOR_KEPT_S = 300


@dataclass(frozen=True)
class SearchPage:
    """A page of a search's results, deleted instances left out. ``total``: how many there are in all, at least.

    ``cursor``: where to go on from, empty after the last page. All pages are of one moment, that of the first.
    """

    documents: Sequence[Document]
    total: int
    cursor: str


class Searches(Protocol):
    """Finds documents by their data. Near real time: a new document is found a moment later."""

    async def find_documents(self, search: Search) -> SearchPage:
        """Return a page, the best matches first, equal ones in order of their IDs.

        Pages are kept for ``CURSOR_KEPT_S`` after each of them. Raises InputInvalid for a question that makes no
        sense, CursorExpired, StoreUnavailable.
        """
        ...

    async def searchable(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[int]:
        """Return the sequence number as of which a search finds each one's document, 0 where it finds none."""
        ...


class StaleIndex(StoreUnavailable):
    """A document does not have the schema of its class's index now: migrate it again."""


@dataclass(frozen=True)
class IndexSchema:
    """The schema of a class's documents in an index: under which definition, and how their data is mapped.

    ``definition`` None: as the log has them, of any definition. ``mapping`` None: in one flattened field.
    """

    definition: DefinitionReference | None = None
    mapping: Mapping[str, Any] | None = None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the canonical mapping; None for the flattened one."""
        return None if self.mapping is None else sha256_hex(canonical_bytes(self.mapping))


@dataclass(frozen=True)
class DocumentIndex:
    """One index of a class's documents. ``mapping_digest``: of its index schema.

    As it was when it was looked at, ``closed``: it takes no more writes; ``pinned``: an operator wants readers to see
    this one, even after the class's definition changed; ``exact``: its documents have the terms and texts that
    filters and orders need, which those of earlier releases have not.
    """

    name: str
    definition: DefinitionReference | None
    mapping_digest: str | None
    closed: bool = field(default=False, compare=False)
    pinned: bool = field(default=False, compare=False)
    exact: bool = field(default=True, compare=False)


@dataclass(frozen=True)
class IndexFacts:
    """One index of a read model as its server shows it, for a verification.

    ``alias``: without the namespace, the alias that its name belongs to, such as ``instances.shop.product``;
    ``is_behind``: whether that alias leads to it; ``is_assigned``: whether its shard is on a node.
    ``definition``: the sequence number of the class definition that its documents fit, None where they are as the log
    has them.
    """

    name: str
    alias: str
    is_behind: bool
    is_open: bool = True
    takes_writes: bool = True
    is_assigned: bool = True
    definition: int | None = None


@dataclass(frozen=True)
class KeptIndex:
    """The index that readers saw before the last switch. It takes no writes.

    ``left_at``: the time of the switch (RFC 3339, the switching process's clock). ``position``: of the index that
    followed it; all that was written there later, the kept one has not.
    """

    index: DocumentIndex
    left_at: str
    position: int


@dataclass(frozen=True)
class Changed:
    """Documents of an index in the order of their last changes. ``position``: of the last one, to go on after."""

    documents: Sequence[tuple[str, int]]  # instance key and version
    position: int


class DocumentIndices(Protocol):
    """Where the documents of a class lie: the one index that readers see, and one that may follow it.

    A class is named by its own aggregate ID.
    """

    def alias_of(self, class_name: AggregateId) -> str:
        """Return the name under which readers find the class's documents."""
        ...

    async def current_index(self, class_name: AggregateId) -> DocumentIndex | None:
        """Return the index that readers see, or None if there is none yet."""
        ...

    async def create_index(
        self, class_name: AggregateId, index_schema: IndexSchema, *, first: bool, beside: str = ""
    ) -> DocumentIndex:
        """Make an index of this schema unless it is there; readers see the first one.

        Where readers see none and an index of any schema that they saw is still there, they see that one again.
        ``beside``: names an index that may follow another one of the same schema, in lower case.
        """
        ...

    async def switch_alias(
        self,
        class_name: AggregateId,
        old: DocumentIndex,
        new: DocumentIndex,
        *,
        may_shrink: bool = False,
        pin: bool = False,
    ) -> bool:
        """Let readers see the new index instead of the old one, at once; False if they do not see the old one.

        The old one is kept as it is, those of switches before this one are dropped. Raises StoreUnavailable unless the
        new one has as many documents, or it ``may_shrink``: then the caller knows why. ``pin``: readers are to see the
        new one, even with another definition than the class's.
        """
        ...


class IndexContents(Protocol):
    """The documents of one index by its name, for another index that is to follow it."""

    async def copy_documents(self, index: DocumentIndex, documents: Sequence[Document]) -> Sequence[Exception | None]:
        """Write documents into this very index, as ``Documents.write`` does."""
        ...

    async def changed_documents(self, index: DocumentIndex, *, after: int, close: bool) -> Changed:
        """Return the documents changed in an index after a position, the oldest change first, some hundreds at a time.

        ``close``: let no write into it any more; all earlier writes are seen, and later ones fail until the
        switch, which is worth waiting for.
        """
        ...

    async def index_position(self, index: DocumentIndex) -> int:
        """Return the position as of which ``changed_documents`` finds only writes from now on."""
        ...

    async def document_versions(self, index: DocumentIndex, instance_keys: Sequence[str]) -> Sequence[int]:
        """Return the version of each document in this very index, 0 where it has none."""
        ...


class KeptIndices(Protocol):
    """The indices that readers saw before: to go back to, and to be dropped at last."""

    async def kept_index(self, class_name: AggregateId) -> KeptIndex | None:
        """Return the index that readers saw before the last switch, None where it is gone."""
        ...

    async def clone_index(self, kept: KeptIndex, *, beside: str) -> DocumentIndex:
        """Make an index with the contents of a kept one unless it is there; it takes writes."""
        ...

    async def reopen_index(self, index: DocumentIndex) -> None:
        """Let an index take writes again that was closed for one which did not follow."""
        ...

    async def drop_left_indices(self, *, before: datetime) -> Sequence[str]:
        """Drop the indices left before a time: kept ones, and those of rebuilds that came to no end.

        Returns their names.
        """
        ...
