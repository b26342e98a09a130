"""Documents under the schema of their class's index: data of earlier definitions is migrated on its way there."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from oncelog.domain.events import DefinitionReference
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.ontology.class_schema import ClassSchema
from oncelog.errors import ContainerUnusable, StoreUnavailable
from oncelog.offload import offloaded
from oncelog.ports import Document, DocumentIndices, Documents, IndexSchema, StaleIndex
from oncelog.read_models.document import migrated
from oncelog.read_models.typed_mapping import typed_mapping
from oncelog.replay.class_schemas import ClassSchemas


def index_schema_of(class_schema: ClassSchema | None) -> IndexSchema:
    """Return the index schema of a class."""
    return (
        IndexSchema(class_schema.reference, typed_mapping(class_schema.definition.json_schema))
        if class_schema
        else IndexSchema()
    )


async def find_index_schema(class_schema: ClassSchema | None) -> IndexSchema:
    """Return the same without holding up the event loop."""
    return await offloaded(
        partial(index_schema_of, class_schema), of=class_schema and class_schema.definition.json_schema
    )


class SchemaDocuments:
    """``Documents`` that may be given as the log has them. The schema of a class's index is remembered until a write
    fails.

    The first index of a class is made here, since its schema has to be known.
    """

    def __init__(self, documents: Documents, indices: DocumentIndices, class_schemas: ClassSchemas) -> None:
        self._documents = documents
        self._indices = indices
        self._class_schemas = class_schemas
        self._definitions: dict[AggregateId, DefinitionReference | None] = {}

    async def write_documents(
        self, documents: Sequence[Document], *, replaces: bool = False
    ) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written.

        ``replaces``: also over one of the same sequence number.
        """
        writes = [_Write(document) for document in documents]
        await self._attempt(writes, replaces=replaces)
        stale = [write for write in writes if isinstance(write.outcome, StaleIndex | ContainerUnusable)]
        for write in stale:
            self._definitions.pop(write.document.aggregate_id.class_name, None)
        # Another index has followed, or is about to; in the latter case it is too early still.
        await self._attempt(stale, replaces=replaces)
        return [write.outcome for write in writes]

    async def _attempt(self, writes: Sequence["_Write"], *, replaces: bool) -> None:
        """Migrate and write each document once, and note its outcome."""
        class_schemas: dict[AggregateId, ClassSchema | StoreUnavailable | None] = {}
        ready: list[_Write] = []
        for write in writes:
            name = write.document.aggregate_id.class_name
            if name not in class_schemas:
                class_schemas[name] = await self._class_schema(write.document.aggregate_id)
            class_schema = class_schemas[name]
            if isinstance(class_schema, StoreUnavailable):
                write.outcome = class_schema
            else:
                migration = partial(migrated, write.document, class_schema)
                write.migrated = await offloaded(migration, of=write.document.body)
                ready.append(write)
        documents = [write.migrated for write in ready]
        outcomes = await self._documents.write_documents(documents, replaces=replaces) if ready else ()
        for write, outcome in zip(ready, outcomes, strict=True):
            write.outcome = outcome

    async def read_documents(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Document | None]:
        """Return each one's document as it is now, tombstones included, or None; raises StoreUnavailable."""
        return await self._documents.read_documents(aggregate_ids)

    async def _class_schema(self, aggregate_id: AggregateId) -> ClassSchema | StoreUnavailable | None:
        """Return the class schema that the class's documents fit now, or the error that keeps it unknown."""
        name = aggregate_id.class_name
        try:
            if name not in self._definitions:
                self._definitions[name] = await self._index_definition(name, aggregate_id)
            return await self._class_schemas.at(aggregate_id, self._definitions[name])
        except StoreUnavailable as error:
            return error

    async def _index_definition(self, name: AggregateId, aggregate_id: AggregateId) -> DefinitionReference | None:
        if aggregate_id.class_id == CLASSES:
            return None
        index = await self._indices.current_index(name)
        if index is not None:
            return index.definition
        class_schema = await self._class_schemas.newest(aggregate_id)
        if class_schema is None:
            return None  # the first document makes the index
        made = await self._indices.create_index(name, await find_index_schema(class_schema), first=True)
        return made.definition


@dataclass
class _Write:
    """One document on its way to its index. ``migrated``: as its index has it; ``outcome``: None once it is written."""

    document: Document
    outcome: Exception | None = None

    def __post_init__(self) -> None:
        self.migrated = self.document
