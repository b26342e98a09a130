"""The in-memory twin of Elasticsearch: a dictionary per class, as strict about a document's fields."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from oncelog.domain.events import rfc3339
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.stored_names import INSTANCES_ALIAS
from oncelog.errors import ContainerUnusable, ObjectRefused, StoreUnavailable, UnusableReason
from oncelog.ports import Changed, Document, DocumentIndex, IndexSchema, KeptIndex, StaleIndex
from oncelog.stores.elasticsearch.mapping import MAPPINGS
from oncelog.testing.memory.pause import Pause, let_others

CHANGES_PER_PAGE = 5

#: For which reads fail as well.
UNREADABLE = (UnusableReason.CLOSED, UnusableReason.SHARDS_UNASSIGNED, UnusableReason.ALIAS_AMBIGUOUS)


@dataclass
class _Generation:
    """One index: its schema, its documents, and the order in which they were last changed."""

    index: DocumentIndex
    documents: dict[str, Document] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)
    closed: bool = False
    pinned: bool = False
    left: tuple[str, int] | None = None  # when, and at which position of its follower
    filling_since: datetime | None = None


class MemoryDocuments:
    """``Documents`` without a server. ``available`` False plays an outage; ``indices`` may be emptied by a test.

    ``pause`` lets other callers go first. ``indices`` holds the documents that readers see, by name of the class.
    """

    def __init__(self) -> None:
        self.generations: dict[str, _Generation] = {}  # seen by readers
        self.others: dict[str, _Generation] = {}  # next or kept ones, by the index's name
        self.available = True
        self.unusable: dict[str, UnusableReason] = {}  # by class, as ``shop.product``
        self.pause: Pause = let_others

    @property
    def indices(self) -> dict[str, dict[str, Document]]:
        """The index that readers see, by name of the class."""
        return {name: generation.documents for name, generation in self.generations.items()}

    def lose_alias(self, name: str) -> None:
        """Let readers of a class, as ``shop.product``, see no index; all that there are stay."""
        seen = self.generations.pop(name)
        self.others[seen.index.name] = seen

    def clear(self) -> None:
        """Lose every index."""
        self.generations.clear()
        self.others.clear()

    async def write_documents(
        self, documents: Sequence[Document], *, replaces: bool = False
    ) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written."""
        await self.pause()
        return [self._write(document, replaces=replaces) for document in documents]

    async def read_documents(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Document | None]:
        """Return each one's document as it is now, tombstones included, or None; raises StoreUnavailable."""
        await self.pause()
        self._demand(f"reading {len(aggregate_ids)}")
        for refusal in map(self.unreadable, aggregate_ids):
            if refusal:
                raise refusal
        return [self._read(aggregate_id) for aggregate_id in aggregate_ids]

    def alias_of(self, class_name: AggregateId) -> str:
        return f"{INSTANCES_ALIAS}.{_class_index(class_name)}"

    async def current_index(self, class_name: AggregateId) -> DocumentIndex | None:
        await self.pause()
        self._demand(f"looking at {class_name}")
        if self.unusable.get(_class_index(class_name)) is UnusableReason.ALIAS_AMBIGUOUS:
            raise _unusable(_class_index(class_name), UnusableReason.ALIAS_AMBIGUOUS)
        found = self.generations.get(_class_index(class_name))
        return replace(found.index, closed=found.closed, pinned=found.pinned) if found else None

    async def create_index(
        self, class_name: AggregateId, index_schema: IndexSchema, *, first: bool, beside: str = ""
    ) -> DocumentIndex:
        await self.pause()
        self._demand(f"creating an index of {class_name}")
        alias = _class_index(class_name)
        made = DocumentIndex(_generation_name(alias, index_schema), index_schema.definition, index_schema.digest)
        if first:
            return self._ensure(alias, made).index
        if beside:
            made = replace(made, name=f"{made.name}.{beside}")
        seen = self.generations.get(alias)
        if seen is not None and not seen.index.exact and seen.index.name.startswith(made.name):
            made = replace(made, name=made.name + ".sortable")
        if seen is None or seen.index.name != made.name:
            since = datetime.now(UTC) if beside else None
            self.others.setdefault(made.name, _Generation(made, filling_since=since))
        return made

    async def copy_documents(self, index: DocumentIndex, documents: Sequence[Document]) -> Sequence[Exception | None]:
        await self.pause()
        self._demand(f"writing into {index.name}")
        try:
            generation = self._generation(index)
        except StoreUnavailable as error:
            return [StaleIndex("Elasticsearch in memory", f"writing into {index.name}", error.message)] * len(documents)
        for document in documents:
            _keep(generation, document)
        return [None] * len(documents)

    async def changed_documents(self, index: DocumentIndex, *, after: int, close: bool) -> Changed:
        await self.pause()
        self._demand(f"reading what changed in {index.name}")
        generation = self._generation(index)
        generation.closed = generation.closed or close
        order = {key: position for position, key in enumerate(generation.changes)}
        some = sorted((position, key) for key, position in order.items() if position > after)[:CHANGES_PER_PAGE]
        found = [(key, generation.documents[key].sequence_number) for _, key in some]
        return Changed(found, some[-1][0] if some else after)

    async def index_position(self, index: DocumentIndex) -> int:
        await self.pause()
        self._demand(f"reading the position of {index.name}")
        return len(self._generation(index).changes) - 1

    async def document_versions(self, index: DocumentIndex, instance_keys: Sequence[str]) -> Sequence[int]:
        await self.pause()
        self._demand(f"reading versions in {index.name}")
        documents = self._generation(index).documents
        return [documents[key].sequence_number if key in documents else 0 for key in instance_keys]

    async def kept_index(self, class_name: AggregateId) -> KeptIndex | None:
        await self.pause()
        self._demand(f"looking for what is kept of {class_name}")
        alias = _class_index(class_name)
        kept = [
            KeptIndex(one.index, *one.left)
            for name, one in self.others.items()
            if name.startswith(f"{alias}.") and one.left
        ]
        return max(kept, key=lambda each: each.left_at) if kept else None

    async def clone_index(self, kept: KeptIndex, *, beside: str) -> DocumentIndex:
        await self.pause()
        self._demand(f"cloning {kept.index.name}")
        source = self._generation(kept.index)
        made = replace(kept.index, name=f"{kept.index.name}.{beside}")
        clone = _Generation(made, dict(source.documents), list(source.documents))
        return self.others.setdefault(made.name, clone).index

    async def reopen_index(self, index: DocumentIndex) -> None:
        await self.pause()
        self._demand(f"reopening {index.name}")
        self._generation(index).closed = False

    async def drop_left_indices(self, *, before: datetime) -> Sequence[str]:
        await self.pause()
        self._demand("dropping what was left")
        moment = rfc3339(before)
        dropped = sorted(
            name
            for name, one in self.others.items()
            if (one.left and one.left[0] < moment) or (one.filling_since and one.filling_since < before)
        )
        for name in dropped:
            del self.others[name]
        return dropped

    async def switch_alias(
        self,
        class_name: AggregateId,
        old: DocumentIndex,
        new: DocumentIndex,
        *,
        may_shrink: bool = False,
        pin: bool = False,
    ) -> bool:
        await self.pause()
        self._demand(f"switching to {new.name}")
        alias = _class_index(class_name)
        present, following = self.generations.get(alias), self.others.get(new.name)
        if present is None or present.index.name != old.name or following is None:
            return False
        if len(following.documents) < len(present.documents) and not may_shrink:
            raise StoreUnavailable("Elasticsearch in memory", f"switching to {new.name}", "it has fewer documents")
        self.generations[alias] = following
        following.left = following.filling_since = None
        following.pinned = following.pinned or pin
        present.left = (rfc3339(datetime.now(UTC)), len(following.changes) - 1)
        others = {name: one for name, one in self.others.items() if not name.startswith(f"{alias}.")}
        self.others = {**others, old.name: present}
        return True

    def _ensure(self, alias: str, made: DocumentIndex) -> _Generation:
        """Let readers see the index that they saw before, else a new one."""
        if alias in self.generations:
            return self.generations[alias]
        lying = {name: one for name, one in self.others.items() if name.startswith(f"{alias}.")}
        pinned = [name for name, one in lying.items() if one.pinned]
        writable = [
            (len(one.documents), name) for name, one in lying.items() if not one.closed and not one.filling_since
        ]
        seen = pinned[0] if pinned else max(writable)[1] if writable else made.name
        self.generations[alias] = self.others.pop(seen) if seen in self.others else _Generation(made)
        return self.generations[alias]

    def _generation(self, index: DocumentIndex) -> _Generation:
        everything = {one.index.name: one for one in (*self.generations.values(), *self.others.values())}
        if index.name not in everything:
            raise StoreUnavailable("Elasticsearch in memory", f"looking for {index.name}", "it is not there")
        return everything[index.name]

    def _read(self, aggregate_id: AggregateId) -> Document | None:
        found = self.indices.get(_index_of(aggregate_id), {}).get(aggregate_id.instance_key)
        return found if found is not None and found.aggregate_id == aggregate_id else None

    def _write(self, document: Document, *, replaces: bool = False) -> Exception | None:
        doing = f"writing {document.aggregate_id} at {document.sequence_number}"
        if not self.available:
            return StoreUnavailable("Elasticsearch in memory", doing, "made unavailable")
        if reason := self.unusable.get(_index_of(document.aggregate_id)):
            return _unusable(_index_of(document.aggregate_id), reason)
        unknown = set(document.body) - set(MAPPINGS["properties"])
        if unknown:
            return ObjectRefused(
                "Elasticsearch in memory", f"document {document.aggregate_id}", f"no mapping has {sorted(unknown)}"
            )
        alias = _index_of(document.aggregate_id)
        generation = self.generations.get(alias)
        if generation is None and document.document_schema is None:
            generation = self._ensure(alias, DocumentIndex(f"{alias}.000001", None, None))
        if generation is None or generation.index.definition != document.document_schema or generation.closed:
            return StaleIndex("Elasticsearch in memory", doing, "its index has another schema, or is closed")
        _keep(generation, document, replaces=replaces)
        return None

    def unreadable(self, aggregate_id: AggregateId) -> ContainerUnusable | None:
        """Return why the aggregate's index cannot be read, or None."""
        reason = self.unusable.get(_index_of(aggregate_id))
        return _unusable(_index_of(aggregate_id), reason) if reason in UNREADABLE else None

    def _demand(self, doing: str) -> None:
        if not self.available:
            raise StoreUnavailable("Elasticsearch in memory", doing, "made unavailable")


def _unusable(index: str, reason: UnusableReason) -> ContainerUnusable:
    return ContainerUnusable(
        "Elasticsearch in memory", f"index {index}", reason, cause="made unusable", remedy="make it usable"
    )


def _keep(generation: _Generation, document: Document, *, replaces: bool = False) -> None:
    key = document.aggregate_id.instance_key
    present = generation.documents.get(key)
    if present is None or present.sequence_number < document.sequence_number + replaces:
        generation.documents[key] = document
        generation.changes.append(key)


def _class_index(class_name: AggregateId) -> str:
    return f"{class_name.db_name}.{class_name.instance_key}".lower()


def _generation_name(alias: str, index_schema: IndexSchema) -> str:
    return (
        f"{alias}.000001"
        if index_schema.definition is None
        else f"{alias}.d{index_schema.definition.sequence_number:06d}"
    )


def _index_of(aggregate_id: AggregateId) -> str:
    return f"{aggregate_id.db_name}.{aggregate_id.class_id}".lower()
