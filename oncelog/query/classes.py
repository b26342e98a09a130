"""The classes of a database as they are defined now, for questions that go by their names."""

from collections.abc import Mapping

from oncelog.bounded_gather import bounded_gather
from oncelog.domain.identifiers import CLASSES, AggregateId
from oncelog.domain.ontology.class_schema import ClassSchema, class_schema_after
from oncelog.domain.ontology.relationship_names import RelationshipNames
from oncelog.ports import LogCatalogue
from oncelog.replay.stream_reader import READS_IN_FLIGHT_MAX, StreamReader


class DefinedClasses:
    """Reads the definitions of a database from the log: one listing for each question, each event once.

    A listing is never behind, so a definition of a moment ago is known, whichever client made it.
    """

    def __init__(self, catalogue: LogCatalogue, reader: StreamReader) -> None:
        self._catalogue = catalogue
        self._reader = reader
        self._known: dict[AggregateId, tuple[int, ClassSchema | None]] = {}

    async def relationship_names(self, db_name: str) -> RelationshipNames:
        """Return the relationships of the database by name; raises LogDamaged, StoreUnavailable, SchemaUnsupported."""
        class_schema = await self.newest(db_name)
        return RelationshipNames(db_name, {class_id: each.definition for class_id, each in class_schema.items()})

    async def names(self, db_name: str) -> list[str]:
        """Return the names of a database's defined classes, retired or not, sorted; raises StoreUnavailable."""
        return sorted(name.instance_key for name in await self._heads(db_name))

    async def newest(self, db_name: str) -> Mapping[str, ClassSchema]:
        """Return the newest schema of each defined class, retired or not; raises as ``relationship_names`` does."""
        heads = await self._heads(db_name)
        found = await bounded_gather(self._read, heads.items(), at_once=READS_IN_FLIGHT_MAX)
        return {
            name.instance_key: class_schema
            for name, class_schema in zip(heads, found, strict=True)
            if class_schema is not None
        }

    async def _heads(self, db_name: str) -> dict[AggregateId, int]:
        heads: dict[AggregateId, int] = {}
        position: str | None = ""
        while position is not None:
            page = await self._catalogue.listed_streams(after=position, db_name=db_name, class_id=CLASSES)
            heads |= {listed_stream.aggregate_id: listed_stream.head for listed_stream in page.items}
            position = page.position
        return heads

    async def _read(self, listed: tuple[AggregateId, int]) -> ClassSchema | None:
        name, head = listed
        known, class_schema = self._known.get(name, (0, None))
        if known < head:
            for event in await self._reader.events(name, range(known + 1, head + 1)):
                class_schema = class_schema_after(class_schema, event)
            self._known[name] = (head, class_schema)
        return class_schema
