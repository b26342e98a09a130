"""A class with a new index schema for its documents: another index follows, without a gap in reading.

Readers see the old index, whole, until they see the new one, whole. Writers wait for as long as the last few documents
take. Any number of attempts may run at once, also for different definitions: only the index that readers see can be
followed, many attempts can fill each new index, and a late attempt looks again.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import structlog

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import AggregateId
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.errors import LogDamaged, SchemaUnsupported
from oncelog.offload import offloaded
from oncelog.ports import Document, DocumentIndex, DocumentIndices, Documents, IndexContents, KeptIndices
from oncelog.read_models.document import document_of, migrated
from oncelog.read_models.document_schema import find_index_schema
from oncelog.replay.class_schemas import ClassSchemas
from oncelog.replay.stream_reader import StreamReader

#: So few left means that we have caught up: the old index is closed for the rest.
CLOSE_BELOW = 100
READS_IN_FLIGHT_MAX = 16

log = structlog.get_logger(__name__)

#: Receives after each page the number of documents copied so far.
Progress = Callable[[int], None]


class Reindexer:
    """Migrates the documents of classes to their newest definition."""

    def __init__(
        self,
        *,
        documents: Documents,
        indices: DocumentIndices,
        index_contents: IndexContents,
        kept_indices: KeptIndices,
        class_schemas: ClassSchemas,
        reader: StreamReader,
    ) -> None:
        self._documents = documents
        self._indices = indices
        self._index_contents = index_contents
        self._kept_indices = kept_indices
        self._class_schemas = class_schemas
        self._reader = reader

    async def answers_filters(self, class_name: AggregateId) -> bool:
        """Return whether the class has no index of an earlier release, without the fields for filters and orders."""
        current = await self._indices.current_index(class_name)
        return current is None or current.exact

    async def stale_reason(self, class_name: AggregateId, *, at_least: int = 0) -> str | None:
        """Return in words how the index differs from the newest definition, or None.

        An index that an operator has gone back to, and pinned, is left. Raises StoreUnavailable.
        """
        class_schema = await self._newest(class_name, at_least=at_least)
        current = await self._indices.current_index(class_name)
        if current is None and class_schema is not None:
            return f"definition {class_schema.reference.sequence_number}, no index behind its alias"
        if current is None or current.pinned:
            return None
        if not _differs(current, class_schema, (await find_index_schema(class_schema)).digest):
            return f"documents in {current.name}, closed for one that did not follow" if current.closed else None
        known = f"definition {current.definition.sequence_number}" if current.definition else "no definition"
        closed = ", closed for writing" if current.closed else ""
        if class_schema is None:
            return (
                f"documents in {current.name}, of an earlier release, without all that filters and orders need{closed}"
            )
        return f"definition {class_schema.reference.sequence_number}, documents in {current.name}, of {known}{closed}"

    async def run(self, class_name: AggregateId, *, at_least: int = 0, progress: Progress = lambda _: None) -> str:
        """Let readers see documents under the newest definition; returns a summary in words.

        ``at_least``: the sequence number of a definition that is known to be there. Raises StoreUnavailable.
        """
        class_schema = await self._newest(class_name, at_least=at_least)
        index_schema = await find_index_schema(class_schema)
        while True:
            current = await self._indices.current_index(class_name)
            if class_schema is None and current is None:
                return "the class is not defined"
            if current is None:
                await self._indices.create_index(class_name, index_schema, first=True)
                continue
            if not _differs(current, class_schema, index_schema.digest):
                if current.closed:
                    await self._kept_indices.reopen_index(current)
                return f"documents lie in {current.name}"
            following = await self._indices.create_index(class_name, index_schema, first=False)
            copied = await self.follow(class_name, current, following, progress=progress)
            if await self._indices.switch_alias(class_name, current, following):
                log.info("documents_reindexed", alias_of=str(class_name), index=following.name, documents=copied)
                return f"{copied} documents copied into {following.name}"

    async def _newest(self, class_name: AggregateId, *, at_least: int) -> ClassSchema | None:
        return await self._class_schemas.newest_of(class_name, at_least=at_least)

    async def follow(
        self,
        name: AggregateId,
        old: DocumentIndex,
        new: DocumentIndex,
        *,
        after: int = -1,
        progress: Progress = lambda _: None,
    ) -> int:
        """Copy the documents written to the old index, in that order, until it is closed and none is left.

        ``after``: the position of the old index up to which the new one has all. Returns how many documents were
        copied; a switch may follow. Raises StoreUnavailable.
        """
        class_schema = await self._class_schemas.of_index(name, new.definition)
        position, copied, closed = after, 0, False
        while True:
            changed = await self._index_contents.changed_documents(old, after=position, close=closed)
            documents = await self._folded(name, changed.documents, class_schema)
            for outcome in await self._index_contents.copy_documents(new, documents):
                if outcome is not None:
                    raise outcome
            position, copied = changed.position, copied + len(documents)
            progress(copied)
            if closed and not changed.documents:
                return copied
            closed = closed or len(changed.documents) < CLOSE_BELOW

    async def _folded(
        self, name: AggregateId, wanted: Sequence[tuple[str, int]], class_schema: ClassSchema | None
    ) -> Sequence[Document]:
        """Fold each from the log, as of the version that the old index has of it.

        An aggregate with a log that cannot be folded (damaged, or of a newer release) keeps its document: a single
        aggregate holds up no class.
        """

        async def fold(listed: tuple[str, int]) -> Document | None:
            key, version = listed
            aggregate_id = AggregateId(name.db_name, name.instance_key, key)
            try:
                document = document_of(await self._reader.at(aggregate_id, version))
                return await offloaded(partial(migrated, document, class_schema), of=document.body)
            except (LogDamaged, SchemaUnsupported) as error:
                log.warning("document_kept_as_it_is", aggregate_id=str(aggregate_id), reason=error.message)
            (found,) = await self._documents.read_documents([aggregate_id])
            return replace(found, document_schema=class_schema.reference if class_schema else None) if found else None

        found = await bounded_gather(fold, wanted, at_once=READS_IN_FLIGHT_MAX)
        return [document for document in found if document is not None]


def _differs(index: DocumentIndex, class_schema: ClassSchema | None, digest: str | None) -> bool:
    """Return whether documents of these rules would lie otherwise than this index has them.

    An index of a later definition is as good; one of an earlier is, if neither mapping nor data changed since.
    """
    if not index.exact or class_schema is None:
        return not index.exact
    known = index.definition.sequence_number if index.definition else 0
    if known >= class_schema.reference.sequence_number:
        return False
    migrated = any(steps for sequence_number, steps in class_schema.lineage if sequence_number > known)
    return migrated or index.mapping_digest != digest or index.definition is None
