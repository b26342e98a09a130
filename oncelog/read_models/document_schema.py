"""Documents under the schema of their class's index: data of earlier definitions is migrated on its way there."""

from collections.abc import Sequence
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

    The first index of a class is made here, since its form has to be known.
    """

    def __init__(self, documents: Documents, indices: DocumentIndices, class_schemas: ClassSchemas) -> None:
        self._documents = documents
        self._indices = indices
        self._class_schemas = class_schemas
        self._forms: dict[AggregateId, DefinitionReference | None] = {}

    async def write(self, documents: Sequence[Document]) -> Sequence[Exception | None]:
        """Write each unless a newer one is there; return per document None, or why that one was not written."""
        outcomes = await self._attempt(documents)
        again = [
            position for position, outcome in enumerate(outcomes) if isinstance(outcome, StaleIndex | ContainerUnusable)
        ]
        for position in again:
            self._forms.pop(documents[position].aggregate_id.class_name, None)
        # Another index has followed, or is about to; in the latter case it is too early still.
        for position, outcome in zip(again, await self._attempt([documents[one] for one in again]), strict=True):
            outcomes[position] = outcome
        return outcomes

    async def _attempt(self, documents: Sequence[Document]) -> list[Exception | None]:
        outcomes: list[Exception | None] = [None] * len(documents)
        going: list[int] = []
        ready: list[Document] = []
        class_schema: dict[tuple[str, str], ClassSchema | StoreUnavailable | None] = {}
        for position, document in enumerate(documents):
            db_name, class_id, _ = document.aggregate_id
            if (db_name, class_id) not in class_schema:
                class_schema[db_name, class_id] = await self._class_schema(document.aggregate_id)
            found = class_schema[db_name, class_id]
            if isinstance(found, StoreUnavailable):
                outcomes[position] = found
            else:
                ready.append(await offloaded(partial(migrated, document, found), of=document.body))
                going.append(position)
        for position, outcome in zip(going, await self._documents.write(ready) if ready else (), strict=True):
            outcomes[position] = outcome
        return outcomes

    async def read(self, aggregate_ids: Sequence[AggregateId]) -> Sequence[Document | None]:
        """Return each one's document as it is now, tombstones included, or None; raises StoreUnavailable."""
        return await self._documents.read(aggregate_ids)

    async def _class_schema(self, aggregate_id: AggregateId) -> ClassSchema | StoreUnavailable | None:
        """Return the rules in whose form the documents of the aggregate's class are now, or why that is not known."""
        name = aggregate_id.class_name
        try:
            if name not in self._forms:
                self._forms[name] = await self._form(name, aggregate_id)
            return await self._class_schemas.at(aggregate_id, self._forms[name])
        except StoreUnavailable as error:
            return error

    async def _form(self, name: AggregateId, aggregate_id: AggregateId) -> DefinitionReference | None:
        if aggregate_id.class_id == CLASSES:
            return None
        index = await self._indices.current(name)
        if index is not None:
            return index.definition
        class_schema = await self._class_schemas.newest(aggregate_id)
        if class_schema is None:
            return None  # the first document makes the index
        made = await self._indices.create(name, await find_index_schema(class_schema), first=True)
        return made.definition
